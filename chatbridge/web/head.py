"""A request's head that came whole, in one pass; whatever is unusual in it is left to Twisted.

Twisted's channel takes a head line by line, with a dozen calls for each: a third of what it takes to receive a short
request. Nearly all heads come in one read and are such that no two readers could disagree on them. Only those are read
here. Anything else goes the plain way, and is served or refused there: what is pipelined, folded, chunked, not quite
HTTP/1.1, above a limit, or expects an answer to its head. A property test holds both ways to the same requests.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1\r\n")
_FIELD = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)\r\n", re.MULTILINE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"cookie"})


class Head(NamedTuple):
    """What a head says."""

    method: bytes
    target: bytes
    fields: dict[bytes, list[bytes]]
    """By lower-case name, each with its values."""
    length: int
    """The body's, in bytes."""
    size: int
    """The head's own."""


def read_head(data: bytes, longest: int, most: int) -> Head | None:
    """Return the head that *data* begins with, of at most *longest* bytes and *most* fields; None if it is unusual."""
    end = data.find(b"\r\n\r\n", 0, longest)
    first = _REQUEST_LINE.match(data, 0, end + 2) if end > 0 else None
    if first is None:
        return None
    found = _FIELD.findall(data, first.end(), end + 2)
    # Each begins a line and ends the same one: where there are as many as line feeds, nothing was skipped.
    if len(found) != data.count(b"\n", first.end(), end + 2) or len(found) > most:
        return None
    fields: dict[bytes, list[bytes]] = {}
    for name, value in found:
        fields.setdefault(name.lower(), []).append(value.rstrip(b" \t"))
    lengths = fields.get(b"content-length", [b"0"])
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or not _UNUSUAL.isdisjoint(fields):
        return None
    return Head(first[1], first[2], fields, int(lengths[0]), end + 4)
