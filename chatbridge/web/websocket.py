"""WebSockets: the handshake, frames in and out, pings, limits.

The protocol is wsproto's, the optional extra ``websocket``. What the messages mean is :mod:`chatbridge.web.session`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError
from zope.interface import implementer

from chatbridge.protocol.errors import ApiError
from chatbridge.upstream.deadlines import Deadlines
from chatbridge.upstream.direct import writer
from chatbridge.web.guard import is_loopback
from chatbridge.web.sockets import GOING_AWAY, TOO_BIG

AGE = 3600.0
"""Seconds after which a WebSocket ends, as the specification says."""
PING_EVERY = 30.0
"""Seconds of silence after which the other side is asked for a sign of life; the third time without one ends it."""
CLOSE_SECONDS = 2.0
"""How long the other side may take to answer a Close frame."""

# Deflate makes at most 1,032 bytes of one: a step holds 4 MiB at most.
_STEP = 4096
_PINGS = 2


class Messages(Protocol):
    """Who reads a WebSocket."""

    @property
    def idle(self) -> bool:
        """No answer runs."""

    def received(self, message: bytes) -> None:
        """Take one message."""

    @property
    def full(self) -> bool:
        """So many messages wait that no more should be read."""

    def drained(self) -> None:
        """What was written has gone out; more may follow."""

    def expired(self) -> None:
        """The WebSocket has become too old: end it as soon as it is idle."""

    def lost(self) -> None:
        """The connection is gone."""


@implementer(IPushProducer)
class WebSocket:
    """One WebSocket. *limit* is the largest message in bytes."""

    def __init__(self, connection: Any, channel: Any, clock: Any, limit: int, *, compressed: bool) -> None:
        self.on_lost: Callable[[], object] = lambda: None
        self.blocked = False
        """The client reads slowly: nothing more should be sent now."""
        self.ending = 0
        """The code to close with when no answer runs any more."""
        self._connection = connection
        self._channel = channel
        self._write = writer(channel.transport)
        self._deadlines = Deadlines(clock)
        self._limit = limit
        self._compressed = compressed
        self._reader: Messages | None = None
        self._producer: Any = None
        self._parts: list[bytes] = []
        self._size = 0
        self._unread = b""
        self._reading = self._paused = False
        self._pings = 0

    def start(self, reader: Messages) -> None:
        """Begin to read, for *reader*."""
        self._reader = reader
        self._channel.registerProducer(self, True)
        self._deadlines.set(self._silent, PING_EVERY)
        self._deadlines.set(reader.expired, AGE)
        self._read()

    # --- what comes in

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; before :meth:`start` they wait."""
        self._unread += data
        self._pings = 0
        if self._reader is not None:
            self._deadlines.set(self._silent, PING_EVERY)
        self._read()

    def _read(self) -> None:
        """Read what is there, as far as the reader takes it. What it does meanwhile may call this again."""
        reader = self._reader
        if self._reading or reader is None:
            return
        self._reading = True
        while self._unread and not self._stopped:
            if reader.full:
                break
            piece, self._unread = self._unread[:_STEP], self._unread[_STEP:]
            self._connection.receive_data(piece)
            for event in self._connection.events():
                self._event(event, reader)
        self._reading = False
        self._pause(bool(self._unread) and reader.full)

    @property
    def _stopped(self) -> bool:
        return self._connection.state not in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)

    def _event(self, event: Any, reader: Messages) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._message(event, reader)
            case Ping():
                if not self.blocked and self._connection.state is ConnectionState.OPEN:
                    self._write(self._connection.send(event.response()))
            case CloseConnection():
                self._closed(event)

    def _message(self, event: Any, reader: Messages) -> None:
        if self._give_up in self._deadlines.due:
            return  # it is closing
        part = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        self._size += len(part)
        if self._size > self._limit:
            self._parts.clear()
            self.close(TOO_BIG, f"a message is larger than {self._limit} bytes")
            return
        self._parts.append(part)
        if event.message_finished:
            message, self._parts, self._size = b"".join(self._parts), [], 0
            reader.received(message)

    def _closed(self, event: Any) -> None:
        """The other side closes, answers our closing, or broke the protocol."""
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._write(self._connection.send(event.response()))
        self._channel.loseConnection()

    def _pause(self, pause: bool) -> None:
        if pause != self._paused:
            self._paused = pause
            transport = self._channel.transport
            (transport.pauseProducing if pause else transport.resumeProducing)()

    # --- what goes out

    def send(self, texts: list[bytes]) -> int:
        """Send each of *texts* as one message; return how many bytes that took."""
        if self._connection.state is not ConnectionState.OPEN:
            return 0
        if self._compressed:
            data = b"".join([self._connection.send(TextMessage(data=text.decode())) for text in texts])
        else:
            data = b"".join([part for text in texts for part in (frame_head(len(text)), text)])
        self._write(data)
        return len(data)

    def registerProducer(self, producer: Any) -> None:
        """Pause *producer* from now on while the client reads slowly."""
        self._producer = producer
        if self.blocked:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None

    def pauseProducing(self) -> None:
        self.blocked = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self.blocked = False
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._reader is not None:
            self._reader.drained()
        self.go_on()

    def stopProducing(self) -> None:
        """The connection is about to be lost, and that is told."""

    def go_on(self) -> None:
        """The reader has become able to take more."""
        self._read()

    def _silent(self) -> None:
        self._deadlines.set(self._silent, PING_EVERY)
        if self.blocked or self._paused or self._connection.state is not ConnectionState.OPEN:
            return  # it could not be heard
        self._pings += 1
        if self._pings > _PINGS:
            self._channel.transport.abortConnection()
        else:
            self._write(self._connection.send(Ping()))

    # --- the end

    def end(self, code: int = GOING_AWAY) -> None:
        """Close with *code*, as soon as no answer runs."""
        self.ending = self.ending or code
        if self._reader is None or self._reader.idle:
            self.close(self.ending)

    def close(self, code: int, reason: str = "") -> None:
        """Close now. The other side may take :data:`CLOSE_SECONDS` to answer."""
        if self._connection.state is ConnectionState.OPEN:
            self._write(self._connection.send(CloseConnection(code=code, reason=reason)))
            self._deadlines.set(self._give_up, CLOSE_SECONDS)

    def flush(self) -> None:
        """Say goodbye; the connection closes when all that was written is sent."""
        if self._connection.state is ConnectionState.OPEN:
            self._write(self._connection.send(CloseConnection(code=GOING_AWAY)))

    def _give_up(self) -> None:
        if self.blocked:  # nor does it read
            self._channel.transport.abortConnection()
        else:
            self._channel.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's interface
        """Stop everything."""
        self._deadlines.lift(*self._deadlines.due)
        self.on_lost()
        if self._reader is not None:
            self._reader.lost()


