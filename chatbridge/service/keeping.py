"""The store of responses while the daemon runs."""

from __future__ import annotations

import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatbridge.service.listener import StartError
from chatbridge.service.settings import Settings
from chatbridge.store.archive import Archive
from chatbridge.store.memory import MemoryStore
from chatbridge.store.record import Store, StoreError
from chatbridge.store.sqlite import sqlite_store
from chatbridge.web.background import Runs

_log = Logger()


class Keeping(Service):
    """Opens the store that *settings* name; closes it when it stops.

    :attr:`archive` and :attr:`runs`, what goes on in the background, are None where nothing is kept.

    Raises :exc:`StartError` for a store that cannot be used.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:
        try:
            self._store = _store(settings, reactor)
        except StoreError as error:
            raise StartError(f"chatbridge: --store: {error}") from None
        self.archive = Archive(self._store, reactor) if self._store is not None else None
        self.runs = Runs(self.archive, reactor) if self.archive is not None else None

    def startService(self) -> None:
        super().startService()
        if self._store is not None:
            ensureDeferred(self._recover(self._store)).addErrback(_not_recovered)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return ensureDeferred(self._close())

    async def _close(self) -> None:
        if self.runs is not None:
            await self.runs.flush()
        if self._store is not None:
            await self._store.close()

    async def _recover(self, store: Store) -> None:
        failed = await store.recover()
        if failed:
            _log.warn("{count} background response(s) of a bridge that is gone have failed", count=failed)


def _store(settings: Settings, reactor: Any) -> Store | None:
    place, seconds = settings.store, settings.store_seconds
    if place == "none":
        return None
    if place == "memory":
        return MemoryStore(time.time, seconds)
    if place.startswith("sqlite:"):
        return sqlite_store(place.removeprefix("sqlite:///"), time.time, seconds, reactor)
    from chatbridge.store.postgres import postgres_store  # psycopg takes a tenth of the start, and few need it

    return postgres_store(place, settings.store_password, time.time, seconds, reactor)


def _not_recovered(failure: Failure) -> None:
    _log.error("what ran before could not be ended: {reason}", reason=failure.value)
