"""Responses in a SQLite file: they outlive the daemon, also one that is killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from chatbridge.store.record import Stored

VERSION = 1
_PRUNE_EVERY = 200
_TABLE = """\
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, previous TEXT NOT NULL, created INTEGER NOT NULL, content BLOB NOT NULL
) WITHOUT ROWID
"""

_log = Logger()


class StoreError(Exception):
    """The file cannot be used; the text names it."""


class SqliteStore:
    """Keeps responses in the file at *path*, for *max_age* seconds. One thread of its own does all the work.

    *now* returns seconds since the epoch. Raises :exc:`StoreError` when the file cannot be used.
    """

    def __init__(self, path: str, now: Callable[[], float], max_age: float, reactor: Any) -> None:
        self._now = now
        self._max_age = max_age
        self._puts = 0
        _prepare(path)
        # One connection in one thread: the file has one writer anyhow.
        self._pool = ConnectionPool(
            "sqlite3", path, cp_reactor=reactor, cp_min=1, cp_max=1, cp_openfun=_open, check_same_thread=False,
            cp_noisy=False,
        )  # fmt: skip

    def put(self, stored: Stored) -> Deferred[None]:
        """Write *stored*."""
        row = (stored.id, stored.owner, stored.previous, stored.created, stored.content())
        put: Deferred[None] = self._pool.runOperation("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?)", row)
        return put.addCallback(self._written)

    def get(self, id: str, owner: str) -> Deferred[Stored | None]:  # noqa: A002 - the API's own word
        """Read the response of this *owner*."""
        asked = self._pool.runQuery(
            "SELECT previous, created, content FROM responses WHERE id = ? AND owner = ? AND created >= ?",
            (id, owner, self._oldest()),
        )
        found: Deferred[Stored | None] = asked.addCallback(
            lambda rows: Stored.of(id, owner, *rows[0]) if rows else None
        )
        return found

    def delete(self, id: str, owner: str) -> Deferred[bool]:  # noqa: A002 - as above
        """Delete the response."""

        def delete(cursor: Any) -> bool:
            cursor.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (id, owner))
            return bool(cursor.rowcount)

        deleted: Deferred[bool] = self._pool.runInteraction(delete)
        return deleted

    def close(self) -> Deferred[None]:
        """Close the file, after what is being written."""
        closed: Deferred[None] = maybeDeferred(self._pool.close)
        return closed

    def _written(self, _: object) -> None:
        self._puts += 1
        if self._puts % _PRUNE_EVERY == 1:
            pruned = self._pool.runOperation("DELETE FROM responses WHERE created < ?", (self._oldest(),))
            pruned.addErrback(lambda failure: _log.error("old responses were not deleted: {why}", why=failure.value))

    def _oldest(self) -> int:
        return int(self._now() - self._max_age)


def _prepare(path: str) -> None:
    """Make the file and its table, for its owner alone."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path)
        try:
            _open(connection)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise StoreError(f"{path}: made by another version of chatbridge ({version}, not {VERSION})")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.commit()
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _open(connection: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # with WAL, a killed process loses nothing
    connection.execute("PRAGMA busy_timeout = 5000")
