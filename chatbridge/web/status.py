"""The daemon's own two paths: /healthz and /shutdown."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import NOT_DONE_YET, Request

from chatbridge import __version__
from chatbridge.web.resource import JsonResource, write_json


class Healthz(JsonResource):
    """``GET /healthz``: the daemon is up; *running* tells how many answers are being given."""

    def __init__(self, running: Callable[[], int]) -> None:
        super().__init__()
        self._running = running

    def render_GET(self, request: Request) -> int:
        write_json(request, 200, {"status": "ok", "version": __version__, "running": self._running()})
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
