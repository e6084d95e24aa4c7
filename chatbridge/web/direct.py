"""Small writes that leave at once, where nothing waits before them.

A transport of Twisted's collects what is written and sends it in the reactor's next turn, for which it asks the kernel
to watch the socket, and not to watch it afterwards: five system calls where one does. For a stream of single deltas
that is a quarter of the CPU. The bytes on the wire are those of :meth:`Request.write`; whatever the socket does not
take, or what is not the plain case, goes through that.

It reads the transport's buffers (``dataBuffer`` and ``_tempDataBuffer``), which are not quite public names; without
them it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper

Write = Callable[[bytes], None]


def direct_write(request: Any) -> Write:
    """Return what writes to *request*'s client, whose answer's head is written already."""
    plain: Write = request.write
    transport = _plain_tcp(getattr(request.channel, "transport", None))
    if transport is None or not request.startedWriting or request.method == b"HEAD":
        return plain
    chunked = bool(request.chunked)
    send = transport.socket.send

    def write(data: bytes) -> None:
        if (
            transport.dataBuffer
            or transport._tempDataBuffer  # noqa: SLF001
            or not data
            or not transport.connected
            or transport.disconnecting
            or request.finished
            or request.channel is None
        ):
            plain(data)
            return
        framed = b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
        try:
            sent = send(framed)
        except OSError:  # it is full, or broken: the transport finds out
            sent = 0
        request.sentLength += len(data)
        if sent < len(framed):
            transport.write(framed[sent:])

    return write


def _plain_tcp(transport: Any) -> Any:
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
