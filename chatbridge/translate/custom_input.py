"""The raw text of a custom tool's call, taken out of the JSON arguments while they stream.

Upstream a custom tool is a function with one string, ``input``; Codex wants the text itself. Models write the JSON
around it in many ways: what begins as expected streams, all else is unwrapped at the end.
"""

from __future__ import annotations

import json
import re

from chatbridge.protocol.jsontext import loads_lax, object_or_none, repair

ARGUMENT = "input"

_HEAD = re.compile(r'\s*\{\s*"' + ARGUMENT + r'"\s*:\s*"')
_PLAIN = re.compile(r'[^"\\]*')
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_HIGH = re.compile(r"\\u[dD][89abAB]")
# A low surrogate's escape, or what may still become one.
_LOW = re.compile(r"\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")
_GLUED = re.compile(r"\s*\}\s*\{")
_LONGEST_HEAD = 64
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class CustomInput:
    """Feed argument text, get raw text."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._waiting: list[str] = []
        self._closed = False
        self._tail: list[str] = []
        self._given: list[str] = []

    @property
    def text(self) -> str:
        """All raw text so far."""
        return "".join(self._given)

    def feed(self, arguments: str) -> str:
        """Take a piece of the JSON arguments; return the raw text that became known by it."""
        if self._closed:
            self._tail.append(arguments)
            return ""
        if self._waiting:
            self._waiting.append(arguments)
            return ""
        self._held += arguments
        if not self._inside:
            head = _HEAD.match(self._held)
            if head is None:
                if len(self._held) > _LONGEST_HEAD:
                    self._waiting.append(self._held)
                return ""
            self._inside, self._held = True, self._held[head.end() :]
        return self._add(self._decode())

    def end(self) -> str | None:
        """Return the raw text not given yet, or None when the arguments are cut off or two calls' in one."""
        if self._closed:
            return None if _GLUED.match("".join(self._tail)) else ""
        if self._inside:
            return None
        text = unwrap("".join(self._waiting) or self._held)
        return None if text is None else self._add(text)

    def _add(self, text: str) -> str:
        self._given.append(text)
        return text

    def _decode(self) -> str:
        """Decode the string's text as far as it is certain; an escape that may go on is held back."""
        out, at, held = [], 0, self._held
        while at < len(held):
            plain = _PLAIN.match(held, at)
            assert plain is not None
            out.append(plain[0])
            at = plain.end()
            if at == len(held):
                break
            if held[at] == '"':
                self._closed = True
                self._tail.append(held[at + 1 :])
                at = len(held)
                break
            size = _escape_length(held, at)
            if size == 0:
                break
            out.append(_unescape(held[at : at + size]))
            at += size
        self._held = held[at:]
        return "".join(out)


def _escape_length(text: str, at: int) -> int:
    r"""Return the length of the escape at *at*, 0 when it may go on in the next piece (a surrogate pair is one)."""
    if len(text) - at < 2:
        return 0
    if text[at + 1] != "u":
        return 2
    digits = _HEX.match(text, at + 2)
    assert digits is not None
    if len(digits[0]) < 4:
        return 0 if digits.end() == len(text) else 2
    if _HIGH.match(text, at) is None or (low := _LOW.match(text, at + 6)) is None:
        return 6
    return 12 if low[0] and low.end() == at + 12 else 0


def _unescape(escape: str) -> str:
    if escape[1] in _ESCAPES:
        return _ESCAPES[escape[1]]
    try:
        return repair(json.loads(f'"{escape}"'))
    except ValueError:
        return escape  # not JSON's; text that a model forgot to escape


def unwrap(arguments: str) -> str | None:
    """Return the raw text in whole *arguments* of any form, or None when they are a cut JSON object."""
    value = object_or_none(arguments)
    if value is not None:
        text = value.get(ARGUMENT)
        if not isinstance(text, str):
            strings = [item for item in value.values() if isinstance(item, str)]
            text = strings[0] if len(value) == 1 and strings else None
        return arguments if text is None else repair(text)
    try:
        text = loads_lax(arguments)
    except ValueError:
        return None if re.match(r'\s*\{\s*"', arguments) else arguments
    return repair(text) if isinstance(text, str) else arguments


def wrap(text: str) -> dict[str, str]:
    """Return the argument object that stands for raw *text* in a chat tool call."""
    return {ARGUMENT: text}
