"""A database behind threads: work with it never holds up the reactor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from twisted.enterprise.adbapi import Connection, ConnectionPool
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorThreads

from chatbridge.store.record import StoreError

WAITING_LIMIT = 500
"""Pieces of work that may wait for a database that does not keep up; they hold what they are to write."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dialect:
    """In what one SQL differs from the other."""

    mark: str
    """What stands for a parameter."""
    clock: str
    """The database's time in whole seconds since the epoch."""


class _Connection(Connection):
    """What the server's end broke needs no rollback, and no traceback in the log."""

    def rollback(self) -> None:
        if not getattr(self, "closed", False):
            super().rollback()


class _Pool(ConnectionPool):
    connectionFactory = _Connection


class Database:
    """Runs work in the threads of a pool, each with a connection of its own.

    *connect* are what :class:`ConnectionPool` takes. *lost* tells of an exception whether it means that the connection
    is gone: the work is then done once more on a new one, so it must bear that. *cursor* are the options of cursors.
    """

    def __init__(
        self,
        dialect: Dialect,
        reactor: IReactorThreads,
        *connect: Any,
        threads: int,
        lost: Callable[[Exception], bool] = lambda _: False,
        cursor: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        self.dialect = dialect
        self._lost = lost
        self._cursor = cursor
        self._waiting = 0
        self._closed = False
        self._pool = _Pool(*connect, cp_reactor=reactor, cp_min=1, cp_max=threads, cp_noisy=False, **options)

    def run(self, work: Callable[[Any], T]) -> Deferred[T]:
        """Call *work* with a cursor in a thread, in a transaction of its own; fire with what it returns."""
        if self._waiting >= WAITING_LIMIT:
            return fail(StoreError("the database does not keep up"))
        self._waiting += 1
        done: Deferred[T] = self._pool.runWithConnection(self._work, work)
        return done.addBoth(self._done)

    def close(self) -> Deferred[None]:
        """Close all connections, after the work that waits."""
        if self._closed:
            return succeed(None)
        self._closed = True
        closed: Deferred[None] = maybeDeferred(self._pool.close)
        return closed

    def _work(self, connection: Any, work: Callable[[Any], T]) -> T:
        try:
            return self._with_cursor(connection, work)
        except Exception as error:
            if not self._lost(error):
                raise
            connection.reconnect()
            return self._with_cursor(connection, work)

    def _with_cursor(self, connection: Any, work: Callable[[Any], T]) -> T:
        cursor = connection.cursor(**self._cursor)
        try:
            return work(cursor)
        finally:
            cursor.close()

    def _done(self, result: Any) -> Any:
        self._waiting -= 1
        return result
