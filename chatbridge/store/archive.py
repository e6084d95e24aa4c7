"""A store, with what clients are promised of it: an answer that is said to be stored is, and nobody waits forever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatbridge.protocol.errors import ApiError, unavailable
from chatbridge.store.record import Store, Stored, history

PATIENCE = 5.0
"""Seconds that an answer's end waits to be stored."""

T = TypeVar("T")

_log = Logger()


class Archive:
    """Keeps responses in *store*; *clock* tells when it takes too long. What fails in the store is a 503."""

    def __init__(self, store: Store, clock: Any) -> None:
        self._store = store
        self._clock = clock

    def keep(self, stored: Stored) -> Deferred[bool]:
        """Store a response; fire with whether it is stored for good, after :data:`PATIENCE` at the latest.

        What gets into the store after that is taken out again: its client has been told that it is not there.
        Cancelling ends the waiting.
        """
        putting = _started(lambda: self._store.put(stored)).addCallbacks(lambda _: True, _not_stored)
        if putting.called:
            return putting
        kept: Deferred[bool] = Deferred(lambda it: self._give_up(it, late))
        late = self._clock.callLater(PATIENCE, self._give_up, kept)
        putting.addCallback(self._put, stored, kept, late)
        return kept

    async def get(self, id: str, owner: str) -> Stored:  # noqa: A002 - the API's own word
        """Return the response. Raises a 404, or a 503 when the store does not answer."""
        stored = await _asked(lambda: self._store.get(id, owner))
        if stored is None:
            raise not_found(id)
        return stored

    async def delete(self, id: str, owner: str) -> None:  # noqa: A002 - as above
        """Forget the response. Raises what :meth:`get` raises."""
        await self.get(id, owner)
        await _asked(lambda: self._store.delete(id, owner))

    async def history(self, id: str, owner: str) -> list[Any]:  # noqa: A002 - as above
        """Return all items up to and with the response, oldest first. Raises a 404 or a 503."""
        return await _asked(lambda: history(self._store, id, owner))

    def _put(self, done: bool, stored: Stored, kept: Deferred[bool], late: Any) -> None:
        if late.active():
            late.cancel()
            kept.callback(done)
        elif done:
            _log.warn("a response was stored too late, and is taken out again")
            deleted = _started(lambda: self._store.delete(stored.id, stored.owner))
            deleted.addErrback(lambda failure: _log.error("it is still there: {reason}", reason=failure.value))

    def _give_up(self, kept: Deferred[bool], late: Any = None) -> None:
        if late is not None:
            late.cancel()
        _log.error("a response was not stored: the store did not answer in time")
        kept.callback(False)


def not_found(id: str) -> ApiError:  # noqa: A002 - the API's own word
    """Return the 404 for a response that is not there, or is not this client's."""
    return ApiError(404, f"Response with id {id[:100]!r} not found.", param="id", code="response_not_found")


def _started(ask: Callable[[], Awaitable[T]]) -> Deferred[T]:
    async def asked() -> T:
        return await ask()

    return ensureDeferred(asked())


async def _asked(ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await ask()
    except ApiError:
        raise
    except Exception as error:
        _log.failure("the store failed")
        raise unavailable("The store of responses does not answer.", status=503, code="store_error") from error


def _not_stored(failure: Failure) -> bool:
    _log.error("a response was not stored: {reason}", reason=failure.value)
    return False
