"""The routing table and the Site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from time import time
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from chatbridge.protocol.errors import ApiError
from chatbridge.service.settings import Settings
from chatbridge.web.access import Access, Client
from chatbridge.web.channel import BridgeChannel, BridgeRequest, printable
from chatbridge.web.guard import Guard, cors_headers, preflight_headers
from chatbridge.web.ledger import Ledger
from chatbridge.web.readiness import Readiness
from chatbridge.web.record import Observe, Record
from chatbridge.web.resource import set_status, write_error
from chatbridge.web.search import Search, WebSearch
from chatbridge.web.status import Healthz, MetricsText, Readyz, Shutdown

_OPEN = b"/healthz"
"""Answers without a token: those who ask are load balancers."""


class Root(Resource):
    """Checks the client's token, Host and Origin, then finds the resource by the whole path.

    One slash at the path's end does not matter. Who has no token learns nothing but that, whatever the path.
    """

    isLeaf = True

    def __init__(
        self,
        access: Access,
        guard: Guard,
        routes: Mapping[bytes, IResource],
        prefixes: Collection[str] = (),
    ) -> None:
        """*routes* are by path; one that ends with a slash is for all that begins with it."""
        super().__init__()
        self._branches = [path for path in routes if path.endswith(b"/")]
        self._prefixes = {name.encode(): name for name in prefixes}
        self._access = access
        self._guard = guard
        self._routes = routes

    def render(self, request: Any) -> int | bytes:
        try:
            client = self._client(request)
            request.client_name = client.name if client is not None else ""
            origin = self._guard.admit(request.requestHeaders, request.clientproto)
            if origin is not None and self._admit_page(request, origin):
                return NOT_DONE_YET
            if client is not None and self._access.limited:
                request.entry = entry = self._access.entry(client)
                request.notifyFinish().addBoth(lambda _: entry.request_ended())
            rendered: int | bytes = self._find(request).render(request)
        except ApiError as error:
            write_error(request, error)
            return NOT_DONE_YET
        return rendered

    def _client(self, request: Request) -> Client | None:
        """Return whose request it is; None where no token is needed."""
        if request.path == _OPEN:
            return None
        if request.method == b"OPTIONS" and preflight_headers(request.requestHeaders) is not None:
            # Browsers send no token with the question before the request.
            try:
                self._guard.admit(request.requestHeaders, request.clientproto)
            except ApiError:
                self._access.client(request.requestHeaders)
                raise
            return None
        return self._access.client(request.requestHeaders)

    def _admit_page(self, request: Request, origin: bytes) -> bool:
        """Let a page read the answer; returns whether the request was only the browser's question for that."""
        _set_headers(request, cors_headers(origin))
        answer = preflight_headers(request.requestHeaders) if request.method == b"OPTIONS" else None
        if answer is None:
            return False
        _set_headers(request, answer)
        set_status(request, 204)
        request.finish()
        return True

    def _at(self, path: bytes) -> bytes | None:
        """Return the route of *path*."""
        if path in self._routes:
            return path
        return next((branch for branch in self._branches if path.startswith(branch)), None)

    def _find(self, request: Any) -> IResource:
        path: bytes = request.path.removesuffix(b"/")
        route, before = self._at(path), b""
        first, slash, rest = path[1:].partition(b"/")
        if route is None and slash and first in self._prefixes:
            request.prefix = self._prefixes[first]
            route, before = self._at(slash + rest), b"/" + first
        if route is None:
            raise ApiError(404, "There is nothing at this path; try POST /v1/responses.", code="not_found")
        request.route = (before + route).decode() + ("*" if route.endswith(b"/") else "")
        return self._routes[route]


