"""A store in a SQLite file: it outlives the daemon, also one that is killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from chatbridge.store.database import Database, Dialect
from chatbridge.store.record import StoreError
from chatbridge.store.schema import VERSION, migrate
from chatbridge.store.sql import SqlStore

_DIALECT = Dialect(mark="?", clock="CAST(strftime('%s', 'now') AS INTEGER)")


def sqlite_store(path: str, now: Callable[[], float], max_age: float, reactor: Any, *, process: str = "") -> SqlStore:
    """Return the store in the file at *path*, which is made when it is not there, for its owner alone.

    Raises :exc:`StoreError` when the file cannot be used. The rest is as with :class:`SqlStore`.
    """
    _prepare(path)
    # One connection in one thread: the file has one writer anyhow.
    database = Database(
        _DIALECT, reactor, "sqlite3", path, threads=1, cp_openfun=_open, check_same_thread=False,
    )  # fmt: skip
    return SqlStore(database, now, max_age, process)


def _prepare(path: str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _open(connection)
            # Not to be done by two at once.
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            migrate(connection, version, "BLOB")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _open(connection: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # with WAL, a killed process loses nothing
