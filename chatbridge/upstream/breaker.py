"""A circuit breaker: an upstream that only fails is left alone for a while. No I/O; the clock is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
"""Failures further apart than this are no outage."""
_PROBING = 5.0
"""Nobody knows when a probe ends."""
LONGEST = 8
"""How many times its first length a pause may grow to, doubled each time a probe fails."""


STATES = ("closed", "half-open", "open")


class Breaker:
    """Opens after *failures* in a row within :data:`WINDOW_SECONDS`, for *seconds*; *clock* returns seconds.

    Then one request at a time goes through as a probe: if it works the circuit closes, else it opens again for twice as
    long. With *failures* 0 it never opens. A request :meth:`admit` lets through is reported by exactly one of
    :meth:`succeeded`, :meth:`failed` and :meth:`released`, with what admit returned.
    """

    def __init__(self, clock: Callable[[], float], *, failures: int, seconds: float) -> None:
        self._clock = clock
        self._failures = failures
        self._seconds = seconds
        self._seen: deque[float] = deque(maxlen=failures or 1)
        self._until: float | None = None
        self._times = 0
        self._probing = False
        self._round = 0

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half-open``: the next request is a probe, or one is under way."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    def wait(self) -> float:
        """Return the seconds until a request may be let through; 0 for now."""
        if self._until is None:
            return 0.0
        left = self._until - self._clock()
        if left > 0:
            return left
        return _PROBING if self._probing else 0.0

    def admit(self) -> int | None:
        """Return a number for a request that may go out now, None for one that may not."""
        if self._until is not None:
            if self.wait() > 0:
                return None
            self._probing = True
        return self._round

    def succeeded(self, number: int) -> bool:
        """The upstream answered; return whether that closed the circuit."""
        if number != self._round:
            return False  # began before the circuit changed: says nothing of now
        self._seen.clear()
        if self._until is None:
            return False
        self._until, self._times = None, 0
        self._change()
        return True

    def failed(self, number: int) -> bool:
        """The upstream failed; return whether that opened the circuit."""
        if number != self._round or not self._failures:
            return False
        now = self._clock()
        self._seen.append(now)
        probe = self._until is not None
        if not probe and (len(self._seen) < self._failures or now - self._seen[0] > WINDOW_SECONDS):
            return False
        self._until = now + self._seconds * min(2**self._times, LONGEST)
        self._times += 1
        self._change()
        return True

    def released(self, number: int) -> None:
        """The request ended without telling anything, as when its client left."""
        if number == self._round:
            self._probing = False

    def _change(self) -> None:
        self._round += 1
        self._probing = False
