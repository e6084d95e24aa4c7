"""What the vendor's own tools did and found, on its way out of the chunks and into items."""

from __future__ import annotations

from typing import Any

from chatbridge.protocol.chat import CallPiece, Chunk
from chatbridge.protocol.citations import read_results
from chatbridge.translate.notes import Notes
from chatbridge.translate.search import Action, Annotation, Citations, Searches


class Hosted:
    """The vendor's tools in one answer."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._anything = False  # nor is there in most answers, so what would keep it is not made before

    _citations: Citations
    _searches: Searches

    def __bool__(self) -> bool:
        """There are :meth:`actions` to take."""
        return self._anything and bool(self._searches)

    def read(self, chunk: Chunk, *, told: bool) -> list[CallPiece]:
        """Take what *chunk* says of them; return the calls that are for the client. Unless *told* nothing is kept."""
        if not self._anything:
            self._anything = True
            self._citations, self._searches = Citations(self._notes), Searches(self._notes)
        others = []
        for piece in chunk.calls:
            if not self._searches.owns(piece):
                others.append(piece)
            elif told:
                self._searches.add(piece)
                self._citations.add("results", piece.results)
        for key, value in chunk.beside or () if told else ():
            self._beside(key, value)
        return others

    def _beside(self, key: str, value: Any) -> None:
        if key != "executed_tools":
            self._citations.add(key, value)
            if key == "tool":
                self._searches.answer()
            return
        for entry in value if isinstance(value, list) else (value,):
            if isinstance(entry, dict):
                self._searches.add_executed(entry)
                self._citations.add("results", read_results(entry))

    def actions(self) -> list[Action]:
        """Return the searches that became known since the last time."""
        return self._searches.take() if self._anything else []

    def cite(self, text: str) -> list[Annotation]:
        """Return the annotations for *text*, a whole part of a message."""
        return self._citations.take(text) if self._anything else []

    def waiting(self, *, alone: bool) -> str:
        """Return the name of a tool whose result the vendor waits for, empty for none; *alone* as for the searches."""
        return self._searches.waiting(alone=alone) if self._anything else ""

    def end(self) -> None:
        """The answer ends: note the sources for which there was no text."""
        if self._anything and self._citations:
            self._notes.add("citations:late", "sources came when there was no text for them to stand at; left out")
