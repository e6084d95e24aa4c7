"""Think tags at the very start of the content are reasoning, whoever sends them (quirks S34, S36).

At the start of a reasoning channel they are taken out in the same way.
"""

from __future__ import annotations

from chatbridge.protocol.chat import Piece

_TAGS = ("think", "thinking", "thought")
_OPENERS = tuple(f"<{tag}>" for tag in _TAGS)
_PATIENCE = 200
"""After so many characters without a tag, white space too, none is waited for."""


class ThinkTags:
    """Splits content that comes in pieces. Holds back only what may still become a tag."""

    def __init__(self) -> None:
        self._held = ""
        self._closer = ""
        self.plain = False
        """No tag can come any more: content needs no splitting."""

    def feed(self, text: str) -> list[Piece]:
        """Take a piece of content; return pieces of the channels ``reasoning`` and ``text``."""
        if self.plain:
            return [("text", text)]
        self._held += text
        return self._inside() if self._closer else self._start()

    def flush(self) -> list[Piece]:
        """Return what was held back, at the end of the answer or before another channel goes on."""
        held, self._held = self._held, ""
        if not self._closer:
            self.plain = True
        return [("reasoning" if self._closer else "text", held)] if held else []

    def _start(self) -> list[Piece]:
        begun = self._held.lstrip()
        undecided = not begun or any(opener.startswith(begun) for opener in _OPENERS if len(begun) < len(opener))
        if undecided and len(self._held) < _PATIENCE:
            return []
        for tag, opener in zip(_TAGS, _OPENERS, strict=True):
            if begun.startswith(opener):
                self._closer = f"</{tag}>"
                self._held = begun[len(opener) :]
                return self._inside()
        return self.flush()

    def _inside(self) -> list[Piece]:
        thought, closer, rest = self._held.partition(self._closer)
        if closer:
            self._held, self._closer, self.plain = "", "", True
            return [piece for piece in (("reasoning", thought), ("text", rest)) if piece[1]]
        keep = next((n for n in range(len(self._closer) - 1, 0, -1) if thought.endswith(self._closer[:n])), 0)
        self._held = thought[len(thought) - keep :]
        thought = thought[: len(thought) - keep]
        return [("reasoning", thought)] if thought else []
