"""The tables of the SQL stores, version by version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatbridge.store.record import StoreError

_TABLES = (
    """CREATE TABLE chatbridge_responses (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, previous TEXT NOT NULL, created BIGINT NOT NULL,
        status TEXT NOT NULL, process TEXT NOT NULL, cancelled INTEGER NOT NULL, content {blob} NOT NULL,
        events {blob} NOT NULL
    )""",
    "CREATE INDEX chatbridge_responses_created ON chatbridge_responses (created)",
    "CREATE INDEX chatbridge_responses_process ON chatbridge_responses (process) WHERE process <> ''",
    "CREATE TABLE chatbridge_processes (id TEXT PRIMARY KEY, seen BIGINT NOT NULL)",
    """CREATE TABLE chatbridge_conversations (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, created BIGINT NOT NULL, touched BIGINT NOT NULL,
        metadata {blob} NOT NULL
    )""",
    "CREATE INDEX chatbridge_conversations_touched ON chatbridge_conversations (touched)",
    """CREATE TABLE chatbridge_items (
        conversation TEXT NOT NULL, place BIGINT NOT NULL, id TEXT NOT NULL, content {blob} NOT NULL,
        PRIMARY KEY (conversation, place)
    )""",
    "CREATE UNIQUE INDEX chatbridge_items_id ON chatbridge_items (conversation, id)",
)
_FROM_FIRST = (
    """INSERT INTO chatbridge_responses
        SELECT id, owner, previous, created, 'completed', '', 0, content, x'' FROM responses""",
    "DROP TABLE responses",
)

_REFERENCES = (
    """CREATE TABLE chatbridge_outputs (
        id TEXT NOT NULL, owner TEXT NOT NULL, response TEXT NOT NULL, PRIMARY KEY (id, owner)
    )""",
    "CREATE INDEX chatbridge_outputs_response ON chatbridge_outputs (response)",
)

VERSION = 3

_STEPS: Mapping[int, tuple[int, Sequence[str]]] = {
    0: (2, _TABLES),
    1: (2, (*_TABLES, *_FROM_FIRST)),  # only SQLite files are as old as that
    2: (3, _REFERENCES),
}
"""From each version the next, and what makes it."""


def migrate(cursor: Any, version: int, blob: str) -> None:
    """Bring tables of *version*, 0 for none, to :data:`VERSION`. *blob* is the type of bytes.

    Raises :exc:`StoreError` for a version that is not known.
    """
    if version != VERSION and version not in _STEPS:
        raise StoreError(f"made by another version of chatbridge ({version}, not {VERSION})")
    while version != VERSION:
        version, statements = _STEPS[version]
        for statement in statements:
            cursor.execute(statement.format(blob=blob))
