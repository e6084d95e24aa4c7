"""What ``twistd chatbridge`` runs: the parts put together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.logger import Logger

from chatbridge.service.drain import FLUSH_SECONDS, Connections, Drain, stop
from chatbridge.service.garbage import Garbage
from chatbridge.service.greeting import Greeting
from chatbridge.service.inherited import Roomy
from chatbridge.service.keeping import Keeping
from chatbridge.service.listener import Listener, StartError, refuse_open
from chatbridge.service.logs import observer
from chatbridge.service.metrics import LoopLag, Metrics, available
from chatbridge.service.notify import Notify
from chatbridge.service.options import Options
from chatbridge.service.reload import Reload
from chatbridge.service.serverinfo import ServerInfo
from chatbridge.service.settings import Settings
from chatbridge.service.stack import Stack
from chatbridge.service.tracing import Tracing
from chatbridge.service.turns import Turns
from chatbridge.service.worker import Worker
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.searxng import SearXNG
from chatbridge.upstream.webpage import WebPages
from chatbridge.web import sockets as websockets
from chatbridge.web.answers import Answers
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges
from chatbridge.web.endpoints import endpoints
from chatbridge.web.intake import Intake
from chatbridge.web.ledger import ANSWERS, Ledger
from chatbridge.web.models import Models
from chatbridge.web.readiness import Readiness
from chatbridge.web.responses import ResponsesResource
from chatbridge.web.root import BridgeSite, build_site
from chatbridge.web.search import WebSearch
from chatbridge.web.session import Sessions
from chatbridge.web.sockets import WebSockets
from chatbridge.web.stored import StoredResponse

_log = Logger()

__all__ = ["Options", "build", "makeService"]


def makeService(options: Options) -> MultiService:
    """Return the daemon that *options* ask for; twistd's entry point."""
    from twisted.internet import reactor

    settings = options.settings(os.environ)
    log = observer(settings, options.log_file, elsewhere=options.log_elsewhere)
    if settings.workers > 1:
        service: MultiService = master(
            settings, reactor, lambda: options.settings(os.environ), log=log, log_elsewhere=options.log_elsewhere
        )
    else:
        service = build(
            settings, reactor, (lambda: options.settings(os.environ)) if options.rereadable else None, log=log
        )
    RepeatedSignals(reactor).setServiceParent(service)
    return service


def master(
    settings: Settings, reactor: Any, read: Callable[[], Settings], *, log: Any = None, log_elsewhere: bool = False
) -> MultiService:
    """Return the daemon for *settings* with several workers.

    With *log_elsewhere* twistd writes the log to where the workers cannot.
    """
    from chatbridge.service.master import Master  # procmon, below it, imports the reactor

    probe = Keeping(settings, reactor)  # what is wrong with the store is said before anything starts
    probe.stopService()
    if settings.trace is not None:
        Tracing(settings.trace, settings.trace_bytes, reactor)
    return Master(
        settings,
        reactor,
        read,
        endpoint=_endpoint(settings.listen, reactor),
        admit=lambda address: _closed(settings, address),
        environ=os.environ,
        relay=log_elsewhere and settings.log_format == "text",
        log=log,
    )


def build(
    settings: Settings,
    reactor: Any,
    read: Callable[[], Settings] | None = None,
    *,
    worker: Worker | None = None,
    log: Any = None,
) -> MultiService:
    """Return the daemon for *settings*; the order is the one to start in.

    *read* reads them again at SIGHUP. A *worker* leaves to its master what there is once in a daemon.
    """
    ledger = worker.ledger if worker is not None else Ledger()
    answers = Answers(ledger)
    daemon = Stack(log)
    sockets = WebSockets(reactor)
    metrics = Metrics(lambda: len(answers), lambda: len(sockets)) if available() else None
    Turns(reactor).setServiceParent(daemon)
    if metrics is not None:
        LoopLag(metrics, reactor).setServiceParent(daemon)
    readiness = Readiness()
    readiness.add("drain", lambda: "" if daemon.running else "the daemon is stopping")
    keeping = Keeping(settings, reactor)
    keeping.setServiceParent(daemon)
    if keeping.archive is not None:
        readiness.add("store", keeping.archive.trouble)
    front = Front(
        settings,
        answers,
        daemon,
        reactor,
        sockets=sockets,
        metrics=metrics,
        keeping=keeping,
        readiness=readiness,
        ledger=ledger,
        worker=worker,
    )
    notify = Notify(os.environ if worker is None else {}, reactor)

    def renew(new: Settings) -> None:
        if listener.running:
            _closed(new, listener.address)  # a file without the tokens that there were opens no port to the network
        front.renew(new)

    if read is not None:
        Reload(settings, read, renew, reactor, notify).setServiceParent(daemon)
    connections = Connections(front.site, reactor, ledger, lambda: front.site.settings.max_connections)
    endpoint = worker.endpoint() if worker is not None else _endpoint(settings.listen, reactor)
    listener = Listener(endpoint, connections, lambda address: _closed(settings, address))

    drain = Drain(connections, answers, settings.drain_seconds, reactor)
    drain.setServiceParent(daemon)
    listener.setServiceParent(daemon)
    if worker is not None:
        worker.within = drain.within
        worker.families = metrics.families if metrics is not None else worker.families
        return daemon
    if settings.server_info is not None:
        ServerInfo(settings.server_info, lambda: listener.address, lambda: front.url).setServiceParent(daemon)
    Greeting(settings, lambda: listener.address, lambda: front.url).setServiceParent(daemon)
    notify.setServiceParent(daemon)
    Garbage().setServiceParent(daemon)
    return daemon


