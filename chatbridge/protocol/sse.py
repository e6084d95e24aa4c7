"""Server-sent events, both ways, on bytes.

Reading follows the WHATWG rules and the oddities of vendors (quirks S50, S55, S56): any line end, an optional space
after the colon, several data lines, comments, a byte-order mark. Writing makes each event one piece with LF line
ends, because a strict client's parser loses an event whose blank line comes in a later read.
"""

from __future__ import annotations

from typing import Any

from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.kept import event_text

DONE = b"[DONE]"
COMMENT = b": keep-alive\n\n"
_BOM = b"\xef\xbb\xbf"


class OverlongError(ValueError):
    """One event is larger than the decoder's limit."""


class ErrorData(bytes):
    """The data of an event that is named ``error``, whatever it holds (quirk S51)."""


class Decoder:
    """Bytes as they come → the data of each complete event.

    Feed it reads of any size; an event's lines are decoded only when the event is complete, so characters cut by a
    read do no harm. Events without data are left out.
    """

    def __init__(self, limit: int = 32 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._searched = 0
        self._after_cr = False
        self._begun = False
        self.between = True
        """Nothing is kept of what came: the next read begins with an event."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take one read; return the data of the events that it completed. Raises :class:`OverlongError`."""
        if self.between and data.endswith(b"\n\n") and b"\r" not in data and not data.startswith(_BOM):
            # Whole events, which is what a read holds as a rule: nothing need be kept.
            self._begun = True
            return _payloads(data[:-2])
        self.between = False
        payloads = self._collect(data)
        self.between = not self._buffer and not self._after_cr
        return payloads

    def _collect(self, data: bytes) -> list[bytes]:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._buffer += data
        if not self._begun:
            if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
                return []
            self._begun = True
            if self._buffer.startswith(_BOM):
                del self._buffer[: len(_BOM)]
        end = self._buffer.rfind(b"\n\n", max(0, self._searched - 1))
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > self._limit:
                raise OverlongError(f"an event is larger than {self._limit} bytes")
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._searched = len(self._buffer)
        return _payloads(whole)

    def close(self) -> list[bytes]:
        """Return the data of a last event that no blank line ended; the caller drops it when it is cut."""
        payload = _payload(bytes(self._buffer))
        self._buffer.clear()
        return [] if payload is None else [payload]


def _payloads(blocks: bytes) -> list[bytes]:
    """Return the data of events; *blocks* is what they are, without the blank line after the last."""
    if blocks.startswith(b"data: "):
        # As nearly always: one line of data each, and no other.
        found = blocks[6:].split(b"\n\ndata: ")
        if b"" not in found and b"\n" not in b"".join(found):
            return found
    return [payload for block in blocks.split(b"\n\n") if (payload := _payload(block)) is not None]


def _payload(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:] or None
    lines, error = [], False
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value[1:] if value.startswith(b" ") else value)
        elif field == b"event":
            error = value.strip() == b"error"
    data = b"\n".join(lines)
    return ErrorData(data) if error and data else data or None


def frame(event: dict[str, Any] | bytes) -> bytes:
    """Return one Responses event as the bytes of one server-sent event; its ``type`` is the event's name.

    Bytes are framed already.
    """
    if isinstance(event, bytes):
        return event
    text = dumps(event) if type(event) is dict else event_text(event)
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), text)


def texts(event: dict[str, Any] | bytes) -> list[bytes]:
    """Return the JSON of what :func:`frame` takes, one text for each event: a WebSocket sends each by itself."""
    if not isinstance(event, bytes):
        return [event_text(event)]
    return [block.partition(b"\ndata: ")[2] for block in event.split(b"\n\n")[:-1]]
