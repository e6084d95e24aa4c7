"""The chunked transfer coding, read by read: one piece of data for each, however many chunks are in it.

Vendors put each event into a chunk of its own, so Twisted's decoder calls back once per event; joining what one read
holds is the largest single gain in a burst. Strict, because what one side takes for the end of a body another may
take for its middle: hexadecimal sizes, CR LF, bounded lines and trailers, as Twisted's own, byte for byte.
"""

from __future__ import annotations

import re

SIZE_LINE_LIMIT = 1024
TRAILERS_LIMIT = 65536
_TRAILER_LIMIT = 8192
"""One line of the trailers: the beginning of a line is looked at again with each read."""

# Eight digits are 4 GiB: more than that goes the long way. A size of zero, in any writing, is the end and not taken.
_PLAIN = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,7})\r\n")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")
_EXTENSION = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")

_LAST = b"0\r\n\r\n"

_LINE, _DATA, _BREAK, _TRAILERS, _DONE = range(5)


class ChunkedDecoder:
    """Feed it reads of any size. :attr:`problem` says what is malformed, and nothing is read after that."""

    def __init__(self) -> None:
        self.done = False
        """The whole body has come; :attr:`rest` is what came behind it."""
        self.rest = b""
        self.problem = ""
        self._state = _LINE
        self._left = 0  # of the chunk's data
        self._held = b""  # the beginning of a line
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """Take one read; return the data in it."""
        if self._state == _LINE and not self._held and not self.problem and len(data) > len(_LAST):
            at = data.find(b"\r\n")
            if data[:at] == b"%x" % (len(data) - at - 4) and data.endswith(b"\r\n"):
                return data[at + 2 : -2]  # one whole chunk, as the reads of a slow stream are
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.problem:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _BREAK
            elif self._state == _BREAK:
                if data[at : at + 2] != b"\r\n":
                    self._hold_break(data[at:])
                    break
                at += 2
                self._state = _LINE
            elif self._state == _LINE:
                at = self._whole(data, at, pieces)
                if at < end:
                    at = self._size(data, at)
            else:
                at = self._trailer(data, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _whole(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take the whole chunks with a plain size line from *at* on; return where the rest begins."""
        if len(pieces) <= 1:  # not for each chunk anew
            at = _split(data, at, pieces)
        add, match = pieces.append, _PLAIN.match
        while (size := match(data, at)) is not None:
            begin = size.end()
            end = begin + int(size[1], 16)
            if data[end : end + 2] != b"\r\n":
                break
            add(data[begin:end])
            at = end + 2
        return at

    def _size(self, data: bytes, at: int) -> int:
        if len(data) - at == len(_LAST) and data.endswith(_LAST):
            self._state, self.done = _DONE, True
            return len(data)
        end = data.find(b"\r\n", at, at + SIZE_LINE_LIMIT + 1)
        if end < 0:
            if len(data) - at > SIZE_LINE_LIMIT:
                self.problem = f"a chunk's size line is longer than {SIZE_LINE_LIMIT} bytes"
            self._held = data[at:]
            return len(data)
        size, _, extension = data[at:end].partition(b";")
        if _SIZE.fullmatch(size) is None:
            self.problem = "a chunk's size is no number"
        elif _EXTENSION.fullmatch(extension) is None:
            self.problem = "a chunk's extension has illegal characters"
        else:
            self._left = int(size, 16)
            self._state = _DATA if self._left else _TRAILERS
        return end + 2

    def _hold_break(self, rest: bytes) -> None:
        if rest == b"\r":
            self._held = rest
        else:
            self.problem = "a chunk does not end with CR LF"

    def _trailer(self, data: bytes, at: int) -> int:
        """Pass over one line of the trailers; nobody has use for them."""
        end = data.find(b"\r\n", at)
        size = (end + 2 if end >= 0 else len(data)) - at
        if size > _TRAILER_LIMIT or self._trailers + size > TRAILERS_LIMIT:
            self.problem = "the trailers are too long"
            return len(data)
        if end < 0:
            self._held = data[at:]
            return len(data)
        self._trailers += size
        if end == at:
            self._state = _DONE
            self.done = True
            self.rest = data[end + 2 :]
            return len(data)
        return end + 2


def _split(data: bytes, at: int, pieces: list[bytes]) -> int:
    """Take the whole chunks from *at* on, up to one that holds a line end of HTTP's; return where the rest begins."""
    parts = data[at:].split(b"\r\n")
    chunks = parts[1:-1:2]
    if chunks and not chunks[-1]:
        chunks.pop()  # of the last one, which has no data
    sizes = [b"%x" % len(chunk) for chunk in chunks]
    count = len(chunks)
    if sizes != parts[: 2 * count : 2] or b"0" in sizes:
        found = zip(sizes, parts[::2], strict=False)
        count = next(number for number, (size, told) in enumerate(found) if size != told or size == b"0")
    pieces += chunks[:count]
    return at + sum(map(len, parts[: 2 * count])) + 4 * count


class LengthDecoder:
    """A body of *length* bytes; the same face as :class:`ChunkedDecoder`."""

    problem = ""

    def __init__(self, length: int) -> None:
        self.length = length
        self.done = length == 0
        self.rest = b""
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """Take one read; return the data in it."""
        if len(data) > self._left:
            data, self.rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.done = not self._left
        return data


class UntilClose:
    """A body that ends with its connection; the same face again."""

    problem = ""
    done = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the data."""
        return data


Decoder = ChunkedDecoder | LengthDecoder | UntilClose
