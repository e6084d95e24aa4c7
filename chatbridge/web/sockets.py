"""All open WebSockets. What speaks the protocol is imported with the first of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.web.server import NOT_DONE_YET

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.translate.continuation import Room
from chatbridge.web.access import Access, Client

if TYPE_CHECKING:
    from chatbridge.web.websocket import Messages, WebSocket

ROOM = 256 * 1024 * 1024
"""Bytes of conversations that all WebSockets keep together."""

NORMAL, GOING_AWAY, POLICY, TOO_BIG, RESTART = 1000, 1001, 1008, 1009, 1012


def available() -> bool:
    """Whether the library for them, the optional extra ``websocket``, is there."""
    return importlib.util.find_spec("wsproto") is not None


class WebSockets:
    """All open WebSockets; *clock* is the reactor's."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._open: set[WebSocket] = set()
        self.room = Room(ROOM)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(list(self._open))

    def open(self, request: Any, client: Client, reader: Callable[[WebSocket], Messages], *, for_codex: bool) -> int:
        """Make *request*'s connection a WebSocket, which *reader* gives its reader. Raises :class:`ApiError`."""
        from chatbridge.web import websocket  # wsproto, below it, takes a twentieth of the start

        settings = request.channel.site.settings
        head, connection, compressed = websocket.handshake(request)
        access: Access = request.channel.site.access
        if not access.connect(client, settings.client_websockets):
            raise _too_many(settings.client_websockets, for_codex=for_codex)
        limit = settings.max_request_bytes
        socket = websocket.WebSocket(connection, request.channel, self._clock, limit, compressed=compressed)
        self._open.add(socket)

        def lost() -> None:
            if socket in self._open:
                self._open.remove(socket)
                access.disconnect(client)

        socket.on_lost = lost
        request.upgraded(head, socket)
        socket.start(reader(socket))
        return NOT_DONE_YET

    def end(self) -> None:
        """Close each as soon as it is idle; clients open new ones, which find what is in force then."""
        for socket in self:
            socket.end(RESTART)


def _too_many(limit: int, *, for_codex: bool) -> ApiError:
    text = f"This client has {limit} WebSockets open, the most that it may have; use POST."
    if for_codex:  # which then uses POST at once
        return ApiError(426, text, code="websocket_not_supported")
    return ApiError(429, text, code="rate_limit_exceeded", kind=Kind.RATE_LIMIT, retry_after=1.0)
