"""GET and DELETE /v1/responses/{id}, and what is below it."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol.errors import ApiError, internal
from chatbridge.store.archive import Archive, not_found
from chatbridge.store.record import Stored
from chatbridge.web.resource import JsonResource, write_error, write_json

_PATH = re.compile(rb"(?:/v1)?/responses/([^/]+)(/input_items|/cancel)?")
_PAGE = 20
_PAGE_LIMIT = 100

_log = Logger()


def run(request: Request, work: Coroutine[Any, Any, None]) -> int:
    """Run *work*, which answers *request* or raises :class:`ApiError`; a client that leaves meanwhile is no failure."""
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)

    def failed(failure: Failure) -> None:
        if gone:
            return
        if isinstance(failure.value, ApiError):
            write_error(request, failure.value)
            return
        _log.failure("a request failed inside chatbridge", failure)
        write_error(request, internal())

    ensureDeferred(work).addErrback(failed)
    return NOT_DONE_YET


class StoredResponse(JsonResource):
    """What *archive* holds; None holds nothing."""

    def __init__(self, archive: Archive | None) -> None:
        super().__init__()
        self._archive = archive

    def render_GET(self, request: Any) -> int:
        id, below = _parts(request)  # noqa: A001 - as above
        if below == b"/cancel":
            raise ApiError(405, "This path takes POST only.", code="method_not_allowed")
        return run(request, self._items(request, id) if below else self._response(request, id))

    def render_DELETE(self, request: Any) -> int:
        id, below = _parts(request)  # noqa: A001 - as above
        if below:
            raise ApiError(405, "This path does not take DELETE.", code="method_not_allowed")
        return run(request, self._delete(request, id))

    def render_POST(self, request: Any) -> int:
        id, below = _parts(request)  # noqa: A001 - as above
        if below != b"/cancel":
            raise ApiError(405, "This path takes GET and DELETE only.", code="method_not_allowed")
        return run(request, self._cancel(request, id))

    async def _found(self, request: Any, id: str) -> Stored:  # noqa: A002 - as above
        if self._archive is None:
            raise not_found(id)
        return await self._archive.get(id, request.client_name)

    async def _response(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        if _query(request).get("stream") in ("true", "1"):
            text = "A stored response cannot be streamed again here; leave out stream."
            raise ApiError(400, text, param="stream", code="unsupported_parameter")
        stored = await self._found(request, id)
        write_json(request, 200, stored.response)

    async def _delete(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        if self._archive is None:
            raise not_found(id)
        await self._archive.delete(id, request.client_name)
        write_json(request, 200, {"id": id, "object": "response", "deleted": True})

    async def _cancel(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        await self._found(request, id)
        text = "Only a response that runs in the background can be cancelled."
        raise ApiError(400, text, param="id", code="invalid_request")

    async def _items(self, request: Any, id: str) -> None:  # noqa: A002 - as above
        stored = await self._found(request, id)
        write_json(request, 200, page(numbered(stored), _query(request)))


def numbered(stored: Stored) -> list[dict[str, Any]]:
    """Return the input items, each with an id: its own, or one that is the same each time it is asked for."""
    tail = stored.id.rpartition("_")[2]
    return [
        {"id": f"item_{tail}{number:04d}", **item} if isinstance(item, dict) else {"id": f"item_{tail}{number:04d}"}
        for number, item in enumerate(stored.input)
    ]


def page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """Return one page of *items* as the API's list object. Raises :class:`ApiError` for a query that makes no sense."""
    limit = query.get("limit", str(_PAGE))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= _PAGE_LIMIT:
        raise ApiError(400, f"limit must be from 1 to {_PAGE_LIMIT}.", param="limit", code="invalid_value")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ApiError(400, "order must be 'asc' or 'desc'.", param="order", code="invalid_value")
    ordered = items if order == "asc" else items[::-1]
    ids = [item["id"] for item in ordered]
    for name in ("after", "before"):
        if name in query and query[name] not in ids:
            raise ApiError(400, f"There is no item {query[name][:100]!r}.", param=name, code="invalid_value")
    begin = ids.index(query["after"]) + 1 if "after" in query else 0
    end = ids.index(query["before"]) if "before" in query else len(items)
    shown = ordered[begin:end][: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": end - begin > len(shown),
    }


def _parts(request: Any) -> tuple[str, bytes]:
    path: bytes = request.path.removesuffix(b"/")
    prefix = request.prefix.encode()
    match = _PATH.fullmatch(path.removeprefix(b"/" + prefix) if prefix else path)
    if match is None:
        raise ApiError(404, "There is nothing at this path; try POST /v1/responses.", code="not_found")
    return match[1].decode("latin-1"), match[2] or b""


def _query(request: Any) -> dict[str, str]:
    query = parse_qs(request.uri.partition(b"?")[2], keep_blank_values=True)
    return {name.decode("latin-1"): values[-1].decode("latin-1") for name, values in query.items()}
