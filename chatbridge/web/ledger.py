"""What is going on now, counted over all workers: connections, answers, the requests of each client.

Each process writes only numbers of its own, so no lock is needed: what runs in total is the sum over all processes, and
what a killed one had counted is cleared by whoever started it. Only what a client may do in a minute is one number for
all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Doubles = Any
"""A list of floats, or a memoryview of doubles."""

CONNECTIONS = 0
ANSWERS = 1
CLIENTS = 2
"""The first slot of a client; those below are the whole daemon's."""


class Ledger:
    """Counts in *memory*, which holds doubles (see :func:`size`); by default in a list of its own.

    *processes* is how many there may be, *number* which of them this is (from 0). *clients* gives each client's slot by
    name; in a list of its own each new name gets the next slot.
    """

    def __init__(
        self,
        memory: Doubles = None,
        *,
        processes: int = 1,
        number: int = 0,
        clients: Mapping[str, int] | None = None,
    ) -> None:
        self._memory: Doubles = [0.0] * size(processes, CLIENTS) if memory is None else memory
        self._processes = processes
        self._width = processes + 1
        self._number = number
        self._clients = dict(clients or {})

    def client(self, name: str) -> int:
        """Return the slot of the client *name*. Raises :exc:`KeyError` where there is none and none can be added."""
        if name not in self._clients and isinstance(self._memory, list):
            self._clients[name] = CLIENTS + len(self._clients)
            self._memory += [0.0] * self._width
        return self._clients[name]

    def enter(self, slot: int, limit: int = 0) -> bool:
        """Count one more in *slot*; return whether that is within *limit* (0 is none), else it is not counted."""
        # First counted, then looked at: two processes at once may both refuse, but never both pass the limit.
        self._memory[slot * self._width + self._number] += 1
        if limit and self.total(slot) > limit:
            self.leave(slot)
            return False
        return True

    def leave(self, slot: int) -> None:
        """Count one less."""
        self._memory[slot * self._width + self._number] -= 1

    def total(self, slot: int) -> int:
        """Return what *slot* counts over all processes."""
        at = slot * self._width
        return int(sum(self._memory[at : at + self._processes]))

    def spend(self, slot: int, rate: int, period: float, now: float) -> float:
        """Take one of the *rate* things that *slot* may do in *period* seconds, all at once or spread.

        Returns 0, or the seconds until there is one to take. Two processes in the same microsecond may both take the
        last one.
        """
        at = slot * self._width + self._processes
        due = max(self._memory[at], now)
        wait: float = due - now - (rate - 1) * period / rate
        if wait > 1e-6:
            return wait
        self._memory[at] = due + period / rate
        return 0.0

    def clear(self, number: int) -> None:
        """Forget what the process *number* counted: it is gone."""
        for at in range(number, len(self._memory), self._width):
            self._memory[at] = 0.0


def size(processes: int, slots: int) -> int:
    """Return how many doubles a ledger of so many slots takes."""
    return (processes + 1) * slots
