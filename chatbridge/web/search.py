"""POST /v1/alpha/search: the web search that Codex asks its provider for, beside the model."""

from __future__ import annotations

from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.web.body import read_json
from chatbridge.web.resource import JsonResource, write_json

UNAVAILABLE = (
    "Web search is not available here: this server has no search engine. Do not try again; go on with what you know "
    "and what is on this machine, and tell the user what you could not look up."
)


class Search(JsonResource):
    """Says that there is no search. As an answer, since an error would cost Codex its retries."""

    def __init__(self, max_request_bytes: int) -> None:
        super().__init__()
        self._limit = max_request_bytes

    def render_POST(self, request: Request) -> int:
        read_json(request.requestHeaders, request.content.read() if request.content is not None else b"", self._limit)
        write_json(request, 200, {"output": UNAVAILABLE, "results": []})
        return NOT_DONE_YET
