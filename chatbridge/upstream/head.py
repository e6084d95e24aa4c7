"""A response's head: bytes → status, headers, and how its body is framed. Strict where two readers could disagree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from chatbridge.upstream.chunked import ChunkedDecoder, Decoder, LengthDecoder, UntilClose
from chatbridge.upstream.headers import PlainHeaders

LIMIT = 65536
"""Bytes of one response's heads, informational ones (1xx) included."""

END = re.compile(rb"\r?\n\r?\n")
"""Where a head ends. Some servers write bare line feeds, and Twisted takes them too."""
_STATUS = re.compile(rb"HTTP/([0-9])\.([0-9]) ([0-9]{3})(?: ([^\x00\r\n]*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TOKENS = re.compile(rb"[^\s,]+")
_SHORT = 200
"""Lines up to this size are remembered: most of a head's are those of the head before."""


class HeadError(ValueError):
    """The head is none, or says two things about where its body ends."""


@dataclass(slots=True)
class Head:
    """What a head says."""

    version: tuple[int, int]
    code: int
    phrase: bytes
    headers: PlainHeaders

    @property
    def persistent(self) -> bool:
        """Whether the connection stays open after the body."""
        tokens, fields = self._tokens(b"connection"), self.headers.fields
        if b"close" in tokens:
            return False
        if b"transfer-encoding" in fields and (b"content-length" in fields or self.version < (1, 1)):
            # Whoever is between may have read it otherwise; what follows would be taken for the next answer.
            return False
        return self.version >= (1, 1) or b"keep-alive" in tokens

    def decoder(self, method: bytes) -> Decoder | None:
        """Return what reads the body of the answer to *method*; None where there is none (RFC 9112, section 6.3).

        Raises :class:`HeadError`.
        """
        if method == b"HEAD" or self.code in (204, 304) or self.code < 200:
            return None
        if self.headers.fields.get(b"transfer-encoding") == [b"chunked"]:  # as nearly all write it
            return ChunkedDecoder()
        codings = self._tokens(b"transfer-encoding")
        if codings:
            if codings != [b"chunked"]:
                raise HeadError("a Transfer-Encoding other than chunked")
            return ChunkedDecoder()
        if b"content-length" not in self.headers.fields:
            return UntilClose()
        lengths = self._tokens(b"content-length")
        if len(set(lengths)) != 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise HeadError("a Content-Length that is no number")
        length = int(lengths[0])
        return LengthDecoder(length) if length else None

    def _tokens(self, name: bytes) -> list[bytes]:
        values = self.headers.fields.get(name)
        return _TOKENS.findall(b",".join(values).lower()) if values else []


def parse_head(data: bytes) -> Head:
    """Read a head, without the empty line at its end. Raises :class:`HeadError`."""
    first, *lines = data.replace(b"\r\n", b"\n").split(b"\n")
    version, code, phrase = _status(first)
    fields: dict[bytes, list[bytes]] = {}
    values: list[bytes] | None = None
    for line in lines:
        field = _known_field(line) if len(line) <= _SHORT else _field(line)
        if field is not None:
            name, value = field
            values = fields.setdefault(name, [])
            values.append(value)
        elif line[:1] in (b" ", b"\t") and values and b"\x00" not in line and b"\r" not in line:
            values[-1] = (values[-1] + b" " + line.strip(b" \t")).strip(b" ")  # a folded line, as of old
        else:
            raise HeadError(f"no header field: {line[:80]!r}")
    return Head(version, code, phrase, PlainHeaders(fields))


@lru_cache(maxsize=16)
def _status(line: bytes) -> tuple[tuple[int, int], int, bytes]:
    """Return version, code and phrase."""
    status = _STATUS.fullmatch(line)
    if status is None:
        raise HeadError(f"no status line: {line[:80]!r}")
    return (int(status[1]), int(status[2])), int(status[3]), status[4] or b""


def _field(line: bytes) -> tuple[bytes, bytes] | None:
    """Return a field's name in lower case, and its value; None for what is no field."""
    match = _FIELD.fullmatch(line)
    return None if match is None else (match[1].lower(), match[2].rstrip(b" \t"))


_known_field = lru_cache(maxsize=512)(_field)
