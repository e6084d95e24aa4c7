"""JSON text in and out, in one place, so that a faster library can take over.

Byte-level detokenisers cut characters outside the BMP in halves (quirk S57): JSON that decodes to a lone surrogate.
Such a string cannot be written as UTF-8, so :func:`dumps` joins neighbouring halves and replaces what stays alone.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def loads(text: str | bytes | bytearray) -> Any:
    """Parse JSON; raises ``ValueError`` for anything that is not JSON, also when it nests too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: object) -> bytes:
    """Write *value* as compact UTF-8 JSON. Key order is kept: the same value gives the same bytes."""
    text = _encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repair(text).encode()


def dumps_text(value: object) -> str:
    """Write *value* as compact JSON text, for a string inside another JSON document."""
    return repair(_encode(value))


def repair(text: str) -> str:
    """Join neighbouring surrogate halves; U+FFFD for the lonely ones."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def object_or_none(text: str) -> dict[str, Any] | None:
    """Return the JSON object that *text* holds, or None when it holds anything else.

    Control characters inside strings are let pass: models write raw line breaks into arguments.
    """
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class Halves:
    """Joins surrogate halves that came in two pieces of one channel (quirk S57)."""

    def __init__(self) -> None:
        self._held: dict[Hashable, str] = {}

    def join(self, channel: Hashable, text: str) -> str:
        """Take the next piece of *channel*; return what can be written of it now."""
        if text.isascii() and not self._held:
            return text
        text = self._held.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
        return repair(text)

    def rest(self) -> list[tuple[Hashable, str]]:
        """Return what no second half came for, replaced, at the end."""
        held, self._held = self._held, {}
        return [(channel, repair(half)) for channel, half in held.items()]
