"""Header fields for the way upstream and back.

Twisted's :class:`Headers` encodes and cleans each field each time it is set or asked for, and treq copies a request's
headers twice: a fifth of the time that a request took. Here a field is checked once, a copy is a copy of a dict, and
the fields that are the same for many requests are made once, as the bytes that go out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from twisted.web.http_headers import Headers

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS = re.compile(rb"[\r\n\x00]+[ \t]*")
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"trailer", b"upgrade"})
"""The agent's own business, or what it does not do."""


class PlainHeaders(Headers):
    """As :class:`Headers`, without its storage: lower-case names → values. Raises ``ValueError`` for no legal name."""

    def __init__(self, fields: dict[bytes, list[bytes]] | None = None) -> None:
        self.fields: dict[bytes, list[bytes]] = {} if fields is None else fields
        """By lower-case name; legal names and clean values only."""

    def copy(self) -> PlainHeaders:
        """Return a copy; the lists of values are never changed, so they may be shared."""
        return PlainHeaders(self.fields.copy())

    def hasHeader(self, name: Any) -> bool:
        return _lower(name) in self.fields

    def removeHeader(self, name: Any) -> None:
        self.fields.pop(_lower(name), None)

    def setRawHeaders(self, name: Any, values: Sequence[Any]) -> None:
        self.fields[_legal(name)] = [_clean(value) for value in values]

    def addRawHeader(self, name: Any, value: Any) -> None:
        key = _legal(name)
        self.fields[key] = [*self.fields.get(key, ()), _clean(value)]

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """Return the values, as text when *name* is text."""
        values = self.fields.get(_lower(name))
        if values is None:
            return default
        return [value.decode("utf-8", "replace") for value in values] if isinstance(name, str) else values

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        return iter(self.fields.items())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PlainHeaders):
            return self.fields == other.fields
        if isinstance(other, Headers):
            return self.fields == {name.lower(): list(values) for name, values in other.getAllRawHeaders()}
        return NotImplemented

    def __ne__(self, other: object) -> bool:  # Twisted's own looks into its storage
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Names only: one of the values is the key."""
        return f"<{type(self).__name__} {', '.join(sorted(name.decode() for name in self.fields))}>"


class SentHeaders(PlainHeaders):
    """A request's headers, made once for many requests. They stay what they are: whatever is set or taken out on the
    way is not, as treq adds the encodings that it reads.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__({_legal(name): [_clean(value)] for name, value in fields.items()})
        self.lines = head_lines(self)

    def copy(self) -> SentHeaders:
        return self

    def removeHeader(self, name: Any) -> None:
        """See above."""

    def setRawHeaders(self, name: Any, values: Sequence[Any]) -> None:
        """See above."""

    def addRawHeader(self, name: Any, value: Any) -> None:
        """See above."""


def head_lines(headers: Headers) -> tuple[bytes, bytes]:
    """Return the host that *headers* name, or nothing, and their lines, without those that frame the body."""
    host, lines = b"", []
    for name, values in headers.getAllRawHeaders():
        if name.lower() not in _FRAMING:
            lines += [b"%s: %s\r\n" % (name, value) for value in values]
        elif name.lower() == b"host" and len(values) == 1:
            host = values[0]
    return host, b"".join(lines)


def last_values(headers: Headers) -> dict[str, str]:
    """Return the last value of each field as text, by its name in lower case."""
    return {name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in headers.getAllRawHeaders()}


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


@lru_cache(maxsize=256)  # names that code asks for
def _lower(name: Any) -> bytes:
    return _bytes(name).lower()


@lru_cache(maxsize=256)
def _legal(name: Any) -> bytes:
    legal = _bytes(name).lower()
    if _NAME.fullmatch(legal) is None:
        raise ValueError(f"{legal!r} is no header name")
    return legal


def _clean(value: Any) -> bytes:
    """Return *value* without line breaks, which would begin another header."""
    return _BREAKS.sub(b" ", _bytes(value).strip(b" \t\r\n"))
