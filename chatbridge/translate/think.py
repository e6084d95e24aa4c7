"""Think tags at the very start of the content are reasoning, whoever sends them (quirks S34, S36).

At the start of a reasoning channel they are taken out in the same way.
"""

from __future__ import annotations

from chatbridge.protocol.chat import Piece

_TAGS = ("think", "thinking", "thought")
_OPENERS = {f"<{tag}>": f"</{tag}>" for tag in _TAGS}
_MARKS = (*_OPENERS, *_OPENERS.values())
_PATIENCE = 200
"""After so many characters without a tag, white space too, none is waited for."""


class ThinkTags:
    """Splits content that comes in pieces. Holds back only what may still become a tag.

    *form* is a profile's ``think_tags``: ``start``, or ``open`` where the first tag stands in the prompt, so that the
    content begins inside, or ``never``.
    """

    def __init__(self, form: str = "start") -> None:
        self._held = ""
        self._closer = ""
        self._open = form == "open"
        self.plain = form == "never"
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
        if begun and begun[0] != "<":
            return self._unmarked()
        undecided = not begun or any(mark.startswith(begun) for mark in _MARKS if len(begun) < len(mark))
        if undecided and len(self._held) < _PATIENCE:
            return []
        for opener, closer in _OPENERS.items():
            if begun.startswith(opener):
                self._closer, self._held = closer, begun.removeprefix(opener)
                return self._inside()
            if begun.startswith(closer) and not self._open:
                # The reasoning before it came in its own field, or was none.
                self._held = begun.removeprefix(closer)
                return self._start()
        return self._unmarked()

    def _unmarked(self) -> list[Piece]:
        """What has come begins with no tag."""
        if self._open:
            self._closer = _OPENERS["<think>"]
            return self._inside()
        return self.flush()

    def _inside(self) -> list[Piece]:
        thought, closer, rest = self._held.partition(self._closer)
        if closer:
            # Another one may follow at once: some models think in several blocks.
            self._held, self._closer, self._open = rest, "", False
            return [*([("reasoning", thought)] if thought else []), *self._start()]
        keep = next((n for n in range(len(self._closer) - 1, 0, -1) if thought.endswith(self._closer[:n])), 0)
        self._held = thought[len(thought) - keep :]
        thought = thought[: len(thought) - keep]
        return [("reasoning", thought)] if thought else []
