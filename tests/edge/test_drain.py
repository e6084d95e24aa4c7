import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from chatbridge.service.drain import FLUSH_SECONDS, STOPPED, Connections, Drain
from chatbridge.service.settings import Settings
from chatbridge.web.root import build_site

LIMIT = 10.0
ASK = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


class Transport(StringTransport):
    """Closes when asked to, as a socket does once all is sent; not when its client *reads* nothing."""

    reads = True
    protocol = None
    sent_at_close = None
    aborted = False

    def loseConnection(self):
        super().loseConnection()
        if self.reads and self.sent_at_close is None:
            self.sent_at_close = self.value()
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self):
        self.aborted = True
        self.protocol.connectionLost(Failure(ConnectionAborted()))


class Running(Resource):
    """Streamed answers that go on until told, and the set of them."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.requests = []
        self.waiting = []
        self.failures = []

    def render_POST(self, request):
        self.requests.append(request)
        request.write(b"begin")
        request.notifyFinish().addBoth(lambda _: self._remove(request))
        return NOT_DONE_YET

    def _remove(self, request):
        self.requests.remove(request)
        if not self.requests:
            waiting, self.waiting = self.waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def __len__(self):
        return len(self.requests)

    def drained(self):
        if not self.requests:
            return succeed(None)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def fail_all(self, message):
        self.failures.append(message)
        for request in list(self.requests):
            request.write(b"failed")
            request.finish()


class Daemon:
    def __init__(self):
        self.clock = MemoryReactorClock()
        self.answers = Running()
        site = build_site(Settings(), responses=self.answers, running=lambda: 0, stop=lambda: None, reactor=self.clock)
        self.connections = Connections(site, self.clock)
        self.drain = Drain(self.connections, self.answers, LIMIT, self.clock)
        self.drain.startService()
        self.stopped = []

    def connect(self, *received):
        protocol = self.connections.buildProtocol(None)
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        for data in received:
            protocol.dataReceived(data)
        return transport

    def stop(self):
        self.drain.stopService().addBoth(self.stopped.append)


@pytest.fixture
def daemon():
    return Daemon()


def test_with_nothing_to_wait_for_it_is_over_at_once(daemon):
    daemon.stop()
    assert daemon.stopped == [None]
    assert daemon.clock.getDelayedCalls() == []


def test_idle_connections_close_at_once(daemon):
    fresh = daemon.connect()
    used = daemon.connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    daemon.stop()
    assert fresh.disconnecting
    assert used.disconnecting
    assert b'"status":"ok"' in used.sent_at_close
    assert daemon.stopped == [None]


def test_idle_connections_close_at_once_while_an_answer_runs(daemon):
    idle = daemon.connect()
    busy = daemon.connect(ASK)
    daemon.stop()
    assert idle.disconnecting
    assert not busy.disconnecting
    assert daemon.stopped == []


def test_a_running_answer_ends_whole_and_its_connection_closes(daemon):
    transport = daemon.connect(ASK)
    daemon.stop()
    daemon.clock.advance(LIMIT - 0.1)
    assert not transport.disconnecting
    request = daemon.answers.requests[0]
    request.write(b"end")
    request.finish()
    assert transport.sent_at_close.endswith(b"5\r\nbegin\r\n3\r\nend\r\n0\r\n\r\n")
    assert daemon.stopped == [None]
    assert daemon.answers.failures == []


def test_each_connection_closes_when_its_own_answer_ends(daemon):
    first, second = daemon.connect(ASK), daemon.connect(ASK)
    daemon.stop()
    daemon.answers.requests[0].finish()
    assert first.disconnecting
    assert not second.disconnecting
    assert daemon.stopped == []
    daemon.answers.requests[0].finish()
    assert daemon.stopped == [None]


def test_at_the_limit_answers_end_as_failed_and_are_flushed(daemon):
    transport = daemon.connect(ASK)
    daemon.stop()
    daemon.clock.advance(LIMIT - 0.1)
    assert daemon.answers.failures == []
    daemon.clock.advance(0.1)
    assert daemon.answers.failures == [STOPPED]
    assert transport.sent_at_close.endswith(b"begin\r\n6\r\nfailed\r\n0\r\n\r\n")
    assert not transport.aborted
    assert daemon.stopped == [None]


def test_a_client_that_does_not_read_is_cut_soon_after_the_limit(daemon):
    transport = daemon.connect(ASK)
    transport.reads = False
    daemon.stop()
    daemon.clock.advance(LIMIT)
    daemon.clock.advance(FLUSH_SECONDS - 0.1)
    assert not transport.aborted
    assert daemon.stopped == []
    daemon.clock.advance(0.1)
    assert transport.aborted
    assert daemon.stopped == [None]


def test_a_client_gets_the_time_after_the_limit_to_read(daemon):
    transport = daemon.connect(ASK)
    transport.reads = False
    daemon.stop()
    daemon.clock.advance(LIMIT)
    transport.reads = True
    transport.loseConnection()
    assert daemon.stopped == [None]
    assert not transport.aborted


def test_a_client_that_leaves_ends_the_wait(daemon):
    transport = daemon.connect(ASK)
    daemon.stop()
    transport.protocol.connectionLost(Failure(ConnectionDone()))
    assert daemon.stopped == [None]


def test_an_answer_whose_connection_is_gone_is_waited_for_too(daemon):
    daemon.connect(ASK).loseConnection()
    left = object()
    daemon.answers.requests.append(left)
    daemon.stop()
    assert daemon.stopped == []
    daemon.answers._remove(left)
    assert daemon.stopped == [None]


@pytest.mark.parametrize("received", [ASK[:-1], ASK[:40], ASK[:20]], ids=["body", "head", "first-line"])
def test_a_request_that_never_completes_does_not_hang_the_stop(daemon, received):
    transport = daemon.connect(received)
    daemon.stop()
    daemon.clock.advance(LIMIT)
    assert transport.disconnecting
    daemon.clock.advance(FLUSH_SECONDS)
    assert daemon.stopped == [None]


@pytest.mark.parametrize("cut", [len(ASK) - 1, 40], ids=["body", "head"])
def test_a_request_that_completes_during_the_stop_is_answered_and_the_last(daemon, cut):
    transport = daemon.connect(ASK[:cut])
    daemon.stop()
    transport.protocol.dataReceived(ASK[cut:])
    daemon.answers.requests[0].finish()
    assert transport.sent_at_close.endswith(b"begin\r\n0\r\n\r\n")
    assert daemon.stopped == [None]


def test_a_short_request_that_completes_during_the_stop_is_the_last(daemon):
    transport = daemon.connect(b"GET /healthz HTTP/1.1\r\n")
    daemon.stop()
    assert daemon.stopped == []
    transport.protocol.dataReceived(b"Host: localhost\r\n\r\n")
    assert b'"status":"ok"' in transport.sent_at_close
    assert daemon.stopped == [None]


def test_no_second_request_on_a_connection(daemon):
    transport = daemon.connect(ASK)
    daemon.stop()
    transport.protocol.dataReceived(ASK)
    daemon.answers.requests[0].finish()
    assert daemon.answers.requests == []
    assert transport.sent_at_close.count(b"HTTP/1.1 200") == 1
    assert daemon.stopped == [None]


def test_a_limit_of_nothing(daemon):
    daemon.drain = Drain(daemon.connections, daemon.answers, 0, daemon.clock)
    daemon.connect(ASK)
    daemon.stop()
    daemon.clock.advance(0)
    assert daemon.answers.failures == [STOPPED]
    assert daemon.stopped == [None]


def test_all_connections_gone(daemon):
    gone = []
    daemon.connections.gone().addCallback(lambda _: gone.append("none yet"))
    assert gone == ["none yet"]
    first, second = daemon.connect(), daemon.connect()
    assert len(daemon.connections) == 2
    daemon.connections.gone().addCallback(lambda _: gone.append("both"))
    first.loseConnection()
    assert gone == ["none yet"]
    second.loseConnection()
    assert gone == ["none yet", "both"]


def test_the_limit_can_become_shorter_while_it_runs(daemon):
    daemon.drain.within(3600)
    daemon.connect(ASK)
    daemon.stop()
    daemon.clock.advance(LIMIT + 1)
    assert daemon.answers.failures == []
    daemon.drain.within(7200)
    daemon.drain.within(5)
    daemon.clock.advance(4.9)
    assert daemon.answers.failures == []
    daemon.clock.advance(0.2)
    assert daemon.answers.failures == [STOPPED]
    assert daemon.stopped == [None]


def test_a_connection_too_many_is_told_so(daemon):
    daemon.connections = Connections(daemon.connections.wrappedFactory, daemon.clock, limit=lambda: 1)
    first = daemon.connect()
    second = daemon.connect()
    assert second.value().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 1\r\n" in second.value()
    assert b"--max-connections" in second.value()
    assert second.disconnecting
    assert not first.disconnecting
    daemon.clock.advance(FLUSH_SECONDS)
    first.protocol.connectionLost(Failure(ConnectionDone()))
    assert daemon.connect().value() == b""
