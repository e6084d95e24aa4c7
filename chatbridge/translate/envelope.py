"""What has to come back to the vendor, as one opaque text in a reasoning item's ``encrypted_content``.

Clients replay it verbatim, so it outlives a restart, another worker, and a day: nothing is stored here. The form is
``chatbridge.1.`` and base64 of zlib-compressed JSON with a CRC-32 before it. Whatever is not that is ignored.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from chatbridge.protocol.jsontext import dumps, loads

LIMIT = 4 * 1024 * 1024
"""The largest content, in bytes before compression; a larger one is not sealed, a larger one found not read."""

TOTAL = 32 * 1024 * 1024
"""The same for all the envelopes of one request, which are small where they come from here."""

_PREFIX = "chatbridge."
_VERSION = "1"


@dataclass(slots=True)
class Envelope:
    """What one answer leaves for the next requests."""

    vendor: str = ""
    model: str = ""
    """Who made it: what is signed is of use only there."""
    answer: str = ""
    """Of which answer it is: what came late belongs to what came first, but not to another answer's."""
    reasoning: str = ""
    details: list[Any] = field(default_factory=list)
    """``reasoning_details``, unchanged and in order (quirks S33, R09)."""
    call_extras: dict[str, Any] = field(default_factory=dict)
    """``extra_content`` by call id: thought signatures (quirks S41, R08)."""
    extra: Any = None
    """``extra_content`` of the message itself."""
    size: int = field(default=0, compare=False)
    """Bytes of the content that it was read from."""

    def __bool__(self) -> bool:
        return bool(self.reasoning or self.details or self.call_extras or self.extra)


def seal(envelope: Envelope) -> str | None:
    """Return the text for ``encrypted_content``; None when there is nothing to keep, or too much."""
    if not envelope:
        return None
    keys = {
        "v": envelope.vendor,
        "m": envelope.model,
        "a": envelope.answer,
        "r": envelope.reasoning,
        "d": envelope.details,
        "c": envelope.call_extras,
        "x": envelope.extra,
    }
    content = dumps({key: value for key, value in keys.items() if value})
    if len(content) > LIMIT:
        # The summary beside it has the reasoning's text, too.
        return seal(replace(envelope, reasoning="")) if envelope.reasoning else None
    check = zlib.crc32(content).to_bytes(4, "big")
    return f"{_PREFIX}{_VERSION}.{base64.b64encode(check + zlib.compress(content, 6)).decode()}"


def unseal(text: Any, room: int = TOTAL) -> Envelope | str:
    """Return the envelope in *text*, or why it is none: ``foreign``, ``newer`` or ``broken``.

    One with more than *room* bytes of content is ``one too many``.
    """
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        return "foreign"
    version, _, data = text[len(_PREFIX) :].partition(".")
    if version != _VERSION:
        return "newer" if version.isdigit() else "foreign"
    try:
        raw = base64.b64decode(data, validate=True)
        inflate = zlib.decompressobj()
        content = inflate.decompress(raw[4:], min(LIMIT, room) + 1)
        if LIMIT > room < len(content):
            return "one too many"
        whole = inflate.eof and not inflate.unused_data and len(content) <= LIMIT
        if not whole or zlib.crc32(content).to_bytes(4, "big") != raw[:4]:
            return "broken"
        return _read(loads(content), len(content))
    except (binascii.Error, zlib.error, ValueError):
        return "broken"


def _read(value: Any, size: int) -> Envelope | str:
    if not isinstance(value, dict):
        return "broken"
    details, extras = value.get("d"), value.get("c")
    return Envelope(
        vendor=_text(value.get("v")),
        model=_text(value.get("m")),
        answer=_text(value.get("a")),
        reasoning=_text(value.get("r")),
        details=details if isinstance(details, list) else [],
        call_extras=extras if isinstance(extras, dict) else {},
        extra=value.get("x"),
        size=size,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
