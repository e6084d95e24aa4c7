"""Streams that say all of the text so far each time, in place of what is new (quirk S35)."""

from __future__ import annotations

from chatbridge.protocol.chat import Piece

_SURE = 16
"""A piece of so many characters that the next one repeats and goes on is a snapshot, not a chance."""
_LIKELY = 5
"""With a third one in the row, so many are enough."""


class Snapshots:
    """Turns the pieces of each channel into what is new in them.

    Whether a channel sends snapshots shows with its first two or three pieces; the second is held back for that only
    where it begins with the whole first one.
    """

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._plain: frozenset[str] = frozenset()

    def feed(self, pieces: list[Piece]) -> list[Piece]:
        """Take the pieces of one chunk; return what is new, what was held back first."""
        if len(pieces) == 1 and pieces[0][0] in self._plain:
            return [*self.rest(), *pieces] if self._channels else pieces
        new: list[Piece] = []
        for channel, text in pieces:
            new += self.rest(besides=channel)
            if channel in self._plain:
                new.append((channel, text))
                continue
            state = self._channels.setdefault(channel, _Channel())
            if told := state.feed(text):
                new.append((channel, told))
            if state.plain:
                self._plain |= {channel}
                del self._channels[channel]
        return new

    def rest(self, *, besides: str = "") -> list[Piece]:
        """Return what is held back: another channel goes on, or the answer ends."""
        if not self._channels:
            return []
        held = [(channel, state.release()) for channel, state in self._channels.items() if channel != besides]
        return [piece for piece in held if piece[1]]


class _Channel:
    def __init__(self) -> None:
        self.plain = False
        """It sends what is new only."""
        self._sure = False
        self._seen = ""
        self._held = ""

    def feed(self, text: str) -> str:
        if self._sure:
            return self._next(text)
        if self.plain:
            return text
        before = self._held or self._seen
        if not before:
            self._seen = text
            return text
        if len(text) > len(before) and text.startswith(before):
            if len(before) >= _SURE or (self._held and len(text) >= _LIKELY):
                self._sure = True
                return self._next(text)
            if not self._held:
                self._held = text
                return ""
        self.plain = True
        return self.release() + text

    def _next(self, text: str) -> str:
        new = text.removeprefix(self._seen)
        self._seen, self._held = text, ""
        return new

    def release(self) -> str:
        held, self._held = self._held, ""
        if held:
            self.plain = True
        return held
