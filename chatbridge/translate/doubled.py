"""Reasoning that a vendor sends twice: in think tags, and in a field of its own (quirk S35).

It is told once, whichever comes first. Tags count only while no field has told anything. A field that follows tagged
reasoning is held back as long as it repeats it: what goes beyond it is new, and where it differs all of it is.
"""

from __future__ import annotations


class Doubled:
    """Takes both channels of one answer; returns what is new in each piece."""

    def __init__(self) -> None:
        self.once = False
        """The field leads from now on: what it says is new, and needs no comparing."""
        self._tagged: list[str] = []
        self._told = ""
        self._at = 0
        self._held: list[str] = []
        self._space = ""

    def tagged(self, text: str) -> str:
        """Take a piece of tagged reasoning."""
        if self.once:
            return ""
        self._tagged.append(text)
        return text

    def field(self, text: str) -> str:
        """Take a piece of a field."""
        if self.once:
            return text
        if self._tagged:
            self._told += "".join(self._tagged)
            self._tagged.clear()
        if not self._told.strip():
            self.once = True
            return text
        if not self._at:
            self._at = len(self._told) - len(self._told.lstrip())
            text = text.lstrip()
        return self._compare(text)

    def _compare(self, text: str) -> str:
        self._held.append(text)
        text = self._space + text
        told, at = self._told, self._at
        if told.startswith(text, at):
            self._at, self._space = at + len(text), ""
            return ""
        rest = told[at:].rstrip()
        more = text.removeprefix(rest) if text.startswith(rest) else None
        if more is not None and not more.strip():
            self._at, self._space = at + len(rest), more  # it may stand in the tags, too, when they go on
            return ""
        self.once = True
        return "".join(self._held) if more is None else more.removeprefix(told[at + len(rest) :])
