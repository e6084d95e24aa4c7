"""What could not be carried: said once per kind in the log, never silently dropped."""

from __future__ import annotations

from collections.abc import Iterator


class Notes:
    """The notes of one request: a kind (stable, without content) and a sentence for the log."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}

    def add(self, kind: str, text: str) -> None:
        """Note that something of *kind* was left out or changed; only the first of a kind is kept."""
        self._notes.setdefault(kind, text)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._notes.items())

    def __contains__(self, kind: str) -> bool:
        return kind in self._notes
