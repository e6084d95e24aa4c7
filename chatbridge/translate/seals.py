"""What an answer leaves that has to come back to the vendor, on its way into reasoning items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatbridge.protocol.chat import Chunk
from chatbridge.translate.envelope import Envelope, seal
from chatbridge.translate.notes import Notes
from chatbridge.translate.reasoning import merge_details, signature
from chatbridge.translate.request import Translation


class Seals:
    """Collects the pieces of one answer, and seals what came so far into each item. *answer* is the answer's id."""

    def __init__(self, answer: str, notes: Notes) -> None:
        self._answer = answer
        self._notes = notes
        self._kept: Envelope | None = None

    def read(self, chunk: Chunk) -> None:
        """Take what *chunk* holds of it."""
        kept = self._open()
        if chunk.details:
            kept.details += chunk.details
        if signature(chunk.extra):
            kept.extra = chunk.extra

    def _open(self) -> Envelope:
        if self._kept is None:
            self._kept = Envelope()
        return self._kept

    def seal(self, translation: Translation, text: str = "") -> str | None:
        """Return what was kept so far, and *text* with it, for ``encrypted_content``; keep anew."""
        kept, self._kept = self._open(), None
        kept.vendor, kept.model, kept.reasoning = translation.vendor, translation.body["model"], text
        kept.answer, kept.details = self._answer, merge_details(kept.details)
        sealed = seal(kept)
        if kept and sealed is None:
            self._notes.add("envelope:size", "what has to come back to the vendor is too large to be kept")
        return sealed

    def last(self, translation: Translation, call_extras: Mapping[str, Any], *, called: bool) -> str | None:
        """Seal what came too late for an item with text; *call_extras* are the calls' own, by call id."""
        if self._kept is None and not call_extras:
            return None
        kept = self._open()
        kept.call_extras.update(call_extras)
        if not called:
            kept.extra = None  # only calls take it back
        return self.seal(translation) if kept and not translation.compaction else None
