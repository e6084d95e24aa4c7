"""POST /v1/responses, and the way in for WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol import codex
from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.service.routes import Route
from chatbridge.store.archive import Archive
from chatbridge.store.record import Stored
from chatbridge.translate.turn import Turn
from chatbridge.web.body import read_json
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges, without_dropped
from chatbridge.web.resource import JsonResource, wants_websocket
from chatbridge.web.sink import EventStream, Sink, WholeResponse
from chatbridge.web.stored import run


class ResponsesResource(JsonResource):
    """Translates a request, sends it upstream, and streams or collects the answer.

    *archive* keeps the answers to requests that allow it; None keeps none. *websocket* takes the handshakes of
    WebSockets; without it they are refused with a 426.
    """

    def __init__(
        self, bridges: Bridges, archive: Archive | None = None, websocket: Callable[[Request], int] | None = None
    ) -> None:
        super().__init__()
        self._bridges = bridges
        self._archive = archive
        self._websocket = websocket

    def render(self, request: Request) -> int | bytes:
        if self._websocket is None or request.method != b"GET" or not wants_websocket(request.requestHeaders):
            return super().render(request)
        return self._websocket(request)

    def render_POST(self, request: Request) -> int:
        data = request.content.read() if request.content is not None else b""
        value = read_json(request.requestHeaders, data, self._bridges.default.settings.max_request_bytes)
        bridge, route = self._bridges.find(request, value.get("model") if isinstance(value, dict) else None)
        value = without_dropped(value, route)
        previous = value.get("previous_response_id") if isinstance(value, dict) else None
        if self._archive is None or not isinstance(previous, str):
            self._answer(request, bridge, route, parse_request(value))
            return NOT_DONE_YET
        asked = parse_request({name: item for name, item in value.items() if name != "previous_response_id"})
        return run(request, self._go_on(request, bridge, route, asked, previous))

    async def _go_on(
        self, request: Request, bridge: Bridge, route: Route, asked: ResponsesRequest, previous: str
    ) -> None:
        assert self._archive is not None
        items = await self._archive.history(previous, _owner(request))
        if request.channel is not None:  # else the client is gone
            self._answer(request, bridge, route, asked.continued(items, previous), own=asked.input)

    def _answer(
        self, request: Any, bridge: Bridge, route: Route, asked: ResponsesRequest, own: list[Any] | None = None
    ) -> None:
        headers = _headers(request)
        answered = {b"x-request-id": request.request_id.encode()}
        if self._archive is not None and asked.get("store") is not False:
            asked = replace(asked, stored=True)

        def open_sink(turn: Turn) -> Sink:
            if asked.stream:
                return EventStream(request, turn, answered, for_codex=codex.is_codex(headers))
            return WholeResponse(request, turn, answered)

        answer = bridge.answer(asked, headers, open_sink, request.notifyFinish(), route=route)
        answer.on_head = lambda response: _hand_over_turn_state(response, answered)
        if asked.stored:
            answer.keep = lambda turn: self._keep(request, asked, asked.input if own is None else own, turn)
        record: Any = answer.record
        record.id = answered[b"x-request-id"].decode()
        record.upstream, record.model = bridge.settings.name, asked.model
        request.record = record
        answer.start()

    def _keep(self, request: Request, asked: ResponsesRequest, own: list[Any], turn: Turn) -> Deferred[bool] | None:
        """Store the answer, as the client sees it; of one that was an HTTP error it never saw the id."""
        if self._archive is None or (turn.error is not None and not asked.stream):
            return None
        response = turn.response
        stored = Stored(
            id=response["id"],
            owner=_owner(request),
            previous=asked.get("previous_response_id") or "",
            created=response["created_at"],
            input=own,
            response=response,
        )
        return self._archive.keep(stored)


def _owner(request: Any) -> str:
    owner: str = request.client_name
    return owner


def _headers(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }


def _hand_over_turn_state(response: Any, headers: dict[bytes, bytes]) -> None:
    state = response.headers.getRawHeaders(codex.TURN_STATE)
    if state:
        headers[codex.TURN_STATE.encode()] = state[-1] if isinstance(state[-1], bytes) else state[-1].encode("latin-1")
