"""The daemon with several workers: this process owns the port and the pid, the workers serve.

All share one listening socket, from which whoever is free takes the next connection; with SO_REUSEPORT each would have
a queue of its own, and what waits in a worker's queue would be lost when that worker ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from chatbridge.practice.upstream import practice_site
from chatbridge.service.drain import stop
from chatbridge.service.greeting import Greeting
from chatbridge.service.handover import Handover
from chatbridge.service.listener import Listener, StartError
from chatbridge.service.notify import Notify
from chatbridge.service.reload import Reload
from chatbridge.service.serverinfo import ServerInfo
from chatbridge.service.settings import Settings
from chatbridge.service.stack import Stack
from chatbridge.service.workers import Workers
from chatbridge.web.access import slot_names
from chatbridge.web.ledger import CLIENTS, Ledger, size

MOST_CLIENTS = 4096
"""Names of clients that the shared ledger has room for, from the start of the master to its end."""
FINISHING = 4
"""For each worker, how many more may still be finishing answers after reloads."""

_log = Logger()


class HeldPort(Listener):
    """Opens the port and does not look at it: the workers do."""

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        port = self._open_port()
        port.stopReading()
        # Twisted would shut the socket down when it closes it, for all who have it: a worker that has not been told to
        # stop yet, and is about to accept, would find a broken socket.
        port._shouldShutdown = False  # noqa: SLF001 - as for sockets that are adopted

    def descriptor(self) -> int:
        """Return the listening socket's descriptor."""
        number: int = self._open_port().fileno()
        return number

    def _open_port(self) -> Any:
        assert self._port is not None
        return self._port


class _NoConnections(Factory):
    noisy = False


class Master(Stack):
    """The services of the master, in the order to start in. *read* reads the settings again at SIGHUP."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        read: Callable[[], Settings],
        *,
        endpoint: IStreamServerEndpoint,
        admit: Callable[[IAddress], None],
        environ: Mapping[str, str],
        relay: bool = False,
        log: Any = None,
    ) -> None:
        super().__init__(log)
        self._settings = settings
        self._relay = relay
        self._reactor = reactor
        self._processes = settings.workers * (1 + FINISHING)
        self._clients: dict[str, int] = {}
        self._practice: Listener | None = None
        memory = _shared_memory(8 * size(self._processes, CLIENTS + 2 * MOST_CLIENTS))
        ledger = Ledger(memoryview(mmap.mmap(memory, 0)).cast("d"), processes=self._processes)
        self.port = HeldPort(endpoint, _NoConnections(), admit)
        self.workers = Workers(
            reactor,
            processes=self._processes,
            opened=self.port.descriptor,
            ledger=ledger,
            descriptor=memory,
            stop=lambda: stop(reactor),
        )
        status = f"Serving with {settings.workers} workers"
        self._notify = Notify(environ, reactor, status)
        self._starting: Deferred[None] | None = None
        self._prepare(settings)
        Reload(settings, read, self._renew, reactor, self._notify).setServiceParent(self)
        self.workers.setServiceParent(self)
        self.port.setServiceParent(self)  # after them, so that it closes before they are stopped

    def startService(self) -> None:
        super().startService()
        self._starting = ensureDeferred(self._serve())
        self._starting.addErrback(lambda failure: _log.failure("The master failed", failure))

    async def _serve(self) -> None:
        """Start the workers, and say when they serve."""
        await self.workers.begin(self._handover(self._settings))
        if not self.running:
            return
        settings = self._settings
        if settings.server_info is not None:
            info = ServerInfo(settings.server_info, lambda: self.port.address, self._url, lambda: self.workers.pids)
            info.setServiceParent(self)
            self.workers.changed = info.update
        Greeting(settings, lambda: self.port.address, self._url).setServiceParent(self)
        self._notify.setServiceParent(self)

    def _renew(self, settings: Settings) -> Deferred[str]:
        """Put *settings* in force, when those before them are."""
        self._prepare(settings)
        renewed: Deferred[str] = Deferred()
        assert self._starting is not None
        self._starting.addCallback(lambda _: self._begin_again(settings, renewed))
        return renewed

    def _begin_again(self, settings: Settings, renewed: Deferred[str]) -> None:
        ensureDeferred(self.workers.renew(self._handover(settings))).chainDeferred(renewed)

    def _prepare(self, settings: Settings) -> None:
        """Give each client a slot in the ledger, and practice an upstream that all workers share."""
        for client in [name for name, _ in settings.client_tokens] or [""]:
            for name in slot_names(client):
                self._clients.setdefault(name, CLIENTS + len(self._clients))
        if len(self._clients) > 2 * MOST_CLIENTS:
            raise StartError(f"chatbridge: more than {MOST_CLIENTS} names of clients since the start need a restart")
        if self._practice is None and any(one.practice for one in (settings, *settings.upstreams)):
            endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
            self._practice = Listener(endpoint, practice_site(self._reactor))
            self._practice.setServiceParent(self)

    def _handover(self, settings: Settings) -> Handover:
        served = replace(self._practised(settings), upstreams=tuple(map(self._practised, settings.upstreams)))
        return Handover(
            settings=served, number=0, processes=self._processes, clients=dict(self._clients), relay=self._relay
        )

    def _practised(self, settings: Settings) -> Settings:
        if not settings.practice or self._practice is None:
            return settings
        port = getattr(self._practice.address, "port", 0)
        return replace(settings, practice=False, upstream_url=f"http://127.0.0.1:{port}/v1/chat/completions")

    def _url(self) -> str:
        return self._practised(self._settings).upstream_url


def _shared_memory(count: int) -> int:
    """Return the descriptor of *count* bytes of memory that other processes can be given."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("chatbridge")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, count)
    return descriptor
