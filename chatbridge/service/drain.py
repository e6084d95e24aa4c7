"""The graceful stop: running answers end whole, and every byte of them leaves before the process does."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

FLUSH_SECONDS = 2.0
"""How long a client may take to read the end of its answer after the drain limit."""

STOPPED = "chatbridge was stopped before the answer was complete; ask again."


class Running(Protocol):
    """What is needed of the set of running answers."""

    def __len__(self) -> int:
        """Count them."""

    def drained(self) -> Deferred[None]:
        """Fire when none runs."""

    def fail_all(self, message: str) -> None:
        """End each as failed, now."""


class Connection(ProtocolWrapper):
    """A client's connection. What it wraps is an :class:`twisted.web.http.HTTPChannel`."""

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
        if channel.requests:
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
    """Builds *site*'s connections and knows all that are open."""

    protocol = Connection
    noisy = False

    def __init__(self, site: IProtocolFactory) -> None:
        super().__init__(site)
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self.protocols)

    def open(self) -> list[Connection]:
        """Return the open connections."""
        return list(self.protocols)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
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
        in_time: Deferred[bool] = both.addCallback(lambda _: True)
        return in_time.addTimeout(seconds, self._reactor, lambda _result, _seconds: False)
