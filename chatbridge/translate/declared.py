"""Tools that were translated before, by their content.

Clients send the same tools with every request of a conversation, and cleaning their schemas took as long as the rest
of the request. A tool is known by its whole text, so one that differs in anything is another; so is a list of tools.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from chatbridge.protocol.jsontext import fingerprint
from chatbridge.protocol.kept import Kept

T = TypeVar("T")

LIMIT = 8 * 1024 * 1024
"""Bytes of all that is remembered, roughly."""
_COPIES = 6
"""What is remembered of a tool is about so many times the size of its text,"""
_EACH = 1536
"""and so many bytes more, however short it is."""


class Declared:
    """A tool as a chat function, still without its name, and as it is echoed."""

    __slots__ = ("_chat", "_function", "echo")

    def __init__(self, function: dict[str, Any], echo: dict[str, Any] | None) -> None:
        self.echo = Kept(echo) if echo is not None else None
        self._function = function
        self._chat: tuple[str, Kept] | None = None

    def chat(self, name: str) -> Kept:
        """Return the tool in the form of chat/completions, under *name*."""
        if self._chat is None or self._chat[0] != name:
            self._chat = name, Kept({"type": "function", "function": {"name": name, **self._function}})
        return self._chat[1]


class Declarations(Generic[T]):
    """Remembers what was made of tools, or of lists of them; what was not asked for longest goes first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: OrderedDict[Any, T] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, value: Any, how: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what *make* makes of *value*; *how* is whatever else it depends on."""
        # Types and key order count: True, 1 and 1.0 are equal, but written otherwise.
        try:
            text = fingerprint(value)
        except ValueError:  # not as the parser made it
            return make()
        key = (text, how)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = make()
        size = _size(text)
        if size <= self._limit // 8:  # one client's monster must not drive out everybody's tools
            self._known[key] = found
            self._held += size
            while self._held > self._limit:
                (old, _), _ = self._known.popitem(last=False)
                self._held -= _size(old)
        return found


def _size(text: bytes) -> int:
    return len(text) * _COPIES + _EACH
