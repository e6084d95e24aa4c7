"""What ``twistd chatbridge`` runs: the parts put together."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from chatbridge.practice.upstream import practice_site
from chatbridge.service.drain import FLUSH_SECONDS, Connections, Drain
from chatbridge.service.greeting import Greeting
from chatbridge.service.keeping import Keeping
from chatbridge.service.listener import Listener, StartError
from chatbridge.service.logs import json_log
from chatbridge.service.metrics import LoopLag, Metrics, available
from chatbridge.service.options import Options
from chatbridge.service.reload import Reload
from chatbridge.service.serverinfo import ServerInfo
from chatbridge.service.settings import Settings
from chatbridge.store.archive import Archive
from chatbridge.upstream.client import ChatClient
from chatbridge.web.answer import Answers
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges
from chatbridge.web.endpoints import endpoints
from chatbridge.web.guard import is_loopback
from chatbridge.web.intake import Intake
from chatbridge.web.models import Models
from chatbridge.web.readiness import Readiness
from chatbridge.web.responses import ResponsesResource
from chatbridge.web.root import BridgeSite, build_site
from chatbridge.web.stored import StoredResponse

_log = Logger()

__all__ = ["Options", "build", "makeService"]


def makeService(options: Options) -> MultiService:
    """Return the daemon that *options* ask for; twistd's entry point."""
    from twisted.internet import reactor

    read = (lambda: options.settings(os.environ)) if options["config"] is not None else None
    service = build(options.settings(os.environ), reactor, read)
    RepeatedSignals(reactor).setServiceParent(service)
    return service


def build(settings: Settings, reactor: Any, read: Callable[[], Settings] | None = None) -> MultiService:
    """Return the daemon for *settings*; the order is the one to start in. *read* reads them again at SIGHUP."""
    answers = Answers()
    daemon = Stack(json_log(sys.stdout) if settings.log_format == "json" else None)
    metrics = Metrics(lambda: len(answers)) if available() else None
    if metrics is not None:
        LoopLag(metrics, reactor).setServiceParent(daemon)
    readiness = Readiness()
    readiness.add("drain", lambda: "" if daemon.running else "the daemon is stopping")
    keeping = Keeping(settings, reactor)
    keeping.setServiceParent(daemon)
    if keeping.archive is not None:
        readiness.add("store", keeping.archive.trouble)
    front = Front(settings, answers, daemon, reactor, metrics=metrics, archive=keeping.archive, readiness=readiness)
    if read is not None:
        Reload(settings, read, front.renew, reactor).setServiceParent(daemon)
    connections = Connections(front.site)
    listener = Listener(_endpoint(settings.listen, reactor), connections, lambda address: _closed(settings, address))

    Drain(connections, answers, settings.drain_seconds, reactor).setServiceParent(daemon)
    listener.setServiceParent(daemon)
    if settings.server_info is not None:
        ServerInfo(settings.server_info, lambda: listener.address, lambda: front.url).setServiceParent(daemon)
    Greeting(settings, lambda: listener.address, lambda: front.url).setServiceParent(daemon)
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
        metrics: Metrics | None,
        archive: Archive | None,
        readiness: Readiness,
    ) -> None:
        self._answers = answers
        self._archive = archive
        self._metrics = metrics
        self._readiness = readiness
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
        old.disownServiceParent()

    def _site(self, settings: Settings) -> BridgeSite:
        reactor = self._reactor
        bridges = {name: Bridge(client, self._answers, one, reactor) for name, one, client in self._upstreams.each()}
        routed = Bridges(bridges, settings.routes)
        # What a token, a key or the address has to do with it is for the log: any client may ask /readyz.
        self._readiness.add("upstream", routed.resting)
        if self._metrics is not None:
            self._metrics.circuits = routed.circuits
        return build_site(
            settings,
            responses=ResponsesResource(routed, self._archive),
            stored=StoredResponse(self._archive),
            also=endpoints(Intake(routed, self._archive)),
            models=Models(routed),
            running=lambda: len(self._answers),
            stop=lambda: _stop(reactor),
            reactor=reactor,
            readiness=self._readiness,
            metrics=self._metrics.text if self._metrics is not None else None,
        )


class Stack(MultiService):
    """Services that start in order and stop in the reverse order, one after the other.

    *log* becomes the application's: twistd takes the observer that its application brings along, unless its command
    line names another (``--logger``).
    """

    def __init__(self, log: Any = None) -> None:
        super().__init__()
        self._log = log

    def setServiceParent(self, parent: Any) -> None:
        if self._log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:  # noqa: BLE001 (the others must still stop)
                _log.failure("Could not stop {service}", service=service)


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


def _practice(client: ChatClient, reactor: Any) -> IService:
    def listening(address: IAddress) -> None:
        client.url = f"http://127.0.0.1:{getattr(address, 'port', 0)}/v1/chat/completions"

    return Listener(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), practice_site(reactor), listening)


def _endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint has errors of its own: wrong numbers, missing files, missing sockets.
        raise StartError(f"chatbridge: --port {description!r} is no usable endpoint: {error}") from error
    return endpoint


def _closed(settings: Settings, address: IAddress) -> None:
    """Raise :exc:`StartError` when whoever reaches *address* could use the upstream's key."""
    host = getattr(address, "host", None)
    if host is None or is_loopback(host) or settings.client_tokens or settings.allow_anyone:
        return
    raise StartError(
        f"chatbridge: {host} is not a loopback address, and whoever reaches it would use your upstream. "
        "Give clients a token (--client-token-env or --client-token-file), or force it with --allow-anyone"
    )


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # it stops already
        reactor.stop()
