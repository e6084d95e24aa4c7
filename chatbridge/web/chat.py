"""POST /v1/chat/completions: for clients that speak the upstream's own language."""

from __future__ import annotations

from typing import Any

from twisted.web.server import NOT_DONE_YET

from chatbridge.translate import dialect
from chatbridge.web.intake import Intake, client_headers
from chatbridge.web.resource import JsonResource


class ChatCompletions(JsonResource):
    """Passes a request on with what the vendor's profile says, and the answer as it comes."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake

    def render_POST(self, request: Any) -> int:
        bridge, route, value = self._intake.value(request)
        asked = dialect.parse(value)
        relay = bridge.relay(asked, client_headers(request), request, route=route)
        relay.record.id = request.request_id
        request.record = relay.record
        relay.start()
        return NOT_DONE_YET
