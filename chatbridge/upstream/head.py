"""A response's head: bytes → status, headers, and how its body is framed. Strict where two readers could disagree."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
        codings, lengths = self._tokens(b"transfer-encoding"), self._tokens(b"content-length")
        if codings:
            if codings != [b"chunked"]:
                raise HeadError("a Transfer-Encoding other than chunked")
            return ChunkedDecoder()
        if b"content-length" not in self.headers.fields:
            return UntilClose()
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
    status = _STATUS.fullmatch(first)
    if status is None:
        raise HeadError(f"no status line: {first[:80]!r}")
    fields: dict[bytes, list[bytes]] = {}
    values: list[bytes] | None = None
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is not None:
            values = fields.setdefault(match[1].lower(), [])
            values.append(match[2].rstrip(b" \t"))
        elif line[:1] in (b" ", b"\t") and values and b"\x00" not in line and b"\r" not in line:
            values[-1] = (values[-1] + b" " + line.strip(b" \t")).strip(b" ")  # a folded line, as of old
        else:
            raise HeadError(f"no header field: {line[:80]!r}")
    version = (int(status[1]), int(status[2]))
    return Head(version, int(status[3]), status[4] or b"", PlainHeaders(fields))
