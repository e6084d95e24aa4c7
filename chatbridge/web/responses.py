"""POST /v1/responses."""

from __future__ import annotations

from typing import Any

from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol import codex
from chatbridge.protocol.responses import parse_request
from chatbridge.translate.turn import Turn
from chatbridge.web.body import read_json
from chatbridge.web.bridge import new_id
from chatbridge.web.bridges import Bridges, without_dropped
from chatbridge.web.resource import JsonResource
from chatbridge.web.sink import EventStream, Sink, WholeResponse


class ResponsesResource(JsonResource):
    """Translates a request, sends it upstream, and streams or collects the answer."""

    def __init__(self, bridges: Bridges) -> None:
        super().__init__()
        self._bridges = bridges

    def render_POST(self, request: Request) -> int:
        data = request.content.read() if request.content is not None else b""
        value = read_json(request.requestHeaders, data, self._bridges.default.settings.max_request_bytes)
        bridge, route = self._bridges.find(request, value.get("model") if isinstance(value, dict) else None)
        asked = parse_request(without_dropped(value, route))
        headers = _headers(request)
        answered = {b"x-request-id": new_id("req").encode()}

        def open_sink(turn: Turn) -> Sink:
            if asked.stream:
                return EventStream(request, turn, answered, for_codex=codex.is_codex(headers))
            return WholeResponse(request, turn, answered)

        answer = bridge.answer(asked, headers, open_sink, request.notifyFinish(), send_model=route.send_model)
        answer.on_head = lambda response: _hand_over_turn_state(response, answered)
        record: Any = answer.record
        record.id = answered[b"x-request-id"].decode()
        record.upstream, record.model = bridge.settings.name, asked.model
        request.record = record  # type: ignore[attr-defined]
        answer.start()
        return NOT_DONE_YET


def _headers(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }


def _hand_over_turn_state(response: Any, headers: dict[bytes, bytes]) -> None:
    state = response.headers.getRawHeaders(codex.TURN_STATE)
    if state:
        headers[codex.TURN_STATE.encode()] = state[-1] if isinstance(state[-1], bytes) else state[-1].encode("latin-1")
