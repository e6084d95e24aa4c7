"""The daemon's own paths: /healthz, /readyz, /metrics and /shutdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge import __version__
from chatbridge.protocol.errors import unavailable
from chatbridge.web.readiness import Readiness
from chatbridge.web.resource import JsonResource, write_json


class Healthz(JsonResource):
    """``GET /healthz``: the daemon is up; *running* tells how many answers are being given."""

    def __init__(self, running: Callable[[], int]) -> None:
        super().__init__()
        self._running = running

    def render_GET(self, request: Request) -> int:
        write_json(request, 200, {"status": "ok", "version": __version__, "running": self._running()})
        return NOT_DONE_YET


class Readyz(JsonResource):
    """``GET /readyz``: 200 while all of *readiness* says that new requests are welcome, else 503 with the reasons."""

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    def render_GET(self, request: Request) -> int:
        reasons = self._readiness.reasons()
        against = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        if against:
            raise unavailable(f"Not ready: {'; '.join(against)}.", status=503, code="not_ready")
        write_json(request, 200, {"status": "ready", "checks": dict.fromkeys(reasons, "ok")})
        return NOT_DONE_YET


class MetricsText(JsonResource):
    """``GET /metrics``: what *text* returns or fires with, in Prometheus's format."""

    def __init__(self, text: Callable[[], Any]) -> None:
        super().__init__()
        self._text = text

    def render_GET(self, request: Request) -> int:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(text: bytes) -> None:
            if not gone:
                request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
                request.setHeader(b"content-length", b"%d" % len(text))
                request.write(text)
                request.finish()

        maybeDeferred(self._text).addCallback(answer)
        return NOT_DONE_YET


class Shutdown(JsonResource):
    """``GET`` or ``POST /shutdown``: *stop* is called once the answer is written. HEAD stops nothing."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop

    def render_HEAD(self, request: Request) -> int:
        write_json(request, 200, {"status": "shutting down"})
        return NOT_DONE_YET

    def render_GET(self, request: Request) -> int:
        write_json(request, 200, {"status": "shutting down"})
        self._stop()
        return NOT_DONE_YET

    render_POST = render_GET
