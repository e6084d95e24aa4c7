"""POST /v1/responses/input_tokens: how many tokens a request would have."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from twisted.web.server import Request

from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.translate import tokens
from chatbridge.translate.tokens import Count
from chatbridge.web.intake import Intake
from chatbridge.web.resource import JsonResource, run, write_json
from chatbridge.web.tokenizer import counter


class InputTokens(JsonResource):
    """Translates a request as if it were to be sent, and counts."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake
        self._counter: Count | None = None

    def render_POST(self, request: Request) -> int:
        return run(request, self._count(request))

    async def _count(self, request: Any) -> None:
        bridge, route, asked = await self._intake.read(request, _parse)
        body = bridge.translated(replace(asked, model=route.send_model or asked.model))
        if self._counter is None:
            self._counter = counter(os.environ)
        found = tokens.estimate(body, self._counter)
        write_json(request, 200, {"object": "response.input_tokens", "input_tokens": found})


def _parse(value: Any) -> ResponsesRequest:
    """Check a body. The model may be left out, as the API has it: then it is the one that nobody knows."""
    if isinstance(value, dict):
        value = {**value, "model": "unknown" if value.get("model") is None else value["model"]}
    return parse_request(value)