def frame_head(size: int) -> bytes:
    """Return the head of a frame that is a whole text message of *size* bytes.

    As wsproto makes it, but for a tenth of the time: deltas are short, and frames are most of what they cost.
    """
    if size < 126:
        return b"\x81%c" % size
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def handshake(request: Any) -> tuple[bytes, Any, bool]:
    """Return the 101 answer to *request*, what speaks the protocol from then on, and whether it compresses.

    That costs more than the answer itself, so it is for clients on other machines.
    """
    upgrade = H11Handshake(ConnectionType.SERVER)
    headers = [
        (name, value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
        if name.lower() in (b"host", b"connection", b"upgrade") or name.lower().startswith(b"sec-websocket-")
    ]
    if request.clientproto != b"HTTP/1.1":
        raise _bad("HTTP/1.1 is needed")
    try:
        upgrade.initiate_upgrade_connection(headers, request.path)
        near = is_loopback(getattr(request.channel.getPeer(), "host", "localhost"))
        deflate = PerMessageDeflate()
        accepted = AcceptConnection(extensions=[] if near else [deflate], extra_headers=[(b"server", b"chatbridge")])
        return upgrade.send(accepted), upgrade.connection, deflate.enabled()
    except RemoteProtocolError as error:
        if getattr(error.event_hint, "status_code", 400) == 426:
            request.setHeader(b"sec-websocket-version", b"13")
            raise ApiError(426, "The version of WebSocket must be 13.", code="websocket_not_supported") from None
        raise _bad(str(error)) from None
    except Exception as error:  # of the libraries below: what is not ASCII, numbers that are none
        raise _bad("a header is malformed") from error


def _bad(why: str) -> ApiError:
    return ApiError(400, f"This is no WebSocket handshake: {why}.", code="bad_handshake")
