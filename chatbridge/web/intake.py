"""A request's body → the checked request, with what it goes on from, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.service.routes import Route
from chatbridge.store.archive import Archive
from chatbridge.upstream.headers import last_values
from chatbridge.web.body import read_json, take
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges, without_dropped

_STORED = ("previous_response_id", "conversation")
Parse = Callable[[Any], ResponsesRequest]


class Intake:
    """Reads requests for *bridges*; *archive* knows earlier responses, None knows none."""

    def __init__(self, bridges: Bridges, archive: Archive | None) -> None:
        self._bridges = bridges
        self._archive = archive

    async def read(self, request: Any, parse: Parse = parse_request) -> tuple[Bridge, Route, ResponsesRequest]:
        """Return the bridge, the route and what *parse* makes of the body. Raises :class:`ApiError`."""
        bridge, route, value = self.value(request)
        return bridge, route, await self.checked(value, request.client_name, parse)

    async def checked(
        self, value: Any, owner: str, parse: Parse = parse_request, *, before: int = 0, after: str = ""
    ) -> ResponsesRequest:
        """Return what *parse* makes of a body's JSON value, after the items that it goes on from.

        Those are *owner*'s, as are the items that it refers to. A WebSocket has some of its own: the first *before*
        items of the input are those up to the response *after*. Raises :class:`ApiError`.
        """
        if self._archive is None or not self.goes_on(value):
            return _after(parse(value), before, after)
        previous, conversation = value.get("previous_response_id"), _conversation(value)
        asked = _after(parse({name: item for name, item in value.items() if name not in _STORED}), before, after)
        if (previous is not None or after) and conversation is not None:
            text = "previous_response_id and conversation exclude each other."
            raise ApiError(400, text, param="conversation", code="mutually_exclusive_parameters")
        if conversation is not None and asked.get("store") is False:
            text = "conversation needs store: the answer is to be added to it."
            raise ApiError(400, text, param="conversation", code="invalid_value")
        if isinstance(previous, str):
            asked = asked.continued(await self._archive.history(previous, owner), previous)
        elif conversation is not None:
            asked = asked.in_conversation(await self._archive.conversation(conversation, owner), conversation)
        return await self._resolved(asked, owner, self._archive)

    def goes_on(self, value: Any) -> bool:
        """Whether a body's JSON value goes on from what is stored, or refers to it."""
        if self._archive is None or not isinstance(value, dict):
            return False
        given = value.get("input")
        return (
            isinstance(value.get("previous_response_id"), str)
            or _conversation(value) is not None
            or (isinstance(given, list) and any(_reference(item) for item in given))
        )

    @staticmethod
    async def _resolved(asked: ResponsesRequest, owner: str, archive: Archive) -> ResponsesRequest:
        """Put what is stored in the place of references to it; those to what stands before anyhow go."""
        wanted = {reference for item in asked.own if (reference := _reference(item))}
        before = asked.input[: asked.before]
        wanted -= {item["id"] for item in before if isinstance(item, dict) and isinstance(item.get("id"), str)}
        if not wanted and not any(_reference(item) for item in asked.own):
            return asked
        found = await archive.outputs(wanted, owner)
        own = [found.get(_reference(item), item) for item in asked.own]
        # One that is not found stays, and is refused with its place.
        own = [item for item in own if not _reference(item) or _reference(item) in wanted]
        return replace(asked, input=[*before, *own])

    def value(self, request: Any) -> tuple[Bridge, Route, Any]:
        """Return the bridge, the route and the body's JSON value. Raises :class:`ApiError`."""
        value = read_json(request.requestHeaders, take(request), self._bridges.default.settings.max_request_bytes)
        bridge, route = self._bridges.find(request, value.get("model") if isinstance(value, dict) else None)
        return bridge, route, without_dropped(value, route)


def _after(asked: ResponsesRequest, before: int, previous: str) -> ResponsesRequest:
    """Return *asked*, whose input begins with the *before* items up to the response *previous*."""
    return replace(asked.continued([], previous), before=before) if previous else asked


def _conversation(value: dict[str, Any]) -> str | None:
    """Return the id of the conversation that a body names, None where it names none as it should."""
    given = value.get("conversation")
    found = given.get("id") if isinstance(given, dict) else given
    return found if isinstance(found, str) else None


def _reference(item: Any) -> str:
    """Return the id that an item refers to; empty for one that is itself."""
    if not isinstance(item, dict) or item.get("type") != "item_reference":
        return ""
    found = item.get("id")
    return found if isinstance(found, str) else ""


def client_headers(request: Any) -> dict[str, str]:
    """Return the client's headers, names in lower case."""
    return last_values(request.requestHeaders)
