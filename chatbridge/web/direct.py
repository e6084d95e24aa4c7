"""An answer's way to its client, and the short one: bytes that leave at once, where nothing waits before them.

The bytes on the wire are those of :meth:`Request.write`; :mod:`chatbridge.upstream.direct` sends them.
"""

from __future__ import annotations

from typing import Any

from chatbridge.upstream.direct import plain_tcp, send


class Fields:
    """Header fields of many answers: as *pairs* of name and value, and as the bytes that they are in a head."""

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        self.pairs = tuple(pairs.items())
        self.block = b"".join([b"%b: %b\r\n" % pair for pair in self.pairs])


_NONE = Fields({})


class Outlet:
    """Writes one answer by way of its request's own methods. *fields* are added to its head."""

    def __init__(self, request: Any, fields: Fields) -> None:
        self._request = request
        for name, value in fields.pairs:
            request.setHeader(name, value)

    def hold(self, data: bytes) -> None:
        """Write what need not leave before :meth:`flush`, or the next write."""
        self._request.write(data)

    def write(self, data: bytes) -> None:
        """Write *data*. To HEAD the request puts a ``write`` of its own in place as the head goes: it is looked up."""
        self._request.write(data)

    def flush(self) -> None:
        """Send what is held, and at least the head."""
        if not self._request.startedWriting:
            self._request.write(b"")

    def end(self, data: bytes) -> None:
        """Write *data*, the last there is, and finish the request."""
        if data:
            self._request.write(data)
        self._request.unregisterProducer()
        self._request.finish()


class DirectOutlet:
    """As :class:`Outlet`, to the socket of *transport*."""

    __slots__ = ("_chunked", "_held", "_request", "_transport")

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
            send(self._transport, framed)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            send(self._transport, held)

    def end(self, data: bytes) -> None:
        request = self._request
        request.sentLength += len(data)
        last, self._held = self._held + self._framed(data) + (b"0\r\n\r\n" if self._chunked else b""), b""
        if last:
            send(self._transport, last)
        request.unregisterProducer()
        request.chunked = 0  # the last chunk is written
        request.finish()

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data


def outlet(request: Any, fields: Fields = _NONE) -> Outlet | DirectOutlet:
    """Begin *request*'s answer, of any length, with success; return what writes it."""
    transport = _way(request)
    return Outlet(request, fields) if transport is None else DirectOutlet(request, fields, transport)


def write_whole(request: Any, body: bytes) -> None:
    """Answer *request* with its status and headers, which tell the length, and *body*; finish it."""
    transport = _way(request)
    if transport is None:
        request.write(body)
    else:
        request.sentLength += len(body)
        send(transport, request.begin(b"", chunked=False) + body)
    request.finish()


def _way(request: Any) -> Any:
    """Return the transport to which *request*'s answer may go directly, from its head on."""
    if request.startedWriting or request.method == b"HEAD":
        return None
    return plain_tcp(getattr(request.channel, "transport", None))
