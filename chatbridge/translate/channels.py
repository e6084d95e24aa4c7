"""The channels of an answer: pieces as they come → what is new in each, tags taken out, nothing twice.

Surrogate halves are joined (quirk S57), snapshots cut (S35), think tags taken out (S34, S36), reasoning that comes
twice is told once (S35), and what may be calls in the text is held back where the profile says so (S25).
"""

from __future__ import annotations

from collections.abc import Iterable

from chatbridge.protocol.chat import Piece
from chatbridge.protocol.jsontext import Halves
from chatbridge.translate.doubled import Doubled
from chatbridge.translate.markup import Markup
from chatbridge.translate.snapshots import Snapshots
from chatbridge.translate.think import ThinkTags


class Channels:
    """Takes the pieces of each chunk, in order. *think_tags* is the profile's; *markup*: calls may come as text."""

    def __init__(self, think_tags: str, *, markup: bool) -> None:
        self._snapshots = Snapshots()
        self._halves = Halves()
        self._think = ThinkTags(think_tags)
        self._thought = ThinkTags()
        self._doubled = Doubled()
        self._markup = Markup() if markup else None

    def plain(self, channel: str) -> bool:
        """Tell whether a whole piece of *channel* passes as it is from now on."""
        if channel == "reasoning":
            return self._thought.plain and self._doubled.once
        return channel == "text" and self._think.plain and self._markup is None

    def feed(self, pieces: list[Piece], *, calls: bool) -> list[Piece]:
        """Take the pieces of one chunk, which also holds *calls* or does not; return what is told by them."""
        if pieces:
            pieces = self._snapshots.feed(pieces)
        if calls:
            pieces = [*pieces, *self._snapshots.rest()]
        if len(pieces) == 1 and self._thought.plain and self.plain(channel := pieces[0][0]):
            return [(channel, self._halves.join(channel, pieces[0][1]))]  # nearly all of them
        return self._split((channel, self._halves.join(channel, text)) for channel, text in pieces)

    def release(self) -> list[Piece]:
        """Return what the tags held back: a call begins, and no tag can come any more."""
        rest, held = self._rest_of_thought(), self._think.flush()
        return [*rest, *self._sorted(held)] if held else rest

    def rest(self) -> list[Piece]:
        """Return everything that was held back, at the end, but for what may be calls."""
        held = [(channel, self._halves.join(channel, text)) for channel, text in self._snapshots.rest()]
        held += [(str(channel), text) for channel, text in self._halves.rest()]
        return [*(self._split(held) if held else ()), *self.release()]

    def marked(self) -> str:
        """Return the text that may be calls, at the very end; from then on text passes."""
        markup, self._markup = self._markup, None
        return "" if markup is None else markup.rest()

    def _split(self, pieces: Iterable[Piece]) -> list[Piece]:
        told: list[Piece] = []
        for channel, text in pieces:
            if channel == "reasoning":
                text = "".join(part for _, part in self._thought.feed(text))  # noqa: PLW2901
                told.append((channel, self._doubled.field(text)))
                continue
            told += self._rest_of_thought()
            told += self._sorted(self._think.feed(text)) if channel == "text" else [(channel, text)]
        return told

    def _rest_of_thought(self) -> list[Piece]:
        if self._thought.plain:
            return []
        rest = "".join(part for _, part in self._thought.flush())
        return [("reasoning", self._doubled.field(rest))] if rest else []

    def _sorted(self, pieces: list[Piece]) -> list[Piece]:
        """What the tags made of the text."""
        return [
            (channel, self._text(part) if channel == "text" else self._doubled.tagged(part)) for channel, part in pieces
        ]

    def _text(self, text: str) -> str:
        return text if self._markup is None else self._markup.feed(text)
