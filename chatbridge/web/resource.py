"""A resource that speaks JSON: answers, errors, wrong methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from functools import cached_property
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol.errors import ApiError, internal
from chatbridge.protocol.jsontext import dumps
from chatbridge.web.direct import write_whole

_log = Logger()


def set_status(request: Request, status: int) -> None:
    """Set the status with its standard phrase; Twisted's own table lacks some."""
    request.setResponseCode(status, phrase(status))


def phrase(status: int) -> bytes:
    """Return the standard reason phrase of an HTTP status."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b"Unknown Status"


def retry_after(seconds: float) -> bytes:
    """Return a Retry-After value: whole seconds, rounded up."""
    return b"%d" % max(0, math.ceil(seconds))


def write_json(request: Request, status: int, value: object) -> None:
    """Answer *request* with *value* as JSON, and finish it. Does nothing when the client is already gone."""
    if getattr(request, "channel", request) is None:  # what connectionLost leaves behind
        return
    body = dumps(value)
    set_status(request, status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    write_whole(request, body)


def write_error(request: Request, error: ApiError) -> None:
    """Answer *request* with *error* as JSON, and finish it. Only while no answer has begun."""
    if error.retry_after is not None:
        request.setHeader(b"retry-after", retry_after(error.retry_after))
    write_json(request, error.status, error.body())


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


def wants_websocket(headers: Headers) -> bool:
    """Whether a request asks to become a WebSocket."""
    tokens = b",".join(headers.getRawHeaders(b"upgrade") or ()).lower().split(b",")
    return b"websocket" in (token.strip() for token in tokens)


class JsonResource(Resource):
    """A leaf with ``render_GET``, ``render_POST`` and ``render_DELETE`` as needed; all may raise :class:`ApiError`.

    HEAD goes where GET goes. Any other method is a 405, and a WebSocket handshake where there is no GET a 426.
    """

    isLeaf = True

    def render(self, request: Request) -> int | bytes:
        try:
            answer = self._methods.get(request.method)
            if answer is None:
                raise self._wrong_method(request, b", ".join(self._methods))
            return answer(request)
        except ApiError as error:
            write_error(request, error)
            return NOT_DONE_YET

    @cached_property
    def _methods(self) -> dict[bytes, Callable[[Request], int | bytes]]:
        found: dict[bytes, Callable[[Request], int | bytes]] = {}
        if hasattr(self, "render_GET"):
            found[b"GET"] = self.render_GET
            found[b"HEAD"] = self.render_HEAD
        if hasattr(self, "render_POST"):
            found[b"POST"] = self.render_POST
        if hasattr(self, "render_DELETE"):
            found[b"DELETE"] = self.render_DELETE
        return found

    def _wrong_method(self, request: Request, allowed: bytes) -> ApiError:
        if request.method == b"GET" and wants_websocket(request.requestHeaders):
            # RFC 9110 wants the protocols that would do. Codex goes on with POST at once when it sees this status.
            request.setHeader(b"upgrade", b"HTTP/1.1")
            request.setHeader(b"connection", b"Upgrade")
            return ApiError(426, "WebSocket is not supported here; use POST.", code="websocket_not_supported")
        request.setHeader(b"allow", allowed)
        message = f"This path takes {allowed.decode('ascii')} only."
        return ApiError(405, message, code="method_not_allowed")
