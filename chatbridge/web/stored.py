"""GET and DELETE /v1/responses/{id}, and what is below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from typing import Any

from twisted.internet.task import deferLater
from twisted.web.server import NOT_DONE_YET

from chatbridge.protocol import sse
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.itemresource import item_resource, prefix
from chatbridge.protocol.replay import replay
from chatbridge.store.archive import Archive, not_found
from chatbridge.store.events import EventLog
from chatbridge.store.record import Stored
from chatbridge.web.background import Run, Runs
from chatbridge.web.page import page, query
from chatbridge.web.replay import Replay
from chatbridge.web.resource import JsonResource, run, write_error, write_json

_PATH = re.compile(rb"(?:/v1)?/responses/([^/]+)(/input_items|/cancel)?")
_METHODS = {b"": (b"GET", b"HEAD", b"DELETE"), b"/input_items": (b"GET", b"HEAD"), b"/cancel": (b"POST",)}
"""By what follows the id."""
_LOOK_EVERY = 1.0
_CANCEL_SECONDS = 15.0
"""How long the process in which a response runs has to cancel it; it looks every :data:`BEAT` seconds."""


class StoredResponse(JsonResource):
    """What *archive* holds, and what *runs* in the background; None holds nothing. *clock* is for waiting."""

    def __init__(self, archive: Archive | None, runs: Runs | None = None, clock: Any = None) -> None:
        super().__init__()
        self._archive = archive
        self._runs = runs
        self._clock = clock

    def render(self, request: Any) -> int | bytes:
        try:
            _, below = _parts(request)
            if request.method not in _METHODS[below]:
                raise self._wrong_method(request, b", ".join(_METHODS[below]))
        except ApiError as error:
            write_error(request, error)
            return NOT_DONE_YET
        return super().render(request)

    def render_GET(self, request: Any) -> int:
        id, below = _parts(request)  # noqa: A001 - the API's own word
        asked = query(request)
        if below:
            return run(request, self._items(request, id, asked))
        if _flag(asked, "stream"):
            return run(request, self._stream(request, id, _number(asked, "starting_after")))
        return run(request, self._response(request, id))

    def render_DELETE(self, request: Any) -> int:
        return run(request, self._delete(request, _parts(request)[0]))

    def render_POST(self, request: Any) -> int:
        return run(request, self._cancel(request, _parts(request)[0]))

    async def _response(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        running = self._run(request, id)
        if running is not None:
            write_json(request, 200, running.turn.progress())
            return
        write_json(request, 200, (await self._found(request, id)).response)

    async def _stream(self, request: Any, id: str, after: int) -> None:  # noqa: A002 - as above
        running = self._run(request, id)
        if running is not None:
            running.follow(request, after)
            return
        stored = await self._found(request, id)
        if stored.running:
            stored = await self._elsewhere(request, id, stored)
        assert self._archive is not None
        events = await self._archive.ask(lambda store: store.events(id, request.client_name))
        if request.channel is None:
            return  # the client is gone
        log, place = EventLog.load(events), after
        if not events:
            log.append(b"".join([sse.frame(event) for event in replay(stored.response, after)]))
            place = -1
        Replay(request, log, place).end()

    async def _elsewhere(self, request: Any, id: str, stored: Stored, patience: float = inf) -> Stored:  # noqa: A002
        """Wait for the end of a response that runs in another process; events of it are there only then."""
        until = self._clock.seconds() + patience
        while stored.running and request.channel is not None and self._clock.seconds() < until:
            await deferLater(self._clock, _LOOK_EVERY, lambda: None)
            stored = await self._found(request, id)
        return stored

    async def _delete(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        if self._archive is None:
            raise not_found(id)
        running = self._run(request, id)
        await self._archive.delete(id, request.client_name)
        if running is not None:
            running.answer.cancel()
        write_json(request, 200, {"id": id, "object": "response", "deleted": True})

    async def _cancel(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        running = self._run(request, id)
        if running is not None:
            running.answer.cancel()
            await running.ended()
            write_json(request, 200, running.turn.response)
            return
        stored = await self._found(request, id)
        if not stored.response.get("background"):
            text = "Only a response that was begun with background can be cancelled."
            raise ApiError(400, text, param="id", code="invalid_request")
        if stored.running and self._archive is not None:
            await self._archive.ask(lambda store: store.cancel(id, request.client_name))
            stored = await self._elsewhere(request, id, stored, _CANCEL_SECONDS)
        write_json(request, 200, stored.response)

    async def _items(self, request: Any, id: str, asked: dict[str, str]) -> None:  # noqa: A002 - as above
        write_json(request, 200, page(await self._context(request, await self._found(request, id)), asked))

    async def _context(self, request: Any, stored: Stored) -> list[dict[str, Any]]:
        """Return the items from which *stored* was answered, as far as they are there, the oldest first."""
        chain: Sequence[Stored] = ()
        if stored.previous and self._archive is not None:
            chain = await self._archive.ask(lambda store: store.chain(stored.previous, request.client_name))
        before = [item for one in reversed(chain) for item in (*numbered(one), *one.response.get("output", ()))]
        return [*before, *numbered(stored)]

    async def _found(self, request: Any, id: str) -> Stored:  # noqa: A002 - as above
        if self._archive is None:
            raise not_found(id)
        return await self._archive.get(id, request.client_name)

    def _run(self, request: Any, id: str) -> Run | None:  # noqa: A002 - as above
        return self._runs.find(id, request.client_name) if self._runs is not None else None


def numbered(stored: Stored) -> list[dict[str, Any]]:
    """Return the input items, each with an id: its own, or one that is the same each time it is asked for."""
    tail = stored.id.rpartition("_")[2]
    return [item_resource(item, f"{prefix(item)}_{tail}{number:04d}") for number, item in enumerate(stored.input)]


def _parts(request: Any) -> tuple[str, bytes]:
    path: bytes = request.path.removesuffix(b"/")
    prefix = request.prefix.encode()
    match = _PATH.fullmatch(path.removeprefix(b"/" + prefix) if prefix else path)
    if match is None:
        raise ApiError(404, "There is nothing at this path; try POST /v1/responses.", code="not_found")
    return match[1].decode("latin-1"), match[2] or b""


def _flag(asked: dict[str, str], name: str) -> bool:
    word = asked.get(name, "false").lower()
    if word not in ("true", "false", "1", "0"):
        raise ApiError(400, f"{name} must be true or false.", param=name, code="invalid_value")
    return word in ("true", "1")


def _number(asked: dict[str, str], name: str) -> int:
    """Return a sequence number; -1 when there is none."""
    word = asked.get(name, "-1")
    if not re.fullmatch("-1|[0-9]{1,15}", word):
        raise ApiError(400, f"{name} must be an integer of at least 0.", param=name, code="invalid_value")
    return int(word)
