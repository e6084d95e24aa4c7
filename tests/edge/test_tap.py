import json

import pytest
from twisted.application.service import IServiceMaker, Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.plugin import getPlugins
from twisted.python.reflect import namedAny

from chatbridge.service import drain, tap
from chatbridge.service.listener import StartError
from chatbridge.service.settings import Settings

LOCAL = "http://127.0.0.1:9/v1/chat/completions"


class Reactor(MemoryReactorClock):
    """A reactor that knows the order of what is done with its ports, and which are *taken*."""

    def __init__(self, taken=()):
        super().__init__()
        self.taken = taken
        self.order = []
        self.stops = 0

    def listenTCP(self, port, factory, backlog=50, interface=""):
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        listening = super().listenTCP(port, factory, backlog, interface)
        listening._hostAddress = IPv4Address("TCP", interface, port or 40000 + len(self.tcpServers))
        stop = listening.stopListening
        listening.stopListening = lambda: (self.order.append("port closed"), stop())[1]
        return listening

    def stop(self):
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


def start(service):
    service.privilegedStartService()
    service.startService()


def ask(reactor, request):
    """Send *request* to the main port; return the transport."""
    factory = reactor.tcpServers[-1][1]
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(request)
    return transport


def get(path):
    return b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_the_plugin_is_found_and_names_what_exists():
    (plugin,) = (maker for maker in getPlugins(IServiceMaker) if maker.tapname == "chatbridge")
    assert plugin.options is namedAny("chatbridge.service.tap.Options")
    assert plugin.makeService is tap.makeService


def test_it_serves():
    reactor = Reactor()
    start(tap.build(Settings(listen="tcp:8787:interface=127.0.0.1", upstream_url=LOCAL), reactor))
    ((port, _factory, _backlog, interface),) = reactor.tcpServers
    assert (port, interface) == (8787, "127.0.0.1")
    assert b'"status":"ok"' in ask(reactor, get(b"/healthz")).value()


def test_nothing_listens_before_the_start():
    reactor = Reactor()
    tap.build(Settings(practice=True), reactor)
    assert reactor.tcpServers == []


def test_practice_listens_first_and_the_client_is_told(tmp_path):
    reactor = Reactor()
    path = tmp_path / "info.json"
    start(tap.build(Settings(practice=True, server_info=str(path)), reactor))
    practice, main = reactor.tcpServers
    assert practice[3] == main[3] == "127.0.0.1"
    assert json.loads(path.read_text())["upstream_url"] == "http://127.0.0.1:40001/v1/chat/completions"
    assert json.loads(path.read_text())["port"] == 40002


def test_a_busy_port():
    service = tap.build(Settings(listen="tcp:8787:interface=127.0.0.1"), Reactor(taken=[8787]))
    with pytest.raises(StartError, match=r"^chatbridge: cannot listen on 127\.0\.0\.1:8787: Address already in use$"):
        start(service)


def test_a_busy_port_leaves_the_server_info_of_the_other_alone(tmp_path):
    path = tmp_path / "info.json"
    path.write_text("other")
    settings = Settings(listen="tcp:8787:interface=127.0.0.1", server_info=str(path))
    with pytest.raises(StartError):
        start(tap.build(settings, Reactor(taken=[8787])))
    assert path.read_text() == "other"


@pytest.mark.parametrize(
    "listen", ["nonsense:1", "tcp:http", "tcp:1:color=red", "ssl:1:privateKey=/does/not/exist.pem"]
)
def test_an_endpoint_that_is_none(listen):
    with pytest.raises(StartError, match="is no usable endpoint"):
        tap.build(Settings(listen=listen), Reactor())


def test_a_stop_removes_the_file_closes_the_port_and_then_waits(tmp_path):
    reactor = Reactor()
    path = tmp_path / "info.json"
    service = tap.build(Settings(server_info=str(path), upstream_url=LOCAL), reactor)
    start(service)
    transport = ask(reactor, get(b"/healthz")[:-2])
    stopped = []
    service.stopService().addCallback(stopped.append)
    assert not path.exists()
    assert reactor.order == ["port closed"]
    assert stopped == []
    reactor.advance(Settings().drain_seconds)
    assert transport.disconnecting
    reactor.advance(drain.FLUSH_SECONDS)
    assert stopped == [None]


def test_the_practice_upstream_outlives_the_answers():
    reactor = Reactor()
    service = tap.build(Settings(practice=True), reactor)
    start(service)
    ask(reactor, get(b"/healthz")[:-2])
    service.stopService()
    assert reactor.order == ["port closed"]
    reactor.advance(Settings().drain_seconds)
    reactor.advance(drain.FLUSH_SECONDS)
    assert reactor.order == ["port closed", "port closed"]


def test_shutdown_stops_and_may_be_asked_again():
    reactor = Reactor()
    start(tap.build(Settings(http_shutdown=True, upstream_url=LOCAL), reactor))
    assert b"200 OK" in ask(reactor, get(b"/shutdown")).value()
    assert reactor.stops == 1
    with capturedLogs() as events:
        assert b"200 OK" in ask(reactor, get(b"/shutdown")).value()
    assert reactor.stops == 2
    assert [event for event in events if "log_failure" in event] == []


def test_no_shutdown_without_the_option():
    reactor = Reactor()
    start(tap.build(Settings(upstream_url=LOCAL), reactor))
    assert b"404" in ask(reactor, get(b"/shutdown")).value()
    assert reactor.stops == 0


class Stopping(Service):
    def __init__(self, name, order, outcome=None):
        self.label, self.order, self.outcome = name, order, outcome

    def stopService(self):
        self.order.append(self.label)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_services_stop_one_after_the_other_in_the_reverse_order():
    order, last = [], Deferred()
    stack = tap.Stack()
    for service in (Stopping("first", order), Stopping("second", order), Stopping("third", order, last)):
        service.setServiceParent(stack)
    stopped = []
    stack.stopService().addCallback(stopped.append)
    assert order == ["third"]
    last.callback(None)
    assert order == ["third", "second", "first"]
    assert stopped == [None]


def test_a_service_that_cannot_stop_does_not_keep_the_others():
    order = []
    stack = tap.Stack()
    Stopping("first", order).setServiceParent(stack)
    Stopping("second", order, ValueError("no")).setServiceParent(stack)
    with capturedLogs() as events:
        stack.stopService()
    assert order == ["second", "first"]
    assert [event["log_failure"].value.args for event in events if "log_failure" in event] == [("no",)]


def test_an_upstream_that_does_not_close_is_not_waited_for():
    class Client:
        def close(self):
            return Deferred()

    clock = MemoryReactorClock()
    stopped = []
    tap.Upstream(Client(), clock).stopService().addBoth(stopped.append)
    assert stopped == []
    clock.advance(drain.FLUSH_SECONDS)
    assert stopped == [None]


def test_an_endpoint_that_takes_its_time_is_refused():
    class Slow:
        def listen(self, _factory):
            return Deferred()

    with pytest.raises(StartError, match="does not listen at once"):
        tap.Listener(Slow(), None).privilegedStartService()


def test_a_listener_that_never_started_stops():
    assert tap.Listener(None, None).stopService() is None


def test_make_service_reads_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    options = tap.Options()
    options.parseOptions(["--upstream-url", LOCAL])
    seen = []
    monkeypatch.setattr(tap, "build", lambda settings, *_, **__: seen.append(settings) or tap.Stack())
    tap.makeService(options)
    assert seen[0].api_key.reveal() == "sk-test"
    assert seen[0].upstream_url == LOCAL
