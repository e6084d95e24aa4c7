"""The practice upstream: a scripted chat/completions server as a Twisted resource tree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from chatbridge.practice.script import answer

MODEL = "practice"


def practice_site(reactor: IReactorTime, delay: float = 0.02) -> Site:
    """Return a Site that serves ``POST /v1/chat/completions`` and ``GET /v1/models``.

    *delay* is the seconds between two chunks of a streamed answer. The site writes no log.
    """
    version = _Page()
    version.putChild(b"models", _Models())
    chat = _Page()
    chat.putChild(b"completions", _Completions(reactor, delay))
    version.putChild(b"chat", chat)
    root = _Page()
    root.putChild(b"v1", version)
    site = _QuietSite(root, reactor=reactor)
    site.displayTracebacks = False
    return site


class _QuietSite(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """Practice requests are logged by the bridge that makes them."""


class _Page(Resource):
    """A JSON resource; by itself it is a 404."""

    methods: tuple[bytes, ...] = ()

    def getChild(self, _path: bytes, _request: Request) -> Resource:
        return _Page()

    def render(self, request: Request) -> Any:
        if not self.methods:
            return _error(request, 404, "The practice upstream has no such path.")
        if request.method not in self.methods:
            request.setHeader(b"Allow", b", ".join(self.methods))
            return _error(request, 405, "The practice upstream does not do this method here.")
        return self.respond(request)

    def respond(self, request: Request) -> Any:
        raise NotImplementedError


class _Models(_Page):
    methods = (b"GET", b"HEAD")

    def respond(self, request: Request) -> bytes:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "chatbridge"}
        return _json(request, 200, {"object": "list", "data": [model]})


class _Completions(_Page):
    methods = (b"POST",)

    def __init__(self, reactor: IReactorTime, delay: float) -> None:
        super().__init__()
        self._reactor = reactor
        self._delay = delay
        self._count = itertools.count(1)

    def respond(self, request: Request) -> Any:
        try:
            body = _body(request)
            script = answer(body)
        except ValueError as error:
            return _error(request, 400, str(error))
        except RecursionError:
            return _error(request, 400, "The body is nested too deep.")
        ident, created = f"chatcmpl-practice-{next(self._count)}", int(self._reactor.seconds())
        if body.get("stream") is not True:
            return _json(request, 200, script.completion(ident, created))
        options = body.get("stream_options")
        usage = isinstance(options, dict) and options.get("include_usage") is True
        chunks = script.chunks(ident, created, include_usage=usage)
        _Stream(self._reactor, self._delay, request, _events(chunks)).start()
        return NOT_DONE_YET


@implementer(IPushProducer)
class _Stream:
    """One streamed answer: an event each *delay* seconds, for as long as the client takes them."""

    def __init__(self, reactor: IReactorTime, delay: float, request: Request, events: Iterator[bytes]) -> None:
        self._reactor = reactor
        self._delay = delay
        self._request = request
        self._events = events
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        self._request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        self._request.setHeader(b"Cache-Control", b"no-store")
        self._request.notifyFinish().addErrback(self._gone)
        self._request.registerProducer(self, True)
        self._send()

    def _send(self) -> None:
        # The next one is set first: a write may pause this producer.
        self._next = self._reactor.callLater(self._delay, self._send)
        event = next(self._events, None)
        if event is not None:
            self._request.write(event)
            return
        self.stopProducing()
        self._request.unregisterProducer()
        self._request.finish()

    def _gone(self, _reason: Failure) -> None:
        self.stopProducing()

    def pauseProducing(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def resumeProducing(self) -> None:
        if self._next is None:
            self._next = self._reactor.callLater(self._delay, self._send)

    def stopProducing(self) -> None:
        self.pauseProducing()


def _events(chunks: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for chunk in chunks:
        yield b"data: " + _dump(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _body(request: Request) -> dict[str, Any]:
    """Return the request's JSON object; :exc:`ValueError` says what is wrong with it."""
    assert request.content is not None
    try:
        body = json.loads(request.content.read())
    except ValueError:
        raise ValueError("The body is not JSON.") from None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        raise ValueError("The body must be a JSON object with a 'model'.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise ValueError("'messages' must be a list of at least one message.")
    return body


def _json(request: Request, status: int, value: Any) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return _dump(value)


def _error(request: Request, status: int, message: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return _json(request, status, {"error": error})


def _dump(value: Any) -> bytes:
    """Return JSON in ASCII, so that a lone surrogate in what a client sent does no harm."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