class BridgeSite(Site):
    """HTTP/1.1 only, with one log line a request."""

    protocol = BridgeChannel  # type: ignore[assignment]
    requestFactory = BridgeRequest
    displayTracebacks = False
    access_log = Logger()

    def __init__(self, settings: Settings, access: Access, root: IResource, reactor: IReactorTime) -> None:
        super().__init__(root, reactor=reactor)
        self.settings = settings
        self.access = access
        self.observe: list[Observe] = []
        """Who wants to know of each request's end."""

    def adopt(self, other: BridgeSite) -> None:
        """Serve from now on as *other* would."""
        self.settings, self.access, self.resource = other.settings, other.access, other.resource

    def startFactory(self) -> None:
        """Not Twisted's: there is no log file, so no clock has to tick for its time stamps."""

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """Log *request*, finished or left by its client: no query, no header, nothing that breaks the line."""
        gone = request.channel is None
        status = 0 if gone and not request.startedWriting else request.code
        record = request.record or Record(end="client_gone" if gone else "")
        self.report(request, record, status=status, size=request.sentLength, since=request.started)

    def report(self, request: Any, record: Record, *, status: int, size: int, since: float) -> None:
        """Log and count what *record* is of: *request*, or one message of the WebSocket that it became.

        *status* is 0 when the client left first, *size* the bytes sent, *since* when it began.
        """
        seconds = self.reactor.seconds() - since
        record.id = record.id or request.request_id
        record.client, record.route = request.client_name, request.route
        record.request_bytes = record.request_bytes or request.received
        label = request.label
        facts = [f" {name}={_word(value) if type(value) is str else value}" for name, value in record.facts().items()]
        log = self.access_log
        # What Logger.info makes of it, for a third; and one field in place of six, as Twisted takes its time to format.
        log.observer(
            {
                "log_logger": log,
                "log_level": LogLevel.info,
                "log_namespace": log.namespace,
                "log_source": log.source,
                "log_format": "{told}",
                "log_time": time(),
                "told": f"{label} {status or '-'} {size} B {seconds:.3f} s{''.join(facts)}",
                "label": label,
                "status": status or "-",
                "size": size,
                "seconds": seconds,
                "access": record,
            }
        )
        for observe in self.observe:
            observe(record, request.route or "other", status, seconds)


@lru_cache(maxsize=512)  # nearly all are few: routes, models, how answers end
def _word(text: str) -> str:
    return printable(text.encode("utf-8", "backslashreplace"), 100)  # JSON lets clients name half a character


def _set_headers(request: Request, headers: Mapping[bytes, bytes]) -> None:
    for name, value in headers.items():
        request.setHeader(name, value)


def build_site(
    settings: Settings,
    *,
    responses: IResource,
    models: IResource | None = None,
    stored: IResource | None = None,
    also: Mapping[str, IResource] | None = None,
    running: Callable[[], int],
    stop: Callable[[], None],
    reactor: IReactorTime,
    readiness: Readiness | None = None,
    metrics: Callable[[], Any] | None = None,
    ledger: Ledger | None = None,
    web_search: WebSearch | None = None,
) -> BridgeSite:
    """Return the whole HTTP side.

    *responses* answers POST /v1/responses, *stored* what is below it, *models* GET /v1/models and what
    is below it, *also* what is at further paths, with /v1 before them and without, *running* counts the answers
    being given, *stop* begins the graceful stop, *readiness* whether new requests are welcome, *metrics* is the text
    for Prometheus, if there is one, *web_search* what searches for Codex.
    """
    search = Search(settings.max_request_bytes, web_search)
    routes: dict[bytes, IResource] = {
        b"/healthz": Healthz(running),
        b"/readyz": Readyz(readiness or Readiness()),
        b"/v1/responses": responses,
        b"/v1/alpha/search": search,
        b"/alpha/search": search,
        b"/responses": responses,  # for clients whose base URL has no /v1
    }
    for path, resource in (also or {}).items():
        routes |= dict.fromkeys((b"/v1" + path.encode(), path.encode()), resource)
    if stored is not None:
        routes |= dict.fromkeys((b"/v1/responses/", b"/responses/"), stored)
    if models is not None:
        routes |= dict.fromkeys((b"/v1/models", b"/v1/models/", b"/models", b"/models/"), models)
    if metrics is not None:
        routes[b"/metrics"] = MetricsText(metrics)
    if settings.http_shutdown:
        routes[b"/shutdown"] = Shutdown(stop)
    access = Access(
        dict(settings.client_tokens),
        reactor.seconds,
        streams=settings.client_streams,
        rate=settings.client_rate,
        ledger=ledger,
    )
    return BridgeSite(settings, access, Root(access, Guard.of(settings), routes, settings.routes.paths), reactor)
