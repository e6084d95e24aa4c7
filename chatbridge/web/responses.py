"""POST /v1/responses, and the way in for WebSockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from chatbridge.protocol import codex, sse
from chatbridge.protocol.itemresource import item_resource, prefix
from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.service.routes import Route
from chatbridge.store.archive import Archive
from chatbridge.store.events import EventLog
from chatbridge.store.record import Addition, Stored
from chatbridge.translate.items import Event
from chatbridge.translate.turn import Turn
from chatbridge.web.background import Run, Runs
from chatbridge.web.bridge import Bridge
from chatbridge.web.ids import new_id
from chatbridge.web.intake import Intake, client_headers
from chatbridge.web.record import Record
from chatbridge.web.resource import JsonResource, run, wants_websocket, write_json
from chatbridge.web.sink import EventStream, Sink, WholeResponse

_log = Logger()


class ResponsesResource(JsonResource):
    """Translates a request, sends it upstream, and streams or collects the answer.

    *archive* keeps the answers to requests that allow it, and *runs* those that go on in the background; None keeps
    none. *websocket* takes the handshakes of WebSockets; without it they are refused with a 426.
    """

    def __init__(
        self,
        intake: Intake,
        archive: Archive | None = None,
        runs: Runs | None = None,
        websocket: Callable[[Any], int] | None = None,
    ) -> None:
        super().__init__()
        self._intake = intake
        self._archive = archive
        self._runs = runs
        self._parse = partial(parse_request, background=runs is not None)
        self._websocket = websocket

    def render(self, request: Any) -> int | bytes:
        if self._websocket is None or request.method != b"GET" or not wants_websocket(request.requestHeaders):
            return super().render(request)
        return self._websocket(request)

    def render_POST(self, request: Any) -> int:
        bridge, route, value = self._intake.value(request)
        if isinstance(value, dict) and (value.get("background") or self._intake.goes_on(value)):
            return run(request, self._go_on(request, bridge, route, value))
        self._answer(request, bridge, route, self._parse(value))
        return NOT_DONE_YET

    async def _go_on(self, request: Any, bridge: Bridge, route: Route, value: dict[str, Any]) -> None:
        asked = await self._intake.checked(value, request.client_name, self._parse)
        if request.channel is None:
            return  # the client is gone
        if asked.get("background") and self._runs is not None:
            await self._begin(request, bridge, route, asked, self._runs)
        else:
            self._answer(request, bridge, route, asked)

    def _answer(self, request: Any, bridge: Bridge, route: Route, asked: ResponsesRequest) -> None:
        headers = client_headers(request)
        more: dict[bytes, bytes] = {}  # of the answer's head, known when the upstream answers
        archive, owner = self._archive, request.client_name
        if archive is not None and asked.get("store") is not False:
            asked = replace(asked, stored=True)
        log = EventLog() if asked.stored and asked.stream else None

        def open_sink(turn: Turn) -> Sink:
            if asked.stream:
                return EventStream(request, turn, more, for_codex=codex.is_codex(headers), log=log)
            return WholeResponse(request, turn, more)

        def keep(turn: Turn, events: Sequence[Event | bytes]) -> Deferred[bool] | None:
            # Of one that was an HTTP error the client never saw the id.
            if archive is None or (turn.error is not None and not asked.stream):
                return None
            stored = Stored.answer(asked, owner, turn.response, _sent(log, events))
            return archive.keep(stored, addition(asked, turn.response))

        answer = bridge.answer(asked, headers, open_sink, request.notifyFinish(), route=route)
        answer.on_turn_state = partial(more.__setitem__, codex.TURN_STATE.encode())
        if asked.stored:
            answer.keep = keep
        answer.record.id = request.request_id
        request.record = answer.record
        answer.start()

    async def _begin(self, request: Any, bridge: Bridge, route: Route, asked: ResponsesRequest, runs: Runs) -> None:
        """Answer in the background. The client gets the response as it begins, or follows its events."""
        runs.admit()
        asked, owner = replace(asked, stored=True), request.client_name
        made: list[Run] = []

        def open_sink(turn: Turn) -> Sink:
            made.append(Run(turn, owner))
            return made[0]

        gone: Deferred[None] = Deferred()
        answer = bridge.answer(asked, client_headers(request), open_sink, gone, route=route)
        begun = made[0]
        begun.answer = answer

        def keep(turn: Turn, events: Sequence[Event | bytes]) -> Deferred[bool]:
            stored = Stored.answer(asked, owner, turn.response, _sent(begun.log, events))
            return runs.end(begun, stored, addition(asked, turn.response))

        answer.keep = keep
        record = answer.record
        record.id, record.client, record.route = begun.id, owner, request.route
        request.record = Record(id=begun.id)
        begun.on_end = [lambda: gone.callback(None), partial(_tell, record, request.channel.site, request.started)]
        if request.entry is not None:
            begun.on_end.append(request.entry.hold())
        try:
            await runs.begin(begun, Stored.answer(asked, owner, dict(begun.turn.response)))
        except Exception:
            for end in begun.on_end[2:]:
                end()
            raise
        if request.channel is None:
            return  # the client is gone; the answer goes on
        if asked.stream:
            begun.follow(request)
        else:
            write_json(request, 200, {**begun.turn.response, "status": "queued"})


def _sent(log: EventLog | None, events: Sequence[Event | bytes]) -> bytes:
    return b"" if log is None else log.dump(b"".join([sse.frame(event) for event in events]))


def addition(asked: ResponsesRequest, response: dict[str, Any]) -> Addition | None:
    """Return what the answer adds to its conversation: nothing, unless it was given."""
    conversation = asked.get("conversation")
    if not conversation or response["status"] not in ("completed", "incomplete"):
        return None
    own = [item_resource(item, new_id(prefix(item))) for item in asked.own]
    return Addition(conversation["id"], [*own, *response["output"]])


def _tell(record: Record, site: Any, started: float) -> None:
    """Log and count an answer whose request is long over."""
    seconds = site.reactor.seconds() - started
    facts = " ".join(f"{name}={value}" for name, value in record.facts().items())
    _log.info(
        "background response ended after {seconds:.3f} s {facts}",
        seconds=seconds, facts=facts, access=record, label="background", status=200,
    )  # fmt: skip
    for observe in site.observe:
        observe(record, "background", 200, seconds)
