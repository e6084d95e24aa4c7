"""All running answers of this process: how many there are, when the last one is over, and how to end them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from chatbridge.protocol.errors import ApiError, unavailable
from chatbridge.web.ledger import ANSWERS, Ledger


class Running(Protocol):
    """What can be ended before its time."""

    def fail(self, error: ApiError) -> None:
        """End as failed, now."""


class Answers:
    """All running answers of this process; *ledger* counts those of the whole daemon."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger or Ledger()
        self._running: set[Running] = set()
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._running))

    def admit(self, limit: int) -> None:
        """Raise a 503 when the daemon has as many answers running as it may; a *limit* of 0 is none."""
        if limit and self._ledger.total(ANSWERS) >= limit:
            text = f"{limit} answers are running, the most that may (--max-streams); ask again later."
            raise ApiError(503, text, type="server_error", code="server_overloaded", retry_after=1.0)

    def add(self, answer: Running) -> None:
        """Count *answer* as running; once."""
        if answer not in self._running:
            self._running.add(answer)
            self._ledger.enter(ANSWERS)

    def remove(self, answer: Running) -> None:
        """Count *answer* no longer."""
        if answer in self._running:
            self._running.remove(answer)
            self._ledger.leave(ANSWERS)
        if not self._running:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def drained(self) -> Deferred[None]:
        """Fire when no answer runs."""
        if not self._running:
            return succeed(None)
        deferred: Deferred[None] = Deferred(lambda it: self._waiting.remove(it) if it in self._waiting else None)
        self._waiting.append(deferred)
        return deferred

    def fail_all(self, message: str) -> None:
        """End each running answer as failed, so that its client can ask again elsewhere."""
        for answer in self:
            answer.fail(unavailable(message, status=503, code="server_shutting_down"))
