"""The graceful stop: running answers end whole, and every byte of them leaves before the process does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from typing import Protocol as Interface

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps
from chatbridge.web.ledger import CONNECTIONS, Ledger

FLUSH_SECONDS = 2.0
"""How long a client may take to read the end of its answer after the drain limit."""

STOPPED = "chatbridge was stopped before the answer was complete; ask again."


def stop(reactor: Any) -> None:
    """Begin the stop of the daemon, if it has not begun."""
    with suppress(ReactorNotRunning):
        reactor.stop()


class Running(Interface):
    """What is needed of the set of running answers."""

    def __len__(self) -> int:
        """Count them."""

    def drained(self) -> Deferred[None]:
        """Fire when none runs."""

    def fail_all(self, message: str) -> None:
        """End each as failed, now."""


class Full(Protocol):
    """Tells a client that there are too many connections, and closes."""

    ANSWER = (
        b"HTTP/1.1 503 Service Unavailable\r\nServer: chatbridge\r\nContent-Type: application/json\r\n"
        b"Retry-After: 1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    )

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._patience: IDelayedCall | None = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        text = "The daemon has as many connections as it may (--max-connections); try again later."
        body = dumps(ApiError(503, text, type="server_error", code="server_overloaded").body())
        transport.write(self.ANSWER % (len(body), body))
        # Only this side closes: a reset, which unread bytes would make, can overtake the answer.
        getattr(transport, "loseWriteConnection", transport.loseConnection)()
        self._patience = self._reactor.callLater(FLUSH_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's interface
        if self._patience is not None and self._patience.active():
            self._patience.cancel()


class Connection(ProtocolWrapper):
    """A client's connection. What it wraps is a :class:`chatbridge.web.channel.BridgeChannel`."""

    _last = False

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._last:
            self.end()

    def end(self) -> None:
        """Close when the current request, if there is one, is answered."""
        self._last = True
        channel: Any = self.wrappedProtocol
        if channel is None:
            return
        if channel.upgraded is not None:
            channel.upgraded.end()
        elif channel.requests:
            channel.persistent = False
        else:
            channel.loseConnection()

    def flush(self) -> None:
        """Close when all that was written is sent."""
        # By way of the channel: it also takes itself off as the producer, or the transport might wait for it.
        channel: Any = self.wrappedProtocol
        channel.loseConnection()

    def abort(self) -> None:
        """Close now."""
        transport: Any = self.transport
        transport.abortConnection()


class Connections(WrappingFactory):
    """Builds *site*'s connections and knows all that are open.

    *ledger* counts those of the whole daemon, of which there may be *limit()*; 0 is no limit.
    """

    protocol = Connection
    noisy = False

    def __init__(
        self,
        site: IProtocolFactory,
        reactor: IReactorTime,
        ledger: Ledger | None = None,
        limit: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(site)
        self._reactor = reactor
        self._ledger = ledger or Ledger()
        self._limit = limit
        self._waiting: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if self._ledger.enter(CONNECTIONS, self._limit()):
            return super().buildProtocol(addr)
        return Full(self._reactor)

    def __len__(self) -> int:
        return len(self.protocols)

    def open(self) -> list[Connection]:
        """Return the open connections."""
        return list(self.protocols)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        self._ledger.leave(CONNECTIONS)
        if not self.protocols:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def gone(self) -> Deferred[None]:
        """Fire when no connection is open."""
        if not self.protocols:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(deferred)
        return deferred


class Drain(Service):
    """Ends the connections when it stops; the port must be closed by then.

    Connections without a request close at once, the others when their answer is complete. What still runs after
    *seconds* ends as failed, and gets :data:`FLUSH_SECONDS` to be read.
    """

    _log = Logger()

    def __init__(self, connections: Connections, answers: Running, seconds: float, reactor: IReactorTime) -> None:
        self._connections = connections
        self._answers = answers
        self._seconds = seconds
        self._reactor = reactor
        self._limit: IDelayedCall | None = None

    def within(self, seconds: float) -> None:
        """Change the limit. While it runs already, it can only become shorter."""
        self._seconds = seconds
        limit = self._limit
        if limit is not None and limit.active() and limit.getTime() > self._reactor.seconds() + seconds:
            limit.reset(seconds)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return ensureDeferred(self._drain())

    async def _drain(self) -> None:
        for connection in self._connections.open():
            connection.end()
        if self._answers:
            self._log.info(
                "Stopping: {running} running answer(s) may go on for {seconds:g} s",
                running=len(self._answers),
                seconds=self._seconds,
            )
        if await self._ended(self._seconds):
            return
        self._log.warn(
            "The drain limit is over: ending {running} answer(s), {connections} connection(s)",
            running=len(self._answers),
            connections=len(self._connections),
        )
        self._answers.fail_all(STOPPED)
        for connection in self._connections.open():
            connection.flush()
        if not await self._ended(FLUSH_SECONDS):
            for connection in self._connections.open():
                connection.abort()

    def _ended(self, seconds: float) -> Deferred[bool]:
        """Fire with whether all answers and connections came to their end within *seconds*."""
        both = DeferredList([self._answers.drained(), self._connections.gone()], consumeErrors=True)
        limit = self._limit = self._reactor.callLater(seconds, both.cancel)
        return both.addCallback(lambda _: _stopped(limit))


def _stopped(limit: IDelayedCall) -> bool:
    """Stop the timer; return whether it was still running."""
    running = bool(limit.active())
    if running:
        limit.cancel()
    return running
