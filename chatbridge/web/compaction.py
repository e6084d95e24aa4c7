"""POST /v1/responses/compact: a conversation becomes a shorter one that says the same."""

from __future__ import annotations

from typing import Any

from twisted.web.server import Request

from chatbridge.protocol.checks import missing
from chatbridge.protocol.errors import unavailable
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate import compaction
from chatbridge.translate.turn import Turn
from chatbridge.web.ids import new_id
from chatbridge.web.intake import Intake, client_headers
from chatbridge.web.resource import JsonResource, run
from chatbridge.web.sink import Sink, WholeResponse


class Compaction(JsonResource):
    """Asks the upstream for a summary, and answers with the items to go on from."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake

    def render_POST(self, request: Request) -> int:
        return run(request, self._compact(request))

    async def _compact(self, request: Any) -> None:
        bridge, route, asked = await self._intake.read(request, compaction.parse)
        if len(asked.input) == 1:  # nothing but the trigger
            raise missing("input")
        if request.channel is None:
            return  # the client is gone

        def open_sink(turn: Turn) -> Sink:
            return WholeResponse(request, turn, {}, lambda response: _compacted(response, asked))

        headers = client_headers(request)
        answer = bridge.answer(asked, headers, open_sink, request.notifyFinish(), route=route)
        answer.record.id = request.request_id
        request.record = answer.record
        answer.start()


def _compacted(response: dict[str, Any], asked: ResponsesRequest) -> dict[str, Any]:
    """Return the API's object for a whole answer: what stays as it is, then the summary."""
    summary = [item for item in response["output"] if item["type"] == "compaction"]
    if not summary:
        raise unavailable("The upstream gave no summary.", code="upstream_incomplete")
    return {
        "id": response["id"],
        "object": "response.compaction",
        "created_at": response["created_at"],
        "output": [*compaction.retained(asked.input, new_id), *summary],
        "usage": response["usage"],
    }
