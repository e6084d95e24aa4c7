"""/v1/conversations and what is below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from twisted.web.server import Request

from chatbridge.protocol.checks import missing
from chatbridge.protocol.conversations import conversation_object, read_items, read_metadata
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.itemresource import item_resource, prefix
from chatbridge.store.archive import Archive, no_conversation
from chatbridge.store.record import Conversation
from chatbridge.web.body import read_json
from chatbridge.web.ids import new_id
from chatbridge.web.page import listing, page, query
from chatbridge.web.resource import JsonResource, run, write_json

_PATH = re.compile(rb"(?:/v1)?/conversations(?:/([^/]+)(?:/(items)(?:/([^/]+))?)?)?")

Work = Callable[[Any, str, str], Coroutine[Any, Any, None]]
"""Answers a request about the conversation and the item of these ids."""


class Conversations(JsonResource):
    """Keeps conversations in *archive*; None keeps none. *now* returns seconds since the epoch."""

    def __init__(self, archive: Archive | None, now: Callable[[], float], max_bytes: int) -> None:
        super().__init__()
        self._archive = archive
        self._now = now
        self._max_bytes = max_bytes
        # By how much of the path is there: no id, an id, its items, one item.
        self._work: list[dict[bytes, Work]] = [
            {b"POST": self._create},
            {b"GET": self._show, b"POST": self._update, b"DELETE": self._delete},
            {b"GET": self._list, b"POST": self._append},
            {b"GET": self._show_item, b"DELETE": self._delete_item},
        ]

    def render_GET(self, request: Any) -> int:
        path: bytes = request.path.removesuffix(b"/")
        before = request.prefix.encode()
        match = _PATH.fullmatch(path.removeprefix(b"/" + before) if before else path)
        if match is None:
            raise ApiError(404, "There is nothing at this path; try POST /v1/conversations.", code="not_found")
        work = self._work[sum(part is not None for part in match.groups())]
        method = b"GET" if request.method == b"HEAD" else request.method
        if method not in work:
            raise self._wrong_method(request, b", ".join(work))
        if self._archive is None:
            text = "Conversations are not kept here: chatbridge runs with --store none."
            raise ApiError(400, text, code="unsupported")
        id, item = (part.decode("latin-1") if part else "" for part in (match[1], match[3]))  # noqa: A001
        return run(request, work[method](request, id, item))

    render_POST = render_DELETE = render_GET

    async def _create(self, request: Any, _id: str, _item: str) -> None:
        value = self._read(request)
        conversation = Conversation(
            id=new_id("conv"),
            owner=request.client_name,
            created=int(self._now()),
            metadata=read_metadata(value),
        )
        items = _resources(read_items(value, needed=False))
        await self._there.ask(lambda store: store.put_conversation(conversation, items))
        _tell(request, conversation)

    async def _show(self, request: Any, id: str, _item: str) -> None:  # noqa: A002 - the API's own word
        _tell(request, await self._found(request, id))

    async def _update(self, request: Any, id: str, _item: str) -> None:  # noqa: A002 - as above
        value = self._read(request)
        metadata = read_metadata(value)
        if "metadata" not in value:
            raise missing("metadata")
        changed = replace(await self._found(request, id), metadata=metadata)
        await self._there.ask(lambda store: store.put_conversation(changed))
        _tell(request, changed)

    async def _delete(self, request: Any, id: str, _item: str) -> None:  # noqa: A002 - as above
        if not await self._there.ask(lambda store: store.delete_conversation(id, request.client_name)):
            raise no_conversation(id, "conversation_id")
        write_json(request, 200, {"id": id, "object": "conversation.deleted", "deleted": True})

    async def _list(self, request: Any, id: str, _item: str) -> None:  # noqa: A002 - as above
        write_json(request, 200, page(await self._items(request, id), query(request)))

    async def _append(self, request: Any, id: str, _item: str) -> None:  # noqa: A002 - as above
        items = _resources(read_items(self._read(request), needed=True))
        if not await self._there.ask(lambda store: store.append(id, request.client_name, items)):
            raise no_conversation(id, "conversation_id")
        write_json(request, 200, listing(items))

    async def _show_item(self, request: Any, id: str, item: str) -> None:  # noqa: A002 - as above
        for found in await self._items(request, id):
            if found["id"] == item:
                write_json(request, 200, found)
                return
        raise _no_item(item)

    async def _delete_item(self, request: Any, id: str, item: str) -> None:  # noqa: A002 - as above
        conversation = await self._found(request, id)
        if not await self._there.ask(lambda store: store.delete_item(id, request.client_name, item)):
            raise _no_item(item)
        _tell(request, conversation)

    async def _found(self, request: Any, id: str) -> Conversation:  # noqa: A002 - as above
        found = await self._there.ask(lambda store: store.get_conversation(id, request.client_name))
        if found is None:
            raise no_conversation(id, "conversation_id")
        return found

    async def _items(self, request: Any, id: str) -> list[dict[str, Any]]:  # noqa: A002 - as above
        return await self._there.conversation(id, request.client_name, "conversation_id")

    @property
    def _there(self) -> Archive:
        assert self._archive is not None
        return self._archive

    def _read(self, request: Any) -> Any:
        data = request.content.read()
        return read_json(request.requestHeaders, data, self._max_bytes) if data else {}


def _resources(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item_resource(item, new_id(prefix(item))) for item in items]


def _tell(request: Request, conversation: Conversation) -> None:
    write_json(request, 200, conversation_object(conversation.id, conversation.created, conversation.metadata))


def _no_item(item: str) -> ApiError:
    return ApiError(404, f"Item with id {item[:100]!r} not found.", param="item_id", code="item_not_found")
