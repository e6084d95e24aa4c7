"""Where an answer goes: a stream of events, or one Response object at the end. Both drain the same turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.logger import Logger
from twisted.web.server import Request

from chatbridge.protocol import sse
from chatbridge.protocol.errors import ApiError, internal
from chatbridge.store.events import EventLog
from chatbridge.translate.items import Event
from chatbridge.translate.turn import Turn
from chatbridge.web.direct import DirectOutlet, Fields, Outlet, outlet
from chatbridge.web.resource import write_error, write_json

_log = Logger()


class Sink(Protocol):
    """What an answer asks of its way out."""

    def open(self, producer: Any) -> None:
        """Nothing stands against a success any more: the head may go out. *producer* is the answer."""

    def open_for_failure(self, producer: Any) -> None:
        """The answer is about to fail; open it, if this client is told of failures inside the answer."""

    def write(self, events: Sequence[Event | bytes]) -> None:
        """Write the events of one upstream read, at once."""

    def flush(self) -> None:
        """Nothing more comes with what :meth:`open` wrote: send it."""

    def keepalive(self) -> None:
        """Show the client that the answer is alive."""

    def close(self, events: Sequence[Event | bytes]) -> None:
        """The turn is closed, *events* are its last: write what is left, and finish the request."""


EVENT_STREAM = Fields(
    {
        b"Content-Type": b"text/event-stream; charset=utf-8",
        b"Cache-Control": b"no-cache",
        b"X-Accel-Buffering": b"no",  # nginx would hold events back
    }
)


class EventStream:
    """Server-sent events. *headers* are added to the answer's as it opens; *log*, if there is one, gets all events."""

    __slots__ = ("_for_codex", "_headers", "_log", "_opened", "_out", "_request", "_turn", "tap")

    def __init__(
        self,
        request: Request,
        turn: Turn,
        headers: dict[bytes, bytes],
        *,
        for_codex: bool,
        log: EventLog | None = None,
    ) -> None:
        self._request = request
        self._turn = turn
        self._headers = headers
        self._for_codex = for_codex
        self._log = log
        self._opened = False
        self._out: Outlet | DirectOutlet
        self.tap: Callable[[bytes], None] | None = None
        """Called with all that the client gets, for a trace."""

    def open(self, producer: Any) -> None:
        if self._opened:
            return
        self._opened = True
        request = self._request
        for name, value in self._headers.items():
            request.setHeader(name, value)
        request.registerProducer(producer, True)
        self._out = outlet(request, EVENT_STREAM)
        self._out.hold(self._frames(self._turn.start()))

    def open_for_failure(self, producer: Any) -> None:
        # An HTTP error costs Codex up to 30 requests; the same told inside a stream one, or six.
        if self._for_codex:
            self.open(producer)

    def write(self, events: Sequence[Event | bytes]) -> None:
        if events and self._opened:
            self._out.write(self._frames(events))

    def _frames(self, events: Sequence[Event | bytes]) -> bytes:
        if len(events) == 1 and isinstance(events[0], bytes):
            frames = events[0]  # nearly always, when deltas come alone
        else:
            frames = b"".join([sse.frame(event) for event in events])
        if self._log is not None:
            self._log.append(frames)
        if self.tap is not None:
            self.tap(frames)
        return frames

    def flush(self) -> None:
        if self._opened:
            self._out.flush()

    def keepalive(self) -> None:
        if self._for_codex:
            self.write(self._turn.keepalive())  # comments do not reset Codex's idle timer
        elif self._opened:
            if self.tap is not None:
                self.tap(sse.COMMENT)
            self._out.write(sse.COMMENT)

    def close(self, events: Sequence[Event | bytes]) -> None:
        if self._opened:
            self._out.end(self._frames(events) if events else b"")
        else:
            write_error(self._request, self._turn.error or internal())


class Exchange(Protocol):
    """One message of a WebSocket that asks for an answer, as the way out for it."""

    def open(self, producer: Any) -> None:
        """The answer begins; *producer* is the answer."""

    def send(self, texts: list[bytes]) -> None:
        """Send each text as one message."""

    def closed(self, turn: Turn) -> None:
        """The answer is over: its terminal event is sent, or it failed before its first one."""


class MessageStream:
    """The messages of a WebSocket: each event's JSON is one."""

    def __init__(self, exchange: Exchange, turn: Turn, *, for_codex: bool) -> None:
        self._exchange = exchange
        self._turn = turn
        self._for_codex = for_codex
        self._opened = False
        self._held: list[bytes] = []

    def open(self, producer: Any) -> None:
        if not self._opened:
            self._opened = True
            self._exchange.open(producer)
            self._held = _texts(self._turn.start())

    def open_for_failure(self, producer: Any) -> None:
        if self._for_codex:  # an error event shows no text, or costs more tries
            self.open(producer)

    def write(self, events: Sequence[Event | bytes]) -> None:
        if events and self._opened:
            held, self._held = self._held, []
            self._exchange.send(held + _texts(events))

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._exchange.send(held)

    def keepalive(self) -> None:
        self.write(self._turn.keepalive())  # pings do not reset Codex's idle timer

    def close(self, events: Sequence[Event | bytes]) -> None:
        self.write(events)
        self.flush()
        self._exchange.closed(self._turn)


def _texts(events: Sequence[Event | bytes]) -> list[bytes]:
    return [text for event in events for text in sse.texts(event)]


class WholeResponse:
    """One JSON document at the end: the Response object, or what *form* makes of it, which may raise an ApiError.

    *headers* are added to the answer's.
    """

    def __init__(
        self,
        request: Request,
        turn: Turn,
        headers: dict[bytes, bytes],
        form: Callable[[dict[str, Any]], Any] = lambda response: response,
    ) -> None:
        self._request = request
        self._turn = turn
        self._headers = headers
        self._form = form

    def open(self, producer: Any) -> None:
        """Nothing goes out before the end."""

    def open_for_failure(self, producer: Any) -> None:
        """Nor does it for a failure."""

    def write(self, events: Sequence[Event | bytes]) -> None:
        """The turn keeps what it needs."""

    def flush(self) -> None:
        """There is nothing to send."""

    def keepalive(self) -> None:
        """JSON has no signs of life."""

    def close(self, events: Sequence[Event | bytes]) -> None:  # noqa: ARG002 - the turn has made one value of them
        for name, value in self._headers.items():
            self._request.setHeader(name, value)
        if self._turn.error is not None:
            write_error(self._request, self._turn.error)
            return
        try:
            value = self._form(self._turn.response)
        except ApiError as error:
            write_error(self._request, error)
        except Exception:  # noqa: BLE001 - our own fault must still be told, or the client waits forever
            _log.failure("an answer failed inside chatbridge")
            write_error(self._request, internal())
        else:
            write_json(self._request, 200, value)
