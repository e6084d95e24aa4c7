"""A value that never prints."""

from __future__ import annotations

import re
from typing import final

# What looks like a key even when it is not ours: vendors quote keys, sometimes shortened with stars. The prefixes are
# lower-case; the names of variables that hold keys, as XAI_API_KEY, are not. "Bearer authentication" is no key either.
_KEYLIKE = re.compile(
    r"\b((?i:bearer)\s+)(?=[^\s\"',}]*[0-9*])[^\s\"',}]{6,}|\b(?:sk|pk|gsk|xai|hf|nvapi)[-_][A-Za-z0-9*._-]{6,}"
)

# Local servers take any word as a key. Such a one is only redacted as a word, or the text becomes unreadable.
_SHORT = 8
# So much of a key tells that it is ours; less may be what all of a vendor's keys begin with.
_BEGINNING = 12


def names_secret(name: str) -> bool:
    """Whether a header or parameter of this *name* most likely holds a secret."""
    return re.search(r"(?i)auth|key|token|secret|password|cookie|signature|^sig$", name) is not None


def looks_secret(text: str) -> bool:
    """Whether *text* looks like a key, or as random as one."""
    words = re.findall(r"[A-Za-z0-9+/_=-]{20,}", text)
    random = any(re.search(r"[0-9]", word) and re.search(r"[A-Za-z]", word) for word in words)
    return random or _KEYLIKE.search(text) is not None


@final
class Secret:
    """An API key. ``str()``, ``repr()`` and formatting show only that there is one; :meth:`reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<secret>"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")

    def reveal(self) -> str:
        """Return the key itself; only for the Authorization header."""
        return self._value

    def redact(self, text: str) -> str:
        """Return *text* without this key, and without anything else that looks like a key."""
        if len(self._value) >= _SHORT:
            text = self._without_beginnings(text)
        elif self._value:
            text = re.sub(rf"(?<!\w){re.escape(self._value)}(?!\w)", "<redacted>", text)
        return _KEYLIKE.sub(lambda match: f"{match.group(1) or ''}<redacted>", text)

    def _without_beginnings(self, text: str) -> str:
        """Take out the key, and as much of it as is there where a text was cut in the middle of it."""
        head, *rest = text.split(self._value[:_BEGINNING])
        for piece in rest:
            more = self._value[_BEGINNING:]
            same = next((at for at, pair in enumerate(zip(more, piece, strict=False)) if pair[0] != pair[1]), len(more))
            head += "<redacted>" + piece[same:]
        return head
