"""Answers that go on without a client: they are stored from their begin to their end, and shown in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger

from chatbridge.protocol import sse
from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.store.archive import Archive
from chatbridge.store.events import EventLog
from chatbridge.store.record import Addition, Stored
from chatbridge.translate.items import Event
from chatbridge.translate.turn import Turn
from chatbridge.web.answer import Answer
from chatbridge.web.replay import Replay

LIMIT = 1000
"""Answers that run in the background of one process."""
BEAT = 5.0
"""Seconds between two signs of life; :data:`chatbridge.store.sql.STALE` is several of them."""

_log = Logger()


class Run:
    """One answer in the background. It is the :class:`~chatbridge.web.sink.Sink` of its answer."""

    answer: Answer

    def __init__(self, turn: Turn, owner: str) -> None:
        self.turn = turn
        self.owner = owner
        self.on_end: list[Callable[[], None]] = []
        """Called when the answer is at its end."""
        self.unsaved: tuple[Stored, Addition | None] | None = None
        """How it ended, while the store does not have that."""
        self.log = EventLog()
        self._opened = False
        self._replays: list[Replay] = []
        self._waiting: list[Deferred[None]] = []

    @property
    def id(self) -> str:
        """The response's."""
        return str(self.turn.response["id"])

    def follow(self, request: Any, after: int = -1) -> None:
        """Stream to *request*: the events after number *after*, and then each as it comes."""
        replay = Replay(request, self.log, after)
        if self._ended:
            replay.end()
        else:
            self._replays = [*(one for one in self._replays if not one.over), replay]

    def ended(self) -> Deferred[None]:
        """Fire when the answer is at its end."""
        if self._ended:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def open(self, producer: Any) -> None:  # noqa: ARG002 - nobody paces it
        if not self._opened:
            self._opened = True
            self.write(self.turn.start())

    open_for_failure = open

    def write(self, events: Sequence[Event | bytes]) -> None:
        if events:
            self.log.append(b"".join([sse.frame(event) for event in events]))
            for replay in self._replays:
                replay.more()

    def flush(self) -> None:
        """Events are not held."""

    def keepalive(self) -> None:
        for replay in self._replays:
            replay.keepalive()

    def close(self, events: Sequence[Event | bytes]) -> None:
        self.write(events)
        self._ended = True
        replays, self._replays = self._replays, []
        for replay in replays:
            replay.end()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)
        for call in self.on_end:
            call()

    _ended = False


class Runs:
    """All answers in the background of this process, as *archive* keeps them."""

    def __init__(self, archive: Archive, clock: Any) -> None:
        self._archive = archive
        self._clock = clock
        self._runs: dict[str, Run] = {}
        self._beating: Any = None

    def find(self, id: str, owner: str) -> Run | None:  # noqa: A002 - the API's own word
        """Return the run, if there is one of this *owner*; also one that ended and is not stored yet."""
        run = self._runs.get(id)
        return run if run is not None and run.owner == owner else None

    def admit(self) -> None:
        """Raise a 429 when there are too many."""
        if len(self._runs) >= LIMIT:
            text = f"{LIMIT} responses run in the background, the most that may."
            raise ApiError(429, text, code="rate_limit_exceeded", kind=Kind.RATE_LIMIT, retry_after=BEAT)

    async def begin(self, run: Run, stored: Stored) -> None:
        """Store that *run* begins, and start it. Raises a 503."""
        await self._archive.begin(stored)
        self._runs[run.id] = run
        if self._beating is None:
            self._beating = self._clock.callLater(BEAT, self._beat)
        run.answer.start()
        run.open(run.answer)

    def end(self, run: Run, stored: Stored, addition: Addition | None) -> Deferred[bool]:
        """Store how *run* ended; fires when that is done, or is to be tried again later."""
        run.unsaved = stored, addition
        return ensureDeferred(self._save(run)).addCallback(lambda _: True)

    async def flush(self) -> None:
        """Store the ends that are not stored yet, as far as that can be done now."""
        for run in list(self._runs.values()):
            if run.unsaved is not None:
                await self._save(run)

    async def _save(self, run: Run) -> None:
        assert run.unsaved is not None
        stored, addition = run.unsaved
        try:
            if not await self._archive.end(stored, addition):
                _log.info("background response {id} was deleted before it ended", id=run.id)
        except ApiError:
            _log.error("how background response {id} ended is not stored yet; it is tried again", id=run.id)
            return
        run.unsaved = None
        self._runs.pop(run.id, None)

    def _beat(self) -> None:
        self._beating = None
        if self._runs:
            self._beating = self._clock.callLater(BEAT, self._beat)
            ensureDeferred(self._look(list(self._runs.values()))).addErrback(
                lambda failure: _log.failure("a look at the store failed", failure)
            )

    async def _look(self, runs: list[Run]) -> None:
        try:
            wanted = await self._archive.ask(lambda store: store.beat())
        except ApiError:
            return  # it is in the log
        for run in runs:
            if run.unsaved is not None:
                await self._save(run)
            elif wanted.get(run.id, True):
                # Cancelled or deleted by way of another process, or taken for gone by it.
                run.answer.cancel()
