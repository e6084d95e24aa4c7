"""The pool's connections: small writes leave at once, and a chunked body comes as one piece per TCP read.

The second is the largest single gain in a burst: Twisted calls back once per HTTP chunk, and vendors put each event
into a chunk of its own. Both reach into private names of Twisted; where one is missing, Twisted's own way is used.
"""

from __future__ import annotations

import contextlib
from typing import Any

# Private: an ImportError here makes the pool use its own factory.
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import _HTTP11ClientFactory

from chatbridge.upstream.chunked import ChunkedDecoder


class Factory(_HTTP11ClientFactory):
    """What the pool makes its connections with."""

    noisy = False  # or each connection is logged

    def buildProtocol(self, addr: Any) -> Any:
        stocks = super().buildProtocol(addr)
        return Connection(self._quiescentCallback) if type(stocks) is HTTP11ClientProtocol else stocks


class Connection(HTTP11ClientProtocol):
    """Twisted's client protocol with the two changes."""

    def connectionMade(self) -> None:
        super().connectionMade()
        # Twisted 22.4 leaves Nagle's algorithm on: 40 ms for a request of two writes.
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            with contextlib.suppress(OSError):  # a unix socket
                set_no_delay(True)

    def request(self, request: Any) -> Any:
        answered = super().request(request)
        parser: Any = getattr(self, "_parser", None)
        if isinstance(getattr(parser, "_transferDecoders", None), dict):
            # On the one parser: the table itself is Twisted's, and everybody's.
            parser._transferDecoders = {**parser._transferDecoders, b"chunked": ChunkedDecoder}  # noqa: SLF001
        return answered
