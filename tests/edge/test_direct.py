"""Writes that leave at once: the same bytes on the wire as without, whatever the socket takes and whenever."""

import contextlib
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_http import Server, Waiting, post
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from chatbridge.service.drain import Connections
from chatbridge.upstream import direct
from chatbridge.upstream.direct import writer
from chatbridge.web import channel
from chatbridge.web.direct import DirectOutlet, Fields, Outlet, outlet
from chatbridge.web.resource import write_json

FIELDS = Fields({b"Content-Type": b"text/event-stream"})


class Wire:
    """A request over a real socket, and the client at its other end, step by step."""

    def __init__(self, *headers, version="1.1", wrapped=True):
        waiting = Waiting()
        server = Server(waiting)
        factory = Connections(server.site, server.reactor) if wrapped else server.site
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname())
            accepted, address = listening.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        protocol = factory.buildProtocol(IPv4Address("TCP", *address))
        self.reactor = server.reactor
        for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
            if not hasattr(self.reactor, name):
                setattr(self.reactor, name, lambda _: None)
        self.transport = tcp.Server(accepted, protocol, address, None, 0, self.reactor)
        protocol.makeConnection(self.transport)
        protocol.dataReceived(post(b"{}", *headers).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        (self.request,) = waiting.requests
        self.read = b""

    def start(self):
        self.out = outlet(self.request, FIELDS)
        self.out.write(b"start")
        return self.out.write

    def turn(self):
        """Do what the reactor does."""
        with contextlib.suppress(BlockingIOError):
            self.transport.doWrite()

    def receive(self, size=1 << 16):
        self.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.read += self.client.recv(size)

    def rest(self):
        """Read until nothing is left; the kernel may take its time between two sockets."""
        idle = 0
        while idle < 100:
            self.turn()
            before = len(self.read)
            self.receive()
            if len(self.read) > before:
                idle = 0
                continue
            waiting = self.transport.dataBuffer or self.transport._tempDataBuffer
            ready, _, _ = select.select([self.client], [], [], 0.1 if waiting else 0.01)
            if not ready and not waiting:
                return self.read
            idle += 1
        raise AssertionError("it never ends")

    def close(self):
        self.client.close()
        self.transport.connectionLost(Failure(ConnectionDone()))


def framed(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@given(
    st.lists(
        st.sampled_from([1, 100, 30_000, "plain", "hold", "flush", "turn", "receive", "receive some"]), max_size=12
    ),
    st.booleans(),
    st.sampled_from([b"", b"the end"]),
)
def test_the_same_bytes_whatever_the_socket_takes(steps, wrapped, last):
    with contextlib.closing(Wire(wrapped=wrapped)) as wire:
        write, pieces = wire.start(), [b"start"]
        for number, step in enumerate(steps):
            match step:
                case "turn":
                    wire.turn()
                case "receive":
                    wire.receive()
                case "receive some":
                    wire.receive(10)
                case "flush":
                    wire.out.flush()
                case _:
                    piece = bytes([65 + number % 26]) * (step if isinstance(step, int) else 50)
                    if step == "plain":
                        wire.out.flush()
                    {"plain": wire.request.write, "hold": wire.out.hold}.get(step, write)(piece)
                    pieces.append(piece)
        wire.out.end(last)
        pieces += [last] if last else []
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        assert body == framed(pieces) + b"0\r\n\r\n"
        assert b"transfer-encoding: chunked" in head.lower()
        assert wire.request.sentLength == sum(map(len, pieces))


def received(wire):
    """Return what one send brings: the kernel gives it whole, being this small."""
    wire.client.setblocking(True)
    return wire.client.recv(1 << 16)


def test_what_can_leaves_at_once():
    with contextlib.closing(Wire()) as wire:
        out = outlet(wire.request, FIELDS)
        out.hold(b"with the head")
        out.write(b"first")
        head, _, body = received(wire).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == framed([b"with the head", b"first"])
        out.write(b"now")
        assert received(wire) == framed([b"now"])
        out.hold(b"waits")
        out.flush()
        assert received(wire) == framed([b"waits"])
        out.end(b"last")
        assert received(wire) == framed([b"last"]) + b"0\r\n\r\n"
        with pytest.raises(RuntimeError):
            out.write(b"after the end")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("headers", [(), ("Connection: close",)])
def test_the_head_is_that_of_the_plain_way(version, headers, monkeypatch):
    monkeypatch.setattr(channel, "_date", lambda _: b"now")
    answers = []
    for make in (outlet, Outlet):
        with contextlib.closing(Wire("X-Request-Id: same", *headers, version=version)) as wire:
            wire.request.setHeader(b"x-codex-turn-state", b"a")
            out = make(wire.request, FIELDS)
            out.hold(b"start")
            out.write(b"one")
            out.end(b"last")
            assert isinstance(out, DirectOutlet) is (make is outlet)
            assert wire.request.sentLength == 12
            answers.append(wire.rest())
    direct, plain = answers
    assert fields(direct) == fields(plain)
    assert direct.partition(b"\r\n\r\n")[2].startswith(b"start" if version == "1.0" else framed([b"start"]))


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("size", [2, 300_000])
def test_a_whole_answer_is_that_of_the_plain_way(method, version, size, monkeypatch):
    monkeypatch.setattr(channel, "_date", lambda _: b"now")
    answers = []
    for known in (True, False):
        with monkeypatch.context() as patch, contextlib.closing(Wire("X-Request-Id: same", version=version)) as wire:
            wire.request.method = method.encode()
            if not known:
                patch.setattr(direct, "plain_tcp", lambda _: None)
            write_json(wire.request, 404, {"x": "x" * size})
            if known and method == "POST" and size == 2:
                assert not wire.transport._tempDataBuffer
            answers.append(wire.rest())
    assert fields(answers[0]) == fields(answers[1])
    assert answers[0].startswith(f"HTTP/{version} 404 Not Found\r\n".encode())
    assert len(answers[0].partition(b"\r\n\r\n")[2]) == (0 if method == "HEAD" else size + 8)


def fields(answer):
    """Return *answer* with the fields of its head in alphabetical order."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return sorted(head.split(b"\r\n")), body


def test_http_1_0_has_no_chunks():
    with contextlib.closing(Wire(version="1.0")) as wire:
        write = wire.start()
        wire.turn()
        write(b"now")
        wire.out.end(b"")
        assert wire.rest().endswith(b"\r\n\r\nstartnow")


def test_back_pressure_is_as_before():
    class Producer:
        log = []

        def pauseProducing(self):
            self.log.append("pause")

        def resumeProducing(self):
            self.log.append("resume")

        def stopProducing(self):
            self.log.append("stop")

    with contextlib.closing(Wire()) as wire:
        wire.request.registerProducer(Producer(), True)
        write = wire.start()
        wire.turn()
        for _ in range(20):
            write(b"x" * 50_000)
        assert set(Producer.log) == {"pause"}  # Twisted says it again with each write
        wire.rest()
        assert Producer.log[-1] == "resume"


def test_a_client_that_is_gone_is_found_out_by_the_transport():
    with contextlib.closing(Wire()) as wire:
        write = wire.start()
        wire.turn()
        wire.transport.socket.shutdown(socket.SHUT_WR)
        write(b"x")  # no error here
        assert wire.transport._tempDataBuffer
    write(b"y")  # nor after the end


def test_without_a_plain_socket_the_request_writes():
    waiting = Waiting()
    connection = Server(waiting).connect()
    connection.send(post(b"{}"))
    out = outlet(waiting.requests[0], FIELDS)
    assert type(out) is Outlet
    out.hold(b"start")
    out.write(b"now")
    out.end(b"")
    assert connection.raw.endswith(framed([b"start", b"now"]) + b"0\r\n\r\n")
    assert isinstance(connection.transport, StringTransport)


@pytest.mark.parametrize("change", ["tls", "wrapper", "subclass", "names", "head", "begun"])
def test_what_is_not_the_plain_case_goes_the_plain_way(change, monkeypatch):
    with contextlib.closing(Wire()) as wire:
        request = wire.request
        if change == "begun":
            request.write(b"start")
        if change == "tls":
            monkeypatch.setattr(wire.transport, "TLS", True)
        elif change == "wrapper":
            monkeypatch.setattr(type(request.channel.transport), "write", lambda self, data: None, raising=False)
            assert isinstance(request.channel.transport, ProtocolWrapper)
        elif change == "subclass":
            monkeypatch.setattr(tcp.Server, "doWrite", lambda self: None, raising=False)
        elif change == "names":
            monkeypatch.setattr(direct, "hasattr", lambda *_: False, raising=False)
        elif change == "head":
            monkeypatch.setattr(request, "method", b"HEAD")
        assert type(outlet(request, FIELDS)) is Outlet


# --- to the upstream


@given(st.lists(st.sampled_from([1, 100, 30_000, "plain", "turn", "receive some"]), max_size=12))
def test_the_same_bytes_go_to_the_upstream(steps):
    with contextlib.closing(Wire()) as wire:
        write, sent = writer(wire.transport), b""
        for number, step in enumerate(steps):
            match step:
                case "turn":
                    wire.turn()
                case "receive some":
                    wire.receive(10)
                case _:
                    data = bytes([65 + number % 26]) * (50 if step == "plain" else step)
                    (wire.transport.write if step == "plain" else write)(data)
                    sent += data
        assert wire.rest() == sent


def test_a_request_leaves_at_once():
    with contextlib.closing(Wire()) as wire:
        writer(wire.transport)(b"now")
        wire.client.settimeout(5)
        assert wire.client.recv(10) == b"now"


def test_an_upstream_that_is_gone_is_found_out_by_the_transport():
    with contextlib.closing(Wire()) as wire:
        write = writer(wire.transport)
        wire.transport.socket.shutdown(socket.SHUT_WR)
        write(b"x")  # no error here
        assert wire.transport._tempDataBuffer
        wire.transport.connected = 0
        write(b"y")  # nor after the end


@pytest.mark.parametrize("change", ["tls", "subclass", "names", "disconnecting"])
def test_what_is_not_the_plain_case_goes_through_the_transport(change, monkeypatch):
    with contextlib.closing(Wire()) as wire:
        if change == "tls":
            monkeypatch.setattr(wire.transport, "TLS", True)
        elif change == "subclass":
            monkeypatch.setattr(tcp.Server, "doWrite", lambda self: None, raising=False)
        elif change == "names":
            monkeypatch.setattr(direct, "hasattr", lambda *_: False, raising=False)
        else:
            monkeypatch.setattr(wire.transport, "disconnecting", 1)
        written = []
        monkeypatch.setattr(wire.transport, "write", written.append)
        writer(wire.transport)(b"x")
        assert written == [b"x"]
