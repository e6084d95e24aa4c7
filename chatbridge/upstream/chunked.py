"""The chunked transfer coding, with one callback per read in place of one per chunk.

Whole chunks with a plain size line are taken here, in one loop. Everything else (the read's last chunk when it is
cut, extensions, the end, trailers, and whatever is malformed) goes through Twisted's own decoder, of which this is a
subclass: what it refuses is refused, with its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.web.http import _ChunkedTransferDecoder

# Eight digits are 4 GiB; stock decides on longer ones. A size of zero, in any writing, is the end and not taken.
_SIZE = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,7})\r\n")


class ChunkedDecoder(_ChunkedTransferDecoder):
    """Twisted's decoder, but *dataCallback* is called at most once per read, before *finishCallback* or an error."""

    def __init__(self, dataCallback: Callable[[bytes], None], finishCallback: Callable[[bytes], None]) -> None:
        self._pieces: list[bytes] = []
        self._deliver = dataCallback
        self._finish = finishCallback
        super().__init__(self._pieces.append, self._finished)

    def dataReceived(self, data: bytes) -> None:
        at = 0
        if not self._buffer:
            if self.state == "BODY" and data[self.length : self.length + 2] == b"\r\n":
                self._pieces.append(data[: self.length])
                at = self.length + 2
                self.state = "CHUNK_LENGTH"
            if self.state == "CHUNK_LENGTH":
                at = self._take_whole(data, at)
        try:
            super().dataReceived(data[at:] if at else data)
        finally:
            self._flush()

    def _take_whole(self, data: bytes, at: int) -> int:
        """Take the whole chunks from *at* on; return where the rest begins."""
        add, match = self._pieces.append, _SIZE.match
        while (size := match(data, at)) is not None:
            begin = size.end()
            end = begin + int(size[1], 16)
            if data[end : end + 2] != b"\r\n":
                break
            add(data[begin:end])
            at = end + 2
        return at

    def _finished(self, rest: bytes) -> None:
        self._flush()
        self._finish(rest)

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._deliver(data)
