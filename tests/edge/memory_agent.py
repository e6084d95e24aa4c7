"""An agent over a network in memory: our own, or Twisted's, with the same face."""

from __future__ import annotations

from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from chatbridge.upstream.agent import LeanAgent, Pool

URL = b"http://upstream.test:9100/v1/chat/completions?a=b"


class Wire(StringTransport):
    """The client's side of one connection; the test is the server."""

    protocol = None
    lost = False

    def receive(self, *reads):
        for read in reads:
            if not self.lost and not self.closing:
                self.protocol.dataReceived(read)

    def lose(self, reason=None):
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def closing(self):
        return self.disconnecting or self.disconnected

    def abortConnection(self):
        super().abortConnection()
        self.disconnected = True

    def take(self):
        """Return what was sent: request line, headers by lower-case name, body."""
        head, _, body = self.value().partition(b"\r\n\r\n")
        self.clear()
        first, *lines = head.split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            headers.setdefault(name.lower(), []).append(value)
        return first, headers, body


@implementer(IAgentEndpointFactory)
class Network:
    """Endpoints that connect at once, to the test."""

    def __init__(self, kind):
        self.reactor = MemoryReactorClock()
        self.wires = []
        self.outcome = None
        """What connecting gives, when it is not a connection."""
        if kind == "ours":
            self.pool = Pool(self.reactor)
            self.agent = LeanAgent(self, self.pool)
        else:
            self.pool = HTTPConnectionPool(self.reactor)
            self.pool.retryAutomatically = False
            self.agent = Agent.usingEndpointFactory(self.reactor, self, self.pool)

    def endpointForURI(self, uri):
        return self

    def connect(self, factory):
        if self.outcome is not None:
            return self.outcome
        wire = Wire()
        wire.protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        wire.protocol.makeConnection(wire)
        return succeed(wire.protocol)

    def ask(self, method=b"GET", headers=None, body=None, url=URL, *, read=True):
        """Make a request; what comes of it is in the :class:`Asked`."""
        return Asked(self.agent.request(method, url, headers, body), read=read)


class Asked:
    """What came of a request: ``response`` and its ``body`` and ``end``, or ``error``."""

    def __init__(self, deferred, *, read):
        self.deferred = deferred
        self.response = self.error = self.end = None
        self.body = b""
        self.reads = 0
        self._read = read
        self.protocol = Reading(self)
        deferred.addCallbacks(self._answered, self._failed)

    def _answered(self, response):
        self.response = response
        if self._read:
            self.deliver()

    def deliver(self):
        self.response.deliverBody(self.protocol)

    def _failed(self, failure):
        self.error = failure.value

    @property
    def seen(self):
        """Everything that can be seen from outside, as values."""
        response = self.response
        told = None
        if response is not None:
            fields = sorted((name.lower(), list(values)) for name, values in response.headers.getAllRawHeaders())
            told = (response.version, response.code, response.phrase, response.length, fields)
        return told, self.body, type(self.end).__name__, type(self.error).__name__


class Reading(Protocol):
    def __init__(self, asked):
        self.asked = asked

    def dataReceived(self, data):
        self.asked.body += data
        self.asked.reads += 1

    def connectionLost(self, reason):
        assert self.asked.end is None
        self.asked.end = reason.value
