"""JSON text in and out, in one place, so that a faster library can take over.

That is msgspec, the optional extra ``fast``: four times as fast both ways. Whatever it refuses, the standard library
decides, so the same texts are read, to the same values, with or without it. What is written is the same too, but for
the spelling of very large and very small floats (1e16 or 1e+16).

Byte-level detokenisers cut characters outside the BMP in halves (quirk S57): JSON that decodes to a lone surrogate.
Such a string cannot be written as UTF-8, so :func:`dumps` joins neighbouring halves and replaces what stays alone.
"""

from __future__ import annotations

import json
import marshal
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NoReturn

try:
    import msgspec
except ImportError:  # the optional extra is not installed
    msgspec = None  # type: ignore[assignment]

DEPTH_LIMIT = 200
"""How deep JSON may nest. What walks or writes a value recursively then never runs out of stack."""
_SHALLOW = 2 * DEPTH_LIMIT
"""A text of so many characters cannot nest deeper: what is opened is closed."""

_CONTAINERS = (dict, list)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")  # it could be read, but not be written again
    return value


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse).decode
_decode_lax = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse, strict=False).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _undecided(_: Any) -> NoReturn:
    raise ValueError("there is no faster library")


_fast_decode: Callable[[str | bytes | bytearray], Any] = msgspec.json.Decoder().decode if msgspec else _undecided
_fast_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode if msgspec else _undecided
_Written: Callable[[bytes], Any] = msgspec.Raw if msgspec else _undecided
_fast_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode if msgspec else _undecided


def loads(text: str | bytes | bytearray) -> Any:
    """Parse JSON; raises ``ValueError`` for anything that is not JSON, also when it nests too deep."""
    try:
        value = _fast_decode(text)
    except Exception:  # noqa: BLE001 - the standard library decides
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        return _parse(_decode, text)
    return value if len(text) <= _SHALLOW else _not_too_deep(value, text)


def loads_fast(text: bytes) -> Any:
    """Parse JSON at once, or raise ``ValueError`` where :func:`loads` might do better. Any depth passes."""
    try:
        return _fast_decode(text)
    except Exception:  # noqa: BLE001 - one error for all
        raise ValueError("not for the fast library") from None


def _brackets(text: str | bytes | bytearray) -> int:
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def loads_lax(text: str) -> Any:
    """Like :func:`loads`, but control characters inside strings pass: models write raw line breaks into arguments."""
    try:
        value = _fast_decode(text)
    except Exception:  # noqa: BLE001 - the standard library decides
        return _parse(_decode_lax, text)
    return value if len(text) <= _SHALLOW else _not_too_deep(value, text)


def _parse(decode: Callable[[str], Any], text: str) -> Any:
    try:
        value = decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value if len(text) <= _SHALLOW else _not_too_deep(value, text)


def _not_too_deep(value: Any, text: str | bytes | bytearray) -> Any:
    if _brackets(text) > DEPTH_LIMIT and _too_deep(value):
        raise ValueError("nested too deeply")
    return value


def _too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(DEPTH_LIMIT):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
        if not level:
            return False
    return True


def fingerprint(value: Any) -> bytes:
    """Return bytes that another value has only where :func:`dumps` writes it alike: types and key order count.

    *value* is as a parser makes it; raises ``ValueError`` for any other.
    """
    try:
        return _fast_pack(value)
    except Exception:  # noqa: BLE001 - the standard library decides
        return marshal.dumps(value, 0)


def dumps(value: object) -> bytes:
    """Write *value* as compact UTF-8 JSON. Key order is kept: the same value gives the same bytes."""
    try:
        return _fast_encode(value)
    except Exception:  # noqa: BLE001 - the standard library decides
        text = _encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repair(text).encode()


def dumps_fast(value: Mapping[str, Any], texts: Mapping[str, bytes]) -> bytes:
    """Write an object at once, or raise ``ValueError`` where that takes more; *texts* are values written already."""
    try:
        return _fast_encode({**value, **{key: _Written(text) for key, text in texts.items()}})
    except Exception:  # noqa: BLE001 - one error for all
        raise ValueError("not for the fast library") from None


def dumps_text(value: object) -> str:
    """Write *value* as compact JSON text, for a string inside another JSON document."""
    return dumps(value).decode()


def repair(text: str) -> str:
    """Join neighbouring surrogate halves; U+FFFD for the lonely ones."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def object_or_none(text: str) -> dict[str, Any] | None:
    """Return the object that *text* holds as lax JSON, or None when it holds anything else."""
    try:
        value = loads_lax(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_json(text: str) -> bool:
    """Tell whether *text* is one whole value of lax JSON."""
    try:
        loads_lax(text)
    except ValueError:
        return False
    return True


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
        if not self._held:
            return []
        held, self._held = self._held, {}
        return [(channel, repair(half)) for channel, half in held.items()]
