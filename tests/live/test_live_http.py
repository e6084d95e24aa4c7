"""The HTTP side on real sockets: refusals a client can read, slow heads, garbage."""

from __future__ import annotations

import json
import random
import socket
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.web.server import NOT_DONE_YET

from chatbridge.service.settings import Settings
from chatbridge.web.resource import JsonResource, write_json
from chatbridge.web.root import build_site

MEGABYTE = 1024 * 1024
TIMEOUT = 60.0  # for the blocking clients: only so that a broken server does not hang the tests


class Sizes(JsonResource):
    def render_POST(self, request):
        write_json(request, 200, {"size": len(request.content.read())})
        return NOT_DONE_YET


@asynccontextmanager
async def serving(**settings):
    """Serve on a free port; gives (reactor, port number), and at the end checks that nothing failed."""
    from twisted.internet import reactor

    site = build_site(Settings(**settings), responses=Sizes(), running=lambda: 0, stop=lambda: None, reactor=reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield reactor, port.getHost().port
    finally:
        globalLogPublisher.removeObserver(events.append)
        await port.stopListening()
    assert [event for event in events if "log_failure" in event] == []


def read_all(client):
    """Read to the end; a reset raises."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def connect(number):
    return socket.create_connection(("127.0.0.1", number), timeout=TIMEOUT)


def split(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.lower(), body


def post_head(port, *headers):
    lines = ["POST /v1/responses HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def assert_whole_413(raw):
    status, head, body = split(raw)
    assert status == 413
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert raw.count(b"HTTP/1.1") == 1


def send_then_read(port, *pieces):
    """Write everything first and only then look for an answer, as simple clients do."""
    with connect(port) as client:
        for piece in pieces:
            client.sendall(piece)
        return read_all(client)


def read_before_sending(port, length):
    with connect(port) as client:
        client.sendall(post_head(port, f"Content-Length: {length}", "Expect: 100-continue"))
        client.settimeout(TIMEOUT)
        first = client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        return first + read_all(client)


@pytest_twisted.ensureDeferred
async def test_client_that_sends_50_megabytes_first_reads_the_413():
    async with serving(max_request_bytes=MEGABYTE) as (_, port):
        pieces = [bytes(MEGABYTE)] * 50
        raw = await deferToThread(send_then_read, port, post_head(port, f"Content-Length: {50 * MEGABYTE}"), *pieces)
        assert_whole_413(raw)


@pytest_twisted.ensureDeferred
async def test_client_that_sends_50_megabytes_in_chunks_first_reads_the_413():
    async with serving(max_request_bytes=MEGABYTE) as (_, port):
        chunk = b"100000\r\n" + bytes(MEGABYTE) + b"\r\n"
        pieces = [chunk] * 50 + [b"0\r\n\r\n"]
        raw = await deferToThread(send_then_read, port, post_head(port, "Transfer-Encoding: chunked"), *pieces)
        assert_whole_413(raw)


@pytest_twisted.ensureDeferred
async def test_413_comes_before_the_body():
    async with serving(max_request_bytes=MEGABYTE) as (_, port):
        assert_whole_413(await deferToThread(read_before_sending, port, MEGABYTE + 1))


@pytest_twisted.ensureDeferred
async def test_body_of_the_limit_comes_through():
    async with serving(max_request_bytes=8 * MEGABYTE) as (_, port):
        head = post_head(port, f"Content-Length: {8 * MEGABYTE}", "Connection: close")
        status, _, body = split(await deferToThread(send_then_read, port, head, bytes(8 * MEGABYTE)))
        assert (status, json.loads(body)) == (200, {"size": 8 * MEGABYTE})


class Client(Protocol):
    """Collects what comes; ``closed`` fires with how the connection ended."""

    def __init__(self):
        self.raw = b""
        self.closed = Deferred()

    def dataReceived(self, data):
        self.raw += data

    def connectionLost(self, reason):
        self.closed.callback(reason.type)


async def dial(reactor, port):
    return await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())


@pytest_twisted.ensureDeferred
async def test_trickling_client_gets_408():
    async with serving(header_timeout=0.3) as (reactor, port):
        client = await dial(reactor, port)
        client.transport.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        trickle = LoopingCall(lambda: client.transport.write(b"x"))
        trickle.clock = reactor
        trickling = trickle.start(0.02)
        how = await client.closed
        trickle.stop()
        await trickling
        status, head, body = split(client.raw)
        assert (status, json.loads(body)["error"]["code"]) == (408, "request_timeout")
        assert b"connection: close" in head
        assert how is ConnectionDone


@pytest_twisted.ensureDeferred
async def test_silent_client_is_disconnected():
    async with serving(header_timeout=0.2) as (reactor, port):
        client = await dial(reactor, port)
        assert await client.closed is ConnectionDone
        assert client.raw == b""


@pytest_twisted.ensureDeferred
async def test_connection_is_kept_between_requests():
    async with serving(header_timeout=30) as (reactor, port):
        client = await dial(reactor, port)
        ask = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
        client.transport.write((ask + b"\r\n") * 20 + ask + b"Connection: close\r\n\r\n")
        assert await client.closed is ConnectionDone
        assert client.raw.count(b"HTTP/1.1 200 OK\r\n") == 21


@pytest_twisted.ensureDeferred
async def test_websocket_handshake_is_answered_at_once():
    async with serving() as (reactor, port):
        client = await dial(reactor, port)
        client.transport.write(
            b"GET /responses HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % port
        )
        await client.closed
        status, head, _ = split(client.raw)
        assert status == 426
        assert b"upgrade: http/1.1" in head
        assert b"HTTP/1.1 200 OK" in client.raw


def garbage(seed):
    source = random.Random(seed)
    start = source.choice(
        [b"", b"GET / HTTP/1.1\r\n", b"POST /v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"]
    )
    return start + source.randbytes(source.choice([10, 1000, 200_000]))


def throw(port, data):
    """Send and hang up; the server may hang up first."""
    with connect(port) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
        except TimeoutError:
            raise
        except OSError:
            pass


@pytest.mark.parametrize("seed", range(12))
@pytest_twisted.ensureDeferred
async def test_garbage_hurts_nobody(seed):
    async with serving(max_request_bytes=1000, header_timeout=1) as (_, port):
        await deferToThread(throw, port, garbage(seed))
        alive = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        status, _, body = split(await deferToThread(send_then_read, port, alive))
        assert (status, json.loads(body)["status"]) == (200, "ok")


@pytest_twisted.ensureDeferred
async def test_unix_socket(tmp_path):
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    site = build_site(Settings(), responses=Sizes(), running=lambda: 0, stop=lambda: None, reactor=reactor)
    port = reactor.listenUNIX(path, site)

    def ask():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(path)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return read_all(client)

    try:
        assert split(await deferToThread(ask))[0] == 200
    finally:
        await port.stopListening()
