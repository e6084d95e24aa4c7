"""Obfuscation: what is put beside a delta so that the size of its event does not tell the length of its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatbridge.protocol.jsontext import dumps
from chatbridge.translate.items import Event

STEP = 32
"""Delta and obfuscation together have a multiple of so many bytes."""


def pad(events: Iterable[Event], random: Callable[[], str]) -> None:
    """Add ``obfuscation`` to the deltas; *random* returns some characters, at least :data:`STEP`."""
    for event in events:
        if event["type"].endswith(".delta"):
            event["obfuscation"] = random()[: -len(dumps(event["delta"])) % STEP]
