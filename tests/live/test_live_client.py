"""The upstream client over real sockets: what goes up, and which connections are used."""

import json

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.upstream.body import collect
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.endpoint import _direct
from chatbridge.upstream.fault import connection_error

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b; Path=/\r\n\r\n{}"
CLOSE_AT_ONCE = object()
BODY = json.dumps({"model": "m"}).encode()


class Server(Protocol):
    """Answers each request as the factory's script says: bytes, or None to close without a word."""

    def __init__(self, factory):
        self.factory = factory
        self.buffer = b""

    def connectionMade(self):
        self.factory.connections.append(self)

    def dataReceived(self, data):
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if end and self.factory.script[0] is CLOSE_AT_ONCE:
            self.factory.script.pop(0)
            self.transport.abortConnection()
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if end and len(rest) >= length:
            self.buffer = b""
            self.factory.requests.append(head.decode().lower() + "\r\n")
            answer = self.factory.script.pop(0)
            if answer is None:
                self.transport.loseConnection()
            else:
                self.transport.write(answer)


class Script(Factory):
    noisy = False

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []
        self.connections = []

    def buildProtocol(self, addr):
        return Server(self)


class Upstream:
    def __init__(self, *script, **settings):
        from twisted.internet import reactor

        self.factory = Script(*script)
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/v1/chat/completions"
        self.client = ChatClient(Settings(upstream_url=self.url, **settings), reactor)

    async def ask(self, headers=None, body=BODY):
        response = await self.client.post(body, headers or {})
        return response.code, await collect(response, 1000)

    async def stop(self):
        await self.client.close()
        await self.port.stopListening()
        for connection in self.factory.connections:
            connection.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_only_allowed_headers_go_up_and_the_key_is_the_daemons():
    upstream = Upstream(ANSWER, api_key=Secret("sk-daemon"))
    await upstream.ask(
        {
            "authorization": "Bearer sk-client",
            "openai-organization": "org-1",
            "openai-project": "proj-1",
            "x-codex-turn-metadata": "{}",
            "x-codex-turn-state": "s",
            "x-forwarded-for": "10.0.0.1",
            "cookie": "c=d",
            "connection": "x-secret",
            "x-secret": "1",
        }
    )
    await upstream.stop()
    (head,) = upstream.factory.requests
    assert "authorization: bearer sk-daemon\r\n" in head
    assert "openai-organization: org-1\r\n" in head
    assert "openai-project: proj-1\r\n" in head
    assert "x-codex-turn-state: s\r\n" in head
    assert "content-type: application/json\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    for absent in ("sk-client", "turn-metadata", "forwarded", "cookie", "x-secret"):
        assert absent not in head


@pytest_twisted.ensureDeferred
async def test_without_a_key_there_is_no_authorization():
    upstream = Upstream(ANSWER)
    await upstream.ask({"authorization": "Bearer sk-client"})
    await upstream.stop()
    assert "authorization" not in upstream.factory.requests[0]


@pytest_twisted.ensureDeferred
async def test_connections_are_kept_and_cookies_are_not():
    upstream = Upstream(ANSWER, ANSWER)
    await upstream.ask()
    assert await upstream.ask() == (200, b"{}")
    await upstream.stop()
    assert len(upstream.factory.connections) == 1
    assert "cookie" not in upstream.factory.requests[1]


@pytest_twisted.ensureDeferred
async def test_the_transport_calls_the_connection_itself():
    """Or there is one more call for each read, by way of what Twisted's endpoint waited with."""
    upstream = Upstream(ANSWER, ANSWER)
    await upstream.ask()
    ((connection,),) = upstream.client._pool._idle.values()
    protocol = connection.transport.protocol
    connection.transport.protocol = type("Other", (), {"dataReceived": connection.dataReceived, "connectionLost": 0})()
    assert _direct(connection).transport.protocol is not connection
    connection.transport.protocol = protocol
    assert await upstream.ask() == (200, b"{}")
    await upstream.stop()
    assert protocol is connection


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_is_dead_is_replaced_once():
    upstream = Upstream(ANSWER, None, ANSWER)
    await upstream.ask()
    assert await upstream.ask() == (200, b"{}")
    await upstream.stop()
    assert len(upstream.factory.connections) == 2
    assert len(upstream.factory.requests) == 3


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_dies_while_a_large_request_is_sent_is_replaced_once():
    large = json.dumps({"model": "m" * 8_000_000}).encode()
    upstream = Upstream(ANSWER, CLOSE_AT_ONCE, ANSWER)
    await upstream.ask()
    assert await upstream.ask(body=large) == (200, b"{}")
    await upstream.stop()
    assert len(upstream.factory.connections) == 2


@pytest_twisted.ensureDeferred
async def test_a_new_connection_that_dies_is_not_tried_again():
    upstream = Upstream(None, ANSWER)
    with pytest.raises(Exception) as caught:
        await upstream.ask()
    await upstream.stop()
    from twisted.python.failure import Failure

    assert "broke off" in connection_error(Failure(caught.value), upstream.url).message
    assert len(upstream.factory.requests) == 1


@pytest_twisted.ensureDeferred
async def test_the_second_failure_is_final():
    upstream = Upstream(ANSWER, None, None, ANSWER)
    await upstream.ask()
    with pytest.raises(Exception):  # noqa: B017 - which one is the library's business
        await upstream.ask()
    await upstream.stop()
    assert len(upstream.factory.requests) == 3


@pytest_twisted.ensureDeferred
async def test_redirects_are_not_followed():
    upstream = Upstream(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    code, _ = await upstream.ask()
    await upstream.stop()
    assert code == 307
    assert len(upstream.factory.requests) == 1


@pytest_twisted.ensureDeferred
async def test_cancelling_closes_the_connection():
    upstream = Upstream(b"")
    lost = Deferred()
    Server.connectionLost = lambda self, reason: lost.callback(None) if not lost.called else None
    try:
        waiting = upstream.client.post(BODY, {})
        waiting.addErrback(lambda failure: None)
        while not upstream.factory.requests:
            await _turn()
        waiting.cancel()
        await lost
    finally:
        del Server.connectionLost
    await upstream.stop()


def _turn():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    return deferLater(reactor, 0, lambda: None)
