"""The upstream's body, read by read → events. Tells an event stream from a body that is something else (quirk S58)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chatbridge.protocol import failure, sse
from chatbridge.protocol.chat import completion, completions
from chatbridge.protocol.errors import unavailable
from chatbridge.protocol.jsontext import loads
from chatbridge.translate.items import Event
from chatbridge.translate.turn import Turn

LIMIT = 32 * 1024 * 1024
"""The largest body that is not an event stream, and the largest single event, in bytes."""
_HEAD = 2048
_BLANK = b" \t\r\n\xef\xbb\xbf"
"""White space and the bytes of a byte-order mark."""


class Reader:
    """Feeds a :class:`Turn` with bytes. Reads of any size give the same events.

    With *framed*, some events come as the bytes that :func:`sse.frame` gives for them, many in one.
    """

    def __init__(self, turn: Turn, *, framed: bool = False) -> None:
        self._turn = turn
        self._framed = framed
        self._decoder = sse.Decoder(LIMIT)
        self._head = b""
        self._whole: bytearray | None = None

    @property
    def silent(self) -> bool:
        """Nothing has come but white space and comments: the answer has not begun."""
        if self._whole is not None or self._turn.chunks or len(self._head) >= _HEAD:
            return False
        return all(line.startswith(b":") or not line.strip(_BLANK) for line in self._head.splitlines())

    def feed(self, data: bytes) -> Sequence[Event | bytes]:
        """Take one read; return the events that it gives."""
        if self._framed and self._decoder.between and (frames := self._turn.copy(data)) is not None:
            return (frames,)
        if self._whole is not None:
            self._whole += data
            return self._too_large() if len(self._whole) > LIMIT else []
        if self._turn.chunks == 0 and len(self._head) < _HEAD:
            begun = bool(self._head)
            self._head += data if begun else data.lstrip(_BLANK)
            if not begun and self._head[:1] in (b"{", b"[", b"<"):
                self._whole = bytearray(self._head)
                return []
        try:
            payloads = self._decoder.feed(data)
        except sse.OverlongError:
            return self._too_large()
        if self._framed:
            return self._turn.read(payloads)
        if len(payloads) == 1:
            return self._turn.data(payloads[0])
        return [event for payload in payloads for event in self._turn.data(payload)]

    def close(self) -> list[Event]:
        """The body has ended, whole or not: return the last events."""
        turn = self._turn
        if self._whole is not None:
            return self._read_whole(bytes(self._whole))
        events = [event for payload in self._decoder.close() for event in turn.data(payload)]
        if turn.chunks == 0 and not turn.closed and self._head:
            return [*events, *self._not_an_answer(self._head[:_HEAD])]
        return [*events, *turn.end()]

    def _read_whole(self, body: bytes) -> list[Event]:
        try:
            value = loads(body)
        except ValueError:
            chunks = completions(body)
        else:
            whole = completion(value)
            chunks = [] if whole is None else [whole]
        if not chunks:
            return self._not_an_answer(body)
        return [*(event for chunk in chunks for event in self._turn.chunk(chunk)), *self._turn.end(done=True)]

    def _not_an_answer(self, body: bytes) -> list[Event]:
        found = failure.read_body(body)
        text = f"The upstream's answer is not a chat completion: {found.message[:500] or 'an empty body'}"
        return self._turn.refuse(replace(found, message=text))

    def _too_large(self) -> list[Event]:
        return self._turn.fail(
            unavailable(f"The upstream sent more than {LIMIT} bytes without an end.", code="upstream_error")
        )
