"""How much one upstream is asked at once: requests running, and requests in a minute. More of them wait in line."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from chatbridge.protocol.errors import ApiError, Kind

MINUTE = 60.0


class Limits:
    """*streams* may run at once and *rate* begin in any minute; 0 is no limit. *clock* is a reactor's.

    Who comes later waits, in the order of coming, for at most *patience* seconds: a local server with one slot is then
    shared fairly, where a refusal would have each client try again by its own luck.
    """

    def __init__(self, clock: Any, *, streams: int, rate: int, patience: float, name: str) -> None:
        self._clock = clock
        self._streams = streams
        self._rate = rate
        self._limited = bool(streams or rate)
        self._patience = patience
        self._name = name
        self._running = 0
        self._begun: deque[float] = deque()
        self._line: deque[Deferred[None]] = deque()
        self._timer: Any = None

    def enter(self) -> Deferred[None] | None:
        """Ask to begin a request: None for at once, else a Deferred that fires when it may.

        It fails with :class:`ApiError` (429) when that takes too long. Cancelling leaves the line. Each request that
        began is ended by :meth:`leave`.
        """
        if not self._limited:
            self._running += 1
            return None
        if not self._line and self._free():
            self._begin()
            return None
        place: Deferred[None] = Deferred(self._line.remove)
        timer = self._clock.callLater(self._patience, self._too_long, place)

        def settled(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            self._look_later()
            return result

        self._line.append(place)
        place.addBoth(settled)
        self._look_later()
        return place

    def leave(self) -> None:
        """A request is over."""
        self._running -= 1
        if self._line:
            self._next()

    def _free(self) -> bool:
        return not (self._streams and self._running >= self._streams) and self._until_rate() <= 0

    def _until_rate(self) -> float:
        """Return the seconds until one more request fits into the minute."""
        if not self._rate:
            return 0.0
        now = self._clock.seconds()
        while self._begun and self._begun[0] <= now - MINUTE:
            self._begun.popleft()
        return self._begun[0] + MINUTE - now if len(self._begun) >= self._rate else 0.0

    def _begin(self) -> None:
        self._running += 1
        if self._rate:
            self._begun.append(self._clock.seconds())

    def _next(self) -> None:
        while self._line and self._free():
            self._begin()
            self._line.popleft().callback(None)
        self._look_later()

    def _look_later(self) -> None:
        """Look again when the minute has room; for the rest :meth:`leave` looks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line and (wait := self._until_rate()) > 0:
            self._timer = self._clock.callLater(wait, self._look)

    def _look(self) -> None:
        self._timer = None
        self._next()

    def _too_long(self, place: Deferred[None]) -> None:
        self._line.remove(place)
        wait = max(1.0, round(self._until_rate()), 5.0 if self._streams and self._running >= self._streams else 0.0)
        text = (
            f"The upstream {self._name} is busy: {self._running} requests are running and {len(self._line)} more wait. "
            f"Please try again in {wait:g}s."
        )
        place.errback(
            ApiError(
                429, text, type="rate_limit_error", code="rate_limit_exceeded", retry_after=wait, kind=Kind.RATE_LIMIT
            )
        )
