"""Writes that leave at once, where nothing waits before them.

A transport of Twisted's collects what is written and sends it in the reactor's next turn, for which it asks the kernel
to watch the socket, and not to watch it afterwards: five system calls where one does. For a stream of single deltas
that is a quarter of the CPU. The bytes on the wire are the same; whatever the socket does not take, or what is not the
plain case, goes through the transport.

It reads the transport's buffers (``dataBuffer`` and ``_tempDataBuffer``), which are not quite public names; without
them it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper


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


def writer(transport: Any) -> Callable[[bytes], None]:
    """Return what writes to *transport*, at once where that can be."""
    plain = plain_tcp(transport)
    write: Callable[[bytes], None] = transport.write if plain is None else partial(send, plain)
    return write


def send(transport: Any, data: bytes) -> None:
    """Write *data* to *transport*, one that :func:`plain_tcp` has returned."""
    if (
        transport.dataBuffer
        or transport._tempDataBuffer  # noqa: SLF001
        or not transport.connected
        or transport.disconnecting
    ):
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except OSError:  # it is full, or broken: the transport finds out
        sent = 0
    if sent < len(data):
        transport.write(data[sent:])
