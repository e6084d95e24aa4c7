"""The upstream's response body as a protocol: reads go out as they come, and it can be paused, left or drained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss


def _nobody(_: Failure | None) -> None:
    """Who is told of an end that nobody waits for."""


def _nowhere(data: bytes) -> None:
    """Where data goes that nobody wants."""


class Body(Protocol):
    """Give it to ``response.deliverBody``. *on_data* gets each read, *on_end* the reason, or None for a whole body."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[Failure | None], None]) -> None:
        self.dataReceived = on_data  # type: ignore[method-assign, assignment]  # one call less for each read
        self._on_end = on_end
        self._paused = False
        self._stopped = False
        self.ended = False

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        if self._stopped:
            self._producer().stopProducing()
        elif self._paused:
            self._producer().pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True
        # Let go of first, so that no cycle is left for the collector.
        on_end, self._on_end, self.transport = self._on_end, _nobody, None
        self.dataReceived = _nowhere  # type: ignore[method-assign]
        # Without a length or chunks the end of the connection is the end of the body: the reader decides.
        on_end(None if isinstance(reason.value, ResponseDone | PotentialDataLoss) else reason)

    def pause(self) -> None:
        """Read nothing more from the upstream's socket for now."""
        if not self._paused:
            self._paused = True
            if self.transport is not None and not self.ended:
                self._producer().pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if self.transport is not None and not self.ended:
                self._producer().resumeProducing()

    def discard(self) -> None:
        """Read on without looking, so that the connection can be used again."""
        self.dataReceived = _nowhere  # type: ignore[method-assign]
        if self._paused:
            self.resume()

    def stop(self) -> None:
        """Close the upstream's connection."""
        self.dataReceived = _nowhere  # type: ignore[method-assign]
        self._stopped = True
        if self.transport is not None and not self.ended:
            self._producer().stopProducing()

    def abandon(self) -> None:
        """Close the upstream's connection, and tell nothing more."""
        self._on_end = _nobody
        self.stop()

    def _producer(self) -> Any:
        return self.transport


class _Collector:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = bytearray()
        self.body = Body(self._add, self._end)
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())

    def _stop(self) -> None:
        self.body.stop()
        self._end(None)

    def _add(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self.limit:
            self.body.stop()

    def _end(self, reason: Failure | None) -> None:  # noqa: ARG002 - a cut error body is still worth reading
        if not self.done.called:
            self.done.callback(bytes(self.data[: self.limit]))


def collect(response: Any, limit: int) -> Deferred[bytes]:
    """Return at most *limit* bytes of a body, also when it breaks off.

    Cancelling closes the connection; what has come till then is the result.
    """
    collector = _Collector(limit)
    response.deliverBody(collector.body)
    return collector.done
