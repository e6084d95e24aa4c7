"""An answer that is held back until it is known whether it matches its JSON schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.translate.reader import Reader
from chatbridge.translate.turn import Turn

LIMIT = 16 * 1024 * 1024
"""Bytes of the upstream's body that are held back at most."""


class Rehearsal:
    """Keeps what the upstream sends, and reads it as the answer's own turn will; *new_turn* makes a turn for that."""

    def __init__(self, new_turn: Callable[[], Turn]) -> None:
        self._new_turn = new_turn
        self._turn = new_turn()
        self._reader = Reader(self._turn)
        self.reads: list[bytes] = []
        """What has come of the answer."""
        self._size = 0
        self.spare: list[bytes] | None = None
        """The first answer, where a second one was asked for."""

    @property
    def closed(self) -> bool:
        """The answer is whole, or has failed."""
        return self._turn.closed

    @property
    def too_large(self) -> bool:
        """It is more than is held back."""
        return self._size > LIMIT

    @property
    def failed(self) -> bool:
        """The answer has failed."""
        return self._turn.error is not None

    @property
    def finish(self) -> str:
        """The upstream's finish reason, once seen."""
        return self._turn.finish

    @property
    def silent(self) -> bool:
        """The upstream has said nothing yet."""
        return self._reader.silent

    @property
    def mismatch(self) -> str:
        """What is wrong with the answer; empty when nothing is, or it is no such answer."""
        return self._turn.mismatch

    @property
    def usage(self) -> dict[str, Any] | None:
        """What the answer has cost."""
        usage: dict[str, Any] | None = self._turn.response["usage"]
        return usage

    @property
    def text(self) -> str:
        """What the model answered."""
        parts = [part for item in self._turn.response["output"] for part in item.get("content", ())]
        return "".join(part.get("text", "") for part in parts)

    def feed(self, data: bytes) -> None:
        """Take one read of the upstream's body."""
        self.reads.append(data)
        self._size += len(data)
        if not self.closed:
            self._reader.feed(data)

    def close(self) -> None:
        """The body has ended."""
        if not self.closed:
            self._reader.close()

    def again(self) -> None:
        """Take a second answer; the first one is the spare."""
        self.spare = self.reads
        self.drop()

    def drop(self) -> None:
        """Begin anew with what the upstream sends next."""
        self.reads = []
        self._size = 0
        self._turn = self._new_turn()
        self._reader = Reader(self._turn)