class Front:
    """The HTTP side and the upstreams behind it, as the settings in force ask for. :attr:`site` stays the same one."""

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        daemon: MultiService,
        reactor: Any,
        *,
        sockets: WebSockets,
        metrics: Metrics | None,
        keeping: Keeping,
        readiness: Readiness,
        ledger: Ledger,
        worker: Worker | None = None,
    ) -> None:
        self._answers = answers
        self._archive, self._runs = keeping.archive, keeping.runs
        self._sockets = sockets
        self._readiness = readiness
        self._ledger = ledger
        self._stop = worker.stop if worker is not None else lambda: stop(reactor)
        self._metrics = metrics
        self._text: Callable[[], Any] | None = None
        if metrics is not None:
            self._text = worker.metrics if worker is not None else metrics.text
        self._keep_trace = None
        if settings.trace is not None:
            tracing = Tracing(settings.trace, settings.trace_bytes, reactor)
            tracing.setServiceParent(daemon)
            self._keep_trace = tracing.keep
        self._daemon = daemon
        self._reactor = reactor
        self._upstreams = Upstreams(settings, reactor)
        self._upstreams.setServiceParent(daemon)
        self.site = self._site(settings)
        self.site.noisy = False
        if metrics is not None:
            self.site.observe.append(metrics.observe)

    @property
    def url(self) -> str:
        """The default upstream's address."""
        return self._upstreams.default.url

    def renew(self, settings: Settings) -> None:
        """Put *settings* in force for requests from now on."""
        old, self._upstreams = self._upstreams, Upstreams(settings, self._reactor)
        self._upstreams.setServiceParent(self._daemon)
        self.site.adopt(self._site(settings))
        self._sockets.end()
        old.disownServiceParent()

    def _websocket(self, bridges: Bridges) -> Callable[[Any], int] | None:
        return Sessions(bridges, self._archive, self._sockets).open if websockets.available() else None

    def _site(self, settings: Settings) -> BridgeSite:
        reactor = self._reactor
        bridges = {name: Bridge(client, self._answers, one, reactor) for name, one, client in self._upstreams.each()}
        for bridge in bridges.values():
            bridge.keep_trace = self._keep_trace
        routed = Bridges(bridges, settings.routes)
        intake = Intake(routed, self._archive)
        # What a token, a key or the address has to do with it is for the log: any client may ask /readyz.
        self._readiness.add("upstream", routed.resting)
        if self._metrics is not None:
            self._metrics.circuits = routed.circuits
        return build_site(
            settings,
            responses=ResponsesResource(intake, self._archive, self._runs, self._websocket(routed)),
            stored=StoredResponse(self._archive, self._runs, reactor),
            also=endpoints(intake, self._archive, settings.max_request_bytes),
            models=Models(routed),
            running=lambda: self._ledger.total(ANSWERS),
            stop=self._stop,
            reactor=reactor,
            readiness=self._readiness,
            metrics=self._text,
            ledger=self._ledger,
            web_search=_web_search(settings, reactor),
        )


class Upstreams(Stack):
    """The clients of all upstreams, and the practice upstreams among them. Closes what is kept open when it stops."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        super().__init__()
        self._settings = settings.upstreams or (settings,)
        self._clients = {one.name: ChatClient(one, reactor) for one in self._settings}
        self.default = self._clients[settings.name]
        for _, one, client in self.each():
            if one.practice:
                _practice(client, reactor).setServiceParent(self)
            Upstream(client, reactor).setServiceParent(self)

    def each(self) -> list[tuple[str, Settings, ChatClient]]:
        """Return name, settings and client of each."""
        return [(one.name, one, self._clients[one.name]) for one in self._settings]


class Upstream(Service):
    """Closes the kept connections to the upstream when it stops."""

    def __init__(self, client: ChatClient, reactor: Any) -> None:
        self._client = client
        self._reactor = reactor

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        # TLS waits for the other side's goodbye; the process does not.
        return self._client.close().addTimeout(FLUSH_SECONDS, self._reactor, lambda _result, _seconds: None)


class RepeatedSignals(Service):
    """While the daemon stops, a second SIGINT or SIGTERM changes nothing; Twisted would log it as an error.

    It comes often: a terminal signals all of ``make run``, and make passes it on.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def stopService(self) -> None:
        super().stopService()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._again)

    def _again(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(_log.info, "Already stopping")


def _web_search(settings: Settings, reactor: Any) -> WebSearch | None:
    if not settings.search_url:
        return None
    return WebSearch(
        SearXNG(settings.search_url, reactor),
        WebPages(reactor),
        reactor.seconds,
        opens=settings.search_open,
        cached=settings.search_always,
    )


def _practice(client: ChatClient, reactor: Any) -> IService:
    from chatbridge.practice.upstream import practice_site  # for those who try it only

    def listening(address: IAddress) -> None:
        client.url = f"http://127.0.0.1:{getattr(address, 'port', 0)}/v1/chat/completions"

    return Listener(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), practice_site(reactor), listening)


def _endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(Roomy(reactor), description)
    except Exception as error:
        # Each kind of endpoint has errors of its own: wrong numbers, missing files, missing sockets.
        if description.startswith("systemd:") and isinstance(error, LookupError):
            text = "systemd has handed over no such socket; this form is for a service with a socket unit"
            raise StartError(f"chatbridge: --port {description!r}: {text}") from error
        raise StartError(f"chatbridge: --port {description!r} is no usable endpoint: {error}") from error
    return endpoint


def _closed(settings: Settings, address: IAddress) -> None:
    refuse_open(settings, getattr(address, "host", None))
