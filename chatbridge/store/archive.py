"""A store, with what clients are promised of it: an answer that is said to be stored is, and nobody waits forever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatbridge.protocol.errors import ApiError, unavailable
from chatbridge.store.record import Addition, Store, Stored

PATIENCE = 5.0
"""Seconds that an answer's end waits to be stored."""
_PING_EVERY = 1.0

T = TypeVar("T")

_log = Logger()


class Archive:
    """Keeps responses in *store*; *clock* tells when it takes too long. What fails in the store is a 503."""

    def __init__(self, store: Store, clock: Any) -> None:
        self._store = store
        self._clock = clock
        self._trouble = ""
        self._pinged = float("-inf")

    def keep(self, stored: Stored, addition: Addition | None = None) -> Deferred[bool]:
        """Store a response; fire with whether it is stored for good, after :data:`PATIENCE` at the latest.

        What gets into the store after that is taken out again: its client has been told that it is not there.
        Cancelling ends the waiting.
        """
        started = self._started(lambda: self._store.put(stored, addition))
        putting: Deferred[bool] = started.addCallbacks(lambda _: True, _not_stored)
        if putting.called:
            return putting
        kept: Deferred[bool] = Deferred(lambda it: self._give_up(it, late))
        late = self._clock.callLater(PATIENCE, self._give_up, kept)
        putting.addCallback(self._put, stored, addition, kept, late)
        return kept

    async def begin(self, stored: Stored) -> None:
        """Store a response that runs in the background. Raises a 503."""
        await self.ask(lambda store: store.put(stored))

    async def end(self, stored: Stored, addition: Addition | None = None) -> bool:
        """Store how a response in the background ended; return whether it still was to be. Raises a 503."""
        return await self.ask(lambda store: store.end(stored, addition))

    async def get(self, id: str, owner: str) -> Stored:
        """Return the response. Raises a 404, or a 503 when the store does not answer."""
        stored = await self.ask(lambda store: store.get(id, owner))
        if stored is None:
            raise not_found(id)
        return stored

    async def delete(self, id: str, owner: str) -> None:
        """Forget the response. Raises what :meth:`get` raises."""
        if not await self.ask(lambda store: store.delete(id, owner)):
            raise not_found(id)

    async def history(self, id: str, owner: str) -> list[Any]:
        """Return all items up to and with the response *id*: each response's input, then its output.

        Raises a 404 ``previous_response_not_found`` when it, or one before it, is not there, a 400 while it runs, and
        a 503.
        """
        chain = await self.ask(lambda store: store.chain(id, owner))
        missing = chain[-1].previous if chain else id
        if missing or not chain:
            text = f"Previous response with id {missing[:100]!r} not found."
            raise ApiError(404, text, param="previous_response_id", code="previous_response_not_found")
        if chain[0].running:
            raise ApiError(
                400,
                f"Previous response with id {id[:100]!r} is not at its end yet.",
                param="previous_response_id",
                code="previous_response_in_progress",
            )
        return [item for stored in reversed(chain) for item in (*stored.input, *stored.response.get("output", ()))]

    async def conversation(self, id: str, owner: str, param: str = "conversation") -> list[dict[str, Any]]:
        """Return the items of the conversation, oldest first. Raises a 404 that names *param*, or a 503."""
        items = await self.ask(lambda store: store.items(id, owner))
        if items is None:
            raise no_conversation(id, param)
        return items

    async def outputs(self, ids: Collection[str], owner: str) -> dict[str, Any]:
        """Return the items that answers had, those of *ids* that are there. Raises a 503."""
        return await self.ask(lambda store: store.outputs(ids, owner))

    async def ask(self, what: Callable[[Store], Awaitable[T]]) -> T:
        """Return what the store answers. Raises a 503 when it does not."""
        try:
            asked = self._started(lambda: what(self._store))
            if not asked.called:
                asked.addTimeout(PATIENCE, self._clock)
            return await asked
        except ApiError:
            raise
        except Exception as error:
            _log.error("the store failed: {reason}", reason=error)
            raise unavailable("The store of responses does not answer.", status=503, code="store_error") from error

    def trouble(self) -> str:
        """Return what is wrong with the store, as far as is known; empty when nothing is.

        Asking makes it known: an answer of the store to each question is on its way, at most one a second.
        """
        now = self._clock.seconds()
        if now - self._pinged >= _PING_EVERY:
            self._pinged = now
            ping = self._started(self._store.ping)
            if not ping.called:
                ping.addTimeout(PATIENCE, self._clock)
            ping.addErrback(lambda _: None)
        return self._trouble

    def _started(self, ask: Callable[[], Awaitable[T]]) -> Deferred[T]:
        async def asked() -> T:
            return await ask()

        return ensureDeferred(asked()).addCallbacks(self._up, self._down)

    def _up(self, result: T) -> T:
        self._trouble = ""
        return result

    def _down(self, failure: Failure) -> Failure:
        self._trouble = "the store of responses does not answer"
        return failure

    def _put(self, done: bool, stored: Stored, addition: Addition | None, kept: Deferred[bool], late: Any) -> None:
        if late.active():
            late.cancel()
            kept.callback(done)
        elif done:
            _log.warn("a response was stored too late, and is taken out again")
            deleted = ensureDeferred(self._take_out(stored, addition))
            deleted.addErrback(lambda failure: _log.error("it is still there: {reason}", reason=failure.value))

    async def _take_out(self, stored: Stored, addition: Addition | None) -> None:
        await self._store.delete(stored.id, stored.owner)
        if addition is not None:
            for item in addition.items:
                await self._store.delete_item(addition.conversation, stored.owner, item["id"])

    def _give_up(self, kept: Deferred[bool], late: Any = None) -> None:
        if late is not None:
            late.cancel()
        _log.error("a response was not stored: the store did not answer in time")
        kept.callback(False)


def not_found(id: str) -> ApiError:
    """Return the 404 for a response that is not there, or is not this client's."""
    return ApiError(404, f"Response with id {id[:100]!r} not found.", param="id", code="response_not_found")


def no_conversation(id: str, param: str) -> ApiError:
    """Return the 404 for a conversation that is not there, or is not this client's; *param* is what named it."""
    return ApiError(404, f"Conversation with id {id[:100]!r} not found.", param=param, code="conversation_not_found")


def _not_stored(failure: Failure) -> bool:
    _log.error("a response was not stored: {reason}", reason=failure.value)
    return False
