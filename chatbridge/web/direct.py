"""An answer's way to its client, and the short one: bytes that leave at once, where nothing waits before them.

A transport of Twisted's collects what is written and sends it in the reactor's next turn, for which it asks the kernel
to watch the socket, and not to watch it afterwards: five system calls where one does. For a stream of single deltas
that is a quarter of the CPU. The bytes on the wire are those of :meth:`Request.write`; whatever the socket does not
take, or what is not the plain case, goes through the transport.

It reads the transport's buffers (``dataBuffer`` and ``_tempDataBuffer``), which are not quite public names; without
them it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper


class Outlet:
    """Writes one answer by way of its request's own methods. *fields* are added to its head."""

    def __init__(self, request: Any, fields: Fields) -> None:
        self._request = request
        for name, value in fields.pairs:
            request.setHeader(name, value)
        self.hold: Callable[[bytes], None] = request.write
        """Write what need not leave before :meth:`flush`, or the next write."""
        self.write: Callable[[bytes], None] = request.write

    def flush(self) -> None:
        """Send what is held."""

    def end(self, data: bytes) -> None:
        """Write *data*, the last there is, and finish the request."""
        if data:
            self._request.write(data)
        self._request.unregisterProducer()
        self._request.finish()


class Fields:
    """Header fields of many answers: as *pairs* of name and value, and as the bytes that they are in a head."""

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        self.pairs = tuple(pairs.items())
        self.block = b"".join([b"%b: %b\r\n" % pair for pair in self.pairs])


class DirectOutlet:
    """As :class:`Outlet`, to the socket of *transport*."""

    def __init__(self, request: Any, fields: Fields, transport: Any) -> None:
        self._request = request
        self._transport = transport
        self._held: bytes = request.begin(fields.block, chunked=True)
        self._chunked = bool(request.chunked)

    def hold(self, data: bytes) -> None:
        self._request.sentLength += len(data)
        self._held += self._framed(data)

    def write(self, data: bytes) -> None:
        request = self._request
        if request.finished:
            request.write(data)  # which is an error
        elif data:
            request.sentLength += len(data)
            framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            if self._held:
                framed, self._held = self._held + framed, b""
            _send(self._transport, framed)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            _send(self._transport, held)

    def end(self, data: bytes) -> None:
        request = self._request
        request.sentLength += len(data)
        last, self._held = self._held + self._framed(data) + (b"0\r\n\r\n" if self._chunked else b""), b""
        if last:
            _send(self._transport, last)
        request.unregisterProducer()
        request.chunked = 0  # the last chunk is written
        request.finish()

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data


def outlet(request: Any, fields: Fields) -> Outlet | DirectOutlet:
    """Begin *request*'s answer; return what writes it."""
    transport = _way(request)
    return Outlet(request, fields) if transport is None else DirectOutlet(request, fields, transport)


def write_whole(request: Any, body: bytes) -> None:
    """Answer *request* with its status and headers, which tell the length, and *body*; finish it."""
    transport = _way(request)
    if transport is None:
        request.write(body)
    else:
        request.sentLength += len(body)
        _send(transport, request.begin(b"", chunked=False) + body)
    request.finish()


def _send(transport: Any, data: bytes) -> None:
    if transport.dataBuffer or transport._tempDataBuffer or not transport.connected or transport.disconnecting:  # noqa: SLF001
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except OSError:  # it is full, or broken: the transport finds out
        sent = 0
    if sent < len(data):
        transport.write(data[sent:])


def _way(request: Any) -> Any:
    """Return the transport to which *request*'s answer may go directly, from its head on."""
    if request.startedWriting or request.method == b"HEAD":
        return None
    return plain_tcp(getattr(request.channel, "transport", None))


def plain_tcp(transport: Any) -> Any:
    """Return the TCP transport below *transport*, if what is written there goes to its socket unchanged."""
    while isinstance(transport, ProtocolWrapper) and type(transport).write is ProtocolWrapper.write:
        transport = transport.transport
    if not isinstance(transport, Connection) or getattr(transport, "TLS", True):
        return None
    names = ("dataBuffer", "_tempDataBuffer", "connected", "disconnecting", "socket")
    if not all(hasattr(transport, name) for name in names):
        return None
    # A kind of transport that sends otherwise than all do has a reason.
    return transport if type(transport).doWrite is FileDescriptor.doWrite else None
