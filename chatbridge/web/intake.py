"""A request's body → the checked request, with what it goes on from, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.service.routes import Route
from chatbridge.store.archive import Archive
from chatbridge.web.body import read_json
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges, without_dropped

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

    async def checked(self, value: Any, owner: str, parse: Parse = parse_request) -> ResponsesRequest:
        """Return what *parse* makes of a body's JSON value, after the items that it goes on from.

        Those are *owner*'s. Raises :class:`ApiError`.
        """
        if self._archive is None or not self.goes_on(value):
            return parse(value)
        previous = value["previous_response_id"]
        asked = parse({name: item for name, item in value.items() if name != "previous_response_id"})
        return asked.continued(await self._archive.history(previous, owner), previous)

    def goes_on(self, value: Any) -> bool:
        """Whether a body's JSON value goes on from what is stored."""
        return (
            self._archive is not None and isinstance(value, dict) and isinstance(value.get("previous_response_id"), str)
        )

    def value(self, request: Any) -> tuple[Bridge, Route, Any]:
        """Return the bridge, the route and the body's JSON value. Raises :class:`ApiError`."""
        data = request.content.read() if request.content is not None else b""
        value = read_json(request.requestHeaders, data, self._bridges.default.settings.max_request_bytes)
        bridge, route = self._bridges.find(request, value.get("model") if isinstance(value, dict) else None)
        return bridge, route, without_dropped(value, route)


def client_headers(request: Any) -> dict[str, str]:
    """Return the client's headers, names in lower case."""
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
