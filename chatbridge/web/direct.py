"""Small writes to the client that leave at once, see :mod:`chatbridge.upstream.direct`.

For a stream of single deltas that saves a quarter of the CPU. The bytes on the wire are those of
:meth:`Request.write`; whatever the socket does not take, or what is not the plain case, goes through that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.upstream.direct import can_send, plain_tcp

Write = Callable[[bytes], None]


def direct_write(request: Any) -> Write:
    """Return what writes to *request*'s client, whose answer's head is written already."""
    plain: Write = request.write
    transport = plain_tcp(getattr(request.channel, "transport", None))
    if transport is None or not request.startedWriting or request.method == b"HEAD":
        return plain
    chunked = bool(request.chunked)
    send = transport.socket.send

    def write(data: bytes) -> None:
        if not can_send(transport) or not data or request.finished or request.channel is None:
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
