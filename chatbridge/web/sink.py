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
from chatbridge.web.direct import Write, direct_write
from chatbridge.web.resource import set_status, write_error, write_json

_log = Logger()


class Sink(Protocol):
    """What an answer asks of its way out."""

    on_write: Callable[[], None]
    """Called for each write to the client; the answer sets it."""

    def open(self, producer: Any) -> None:
        """Nothing stands against a success any more: the head may go out. *producer* is the answer."""

    def open_for_failure(self, producer: Any) -> None:
        """The answer is about to fail; open it, if this client is told of failures inside the answer."""

    def write(self, events: Sequence[Event | bytes]) -> None:
        """Write the events of one upstream read, at once."""

    def keepalive(self) -> None:
        """Show the client that the answer is alive."""

    def close(self) -> None:
        """The turn is closed: write what is left, and finish the request."""


def open_stream(request: Request) -> None:
    """Set status and headers of a stream of events."""
    set_status(request, 200)
    request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
    request.setHeader(b"cache-control", b"no-cache")
    request.setHeader(b"x-accel-buffering", b"no")  # nginx would hold events back


class EventStream:
    """Server-sent events. *headers* are added to the answer's as it opens; *log*, if there is one, gets all events."""

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
        self._write: Write = request.write
        self.tap: Callable[[Write], Write] = lambda write: write
        """Puts itself between the events and the client, for a trace."""
        self.on_write: Callable[[], None] = lambda: None

    def open(self, producer: Any) -> None:
        if self._opened:
            return
        self._opened = True
        request = self._request
        open_stream(request)
        for name, value in self._headers.items():
            request.setHeader(name, value)
        request.registerProducer(producer, True)
        self._write = self.tap(request.write)
        self.write(self._turn.start())
        self._write = self.tap(direct_write(request))

    def open_for_failure(self, producer: Any) -> None:
        # An HTTP error costs Codex up to 30 requests; the same told inside a stream one, or six.
        if self._for_codex:
            self.open(producer)

    def write(self, events: Sequence[Event | bytes]) -> None:
        if events and self._opened:
            frames = b"".join([sse.frame(event) for event in events])
            self._write(frames)
            if self._log is not None:
                self._log.append(frames)
            self.on_write()

    def keepalive(self) -> None:
        if self._for_codex:
            self.write(self._turn.keepalive())  # comments do not reset Codex's idle timer
        elif self._opened:
            self._write(sse.COMMENT)
            self.on_write()

    def close(self) -> None:
        if not self._opened:
            write_error(self._request, self._turn.error or internal())
            return
        self._request.unregisterProducer()
        self._request.finish()


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
        self.on_write: Callable[[], None] = lambda: None

    def open(self, producer: Any) -> None:
        if not self._opened:
            self._opened = True
            self._exchange.open(producer)
            self.write(self._turn.start())

    def open_for_failure(self, producer: Any) -> None:
        if self._for_codex:  # an error event shows no text, or costs more tries
            self.open(producer)

    def write(self, events: Sequence[Event | bytes]) -> None:
        if events and self._opened:
            self._exchange.send([text for event in events for text in sse.texts(event)])
            self.on_write()

    def keepalive(self) -> None:
        self.write(self._turn.keepalive())  # pings do not reset Codex's idle timer

    def close(self) -> None:
        self._exchange.closed(self._turn)


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
        self.on_write: Callable[[], None] = lambda: None

    def open(self, producer: Any) -> None:
        """Nothing goes out before the end."""

    def open_for_failure(self, producer: Any) -> None:
        """Nor does it for a failure."""

    def write(self, events: Sequence[Event | bytes]) -> None:
        """The turn keeps what it needs."""

    def keepalive(self) -> None:
        """JSON has no signs of life."""

    def close(self) -> None:
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
