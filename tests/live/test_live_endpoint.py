"""How the upstream is reached, over real sockets: TLS with an authority of our own, a CONNECT proxy, IPv6, timeouts."""

import base64
import json

import pytest
import pytest_twisted
from certificates import Authority
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from chatbridge.service.proxy import read_proxy
from chatbridge.service.settings import Settings
from chatbridge.upstream.body import collect
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.fault import connection_error

BODY = json.dumps({"model": "m"}).encode()


class Answering(Protocol):
    """Says OK to each request."""

    def connectionMade(self):
        self.factory.connections.append(self)
        self.buffer = b""

    def dataReceived(self, data):
        self.buffer += data
        if self.buffer.endswith(BODY):
            self.factory.heads.append(self.buffer.partition(b"\r\n\r\n")[0].decode())
            self.buffer = b""
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

    def connectionLost(self, reason):
        self.gone = True


class Plain(Answering):
    """Takes what comes for a bad request."""

    def dataReceived(self, data):
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class Relay(Protocol):
    def __init__(self, other):
        self.other = other

    def dataReceived(self, data):
        self.other.write(data)

    def connectionLost(self, reason):
        self.other.loseConnection()


class Connecting(Protocol):
    """One connection of a small CONNECT proxy. ``factory.answer`` in place of a tunnel is what it says instead."""

    def connectionMade(self):
        self.factory.connections.append(self)
        self.head = b""
        self.beyond = None

    def dataReceived(self, data):
        if self.beyond is not None:
            self.beyond.write(data)
            return
        self.head += data
        if not self.head.endswith(b"\r\n\r\n"):
            return
        self.factory.heads.append(self.head.decode())
        if self.factory.answer is not None:
            self.transport.write(self.factory.answer)
            return
        from twisted.internet import reactor

        target = self.head.split(b" ")[1].decode()
        port = int(target.rpartition(":")[2])
        # Names stand for this machine: the proxy resolves them, not the bridge.
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        connectProtocol(endpoint, Relay(self.transport)).addCallback(self.through)

    def through(self, relay):
        self.beyond = relay.transport
        # Split, as a network may.
        self.transport.write(b"HTTP/1.1 200 Connection ")
        self.transport.write(b"established\r\nVia: test\r\n\r\n")

    def connectionLost(self, reason):
        self.gone = True
        if self.beyond is not None:
            self.beyond.loseConnection()


class Silent(Protocol):
    def connectionMade(self):
        self.factory.connections.append(self)

    def connectionLost(self, reason):
        self.gone = True
        self.factory.lost.callback(None)


class Server(Factory):
    noisy = False

    def __init__(self, protocol, *, tls=None, interface="127.0.0.1", answer=None):
        from twisted.internet import reactor

        self.protocol = protocol
        self.answer = answer
        self.connections, self.heads = [], []
        self.lost = Deferred()
        listening = reactor.listenTCP if tls is None else lambda *a, **k: reactor.listenSSL(a[0], a[1], tls, **k)
        self._listening = listening(0, self, interface=interface)
        self.port = self._listening.getHost().port

    async def stop(self):
        await self._listening.stopListening()
        for connection in self.connections:
            if not getattr(connection, "gone", False):
                connection.transport.abortConnection()


async def ask(url, **settings):
    """Return what the upstream says to two requests after one another, and close."""
    from twisted.internet import reactor

    client = ChatClient(Settings(upstream_url=url, **settings), reactor)
    said = []
    try:
        for _ in range(2):
            response = await client.post(BODY, {})
            said.append(await collect(response, 1000))
    finally:
        await client.close()
    return said


async def refused(url, **settings):
    with pytest.raises(Exception) as caught:
        await ask(url, **settings)
    return connection_error(Failure(caught.value), url)


@pytest.fixture(scope="module")
def authority():
    return Authority()


# --- TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_an_authority_of_ones_own(authority, tmp_path, host):
    server = Server(Answering, tls=authority.options(host))
    assert await ask(f"https://{host}:{server.port}/v1", ca_file=authority.write(tmp_path)) == [b"OK", b"OK"]
    await server.stop()
    assert len(server.connections) == 1


@pytest_twisted.ensureDeferred
async def test_without_it_or_for_another_name_there_is_no_connection(authority, tmp_path):
    server = Server(Answering, tls=authority.options("localhost"))
    url = f"https://localhost:{server.port}/v1"
    unknown = await refused(url)
    assert (unknown.status, unknown.code) == (502, "upstream_tls_error")
    other = await refused(url, ca_file=Authority("Another").write(tmp_path))
    assert other.code == "upstream_tls_error"
    wrong = await refused(url.replace("localhost", "127.0.0.1"), ca_file=authority.write(tmp_path))
    assert wrong.code == "upstream_tls_error"
    await server.stop()
    assert server.heads == []


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_hangs_costs_the_connect_timeout():
    server = Server(Silent)
    error = await refused(f"https://localhost:{server.port}/v1", connect_timeout=0.3, first_byte_timeout=600)
    assert error.status == 504
    assert error.message == f"The upstream localhost:{server.port} did not finish the TLS handshake within 0.3 seconds."
    await server.lost  # and the connection is closed
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_that_speaks_no_tls():
    server = Server(Plain)
    error = await refused(f"https://localhost:{server.port}/v1")
    assert error.code == "upstream_tls_error"
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_cancelling_during_the_handshake_closes_the_connection():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    server = Server(Silent)
    client = ChatClient(Settings(upstream_url=f"https://localhost:{server.port}/v1"), reactor)
    waiting = client.post(BODY, {})
    waiting.addErrback(lambda failure: None)
    while not server.connections:
        await deferLater(reactor, 0, lambda: None)
    waiting.cancel()
    await server.lost
    await server.stop()


# --- IPv6


@pytest_twisted.ensureDeferred
async def test_an_address_of_ip_version_6(authority, tmp_path):
    try:
        server = Server(Answering, interface="::1")
    except CannotListenError:
        pytest.skip("no IPv6 here")
    assert await ask(f"http://[::1]:{server.port}/v1") == [b"OK", b"OK"]
    await server.stop()
    assert f"Host: [::1]:{server.port}" in server.heads[0]


# --- a proxy


@pytest_twisted.ensureDeferred
async def test_a_plain_upstream_through_a_proxy():
    proxy, server = Server(Connecting), Server(Answering)
    url = f"http://api.example.test:{server.port}/v1"
    assert await ask(url, proxy=read_proxy(f"http://127.0.0.1:{proxy.port}")) == [b"OK", b"OK"]
    (head,) = proxy.heads  # the second request took the same tunnel
    assert head.startswith(
        f"CONNECT api.example.test:{server.port} HTTP/1.1\r\nHost: api.example.test:{server.port}\r\n"
    )
    assert "authorization" not in head.lower()
    assert "proxy-authorization" not in server.heads[0].lower()
    await proxy.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_tls_upstream_through_a_proxy_with_a_password(authority, tmp_path):
    proxy, server = Server(Connecting), Server(Answering, tls=authority.options("api.example.test"))
    url = f"https://api.example.test:{server.port}/v1"
    through = read_proxy(f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
    assert "p@ss" not in repr(through)
    assert await ask(url, proxy=through, ca_file=authority.write(tmp_path)) == [b"OK", b"OK"]
    (head,) = proxy.heads
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'ann:p@ss').decode()}\r\n" in head
    assert "example.test" in head
    await proxy.stop()
    await server.stop()


@pytest.mark.parametrize(
    ("answer", "said", "code"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407 Proxy Authentication Required", 1),
        (b"HTTP/1.1 503\r\n\r\n", "it answered 503", 2),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not answer as an HTTP proxy", 1),
        (b"x" * 20000, "does not answer as an HTTP proxy", 1),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_refuses(answer, said, code):
    proxy = Server(Connecting, answer=answer)
    error = await refused(
        "https://api.example.test/v1", proxy=read_proxy(f"http://u:secret-word@127.0.0.1:{proxy.port}")
    )
    assert (error.status, error.code) == (502, "upstream_proxy_error")
    assert said in error.message
    assert f"The proxy 127.0.0.1:{proxy.port} did not connect to the upstream api.example.test" in error.message
    assert "secret-word" not in error.message
    assert error.kind.value == ("invalid" if code == 1 else "unavailable")
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_says_nothing_costs_the_connect_timeout():
    proxy = Server(Silent)
    error = await refused(
        "http://api.example.test/v1", proxy=read_proxy(f"127.0.0.1:{proxy.port}"), connect_timeout=0.3
    )
    assert error.status == 504
    assert error.message == f"The proxy 127.0.0.1:{proxy.port} did not let the connection through within 0.3 seconds."
    await proxy.lost
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_not_there():
    proxy = Server(Silent)
    await proxy.stop()
    error = await refused("http://api.example.test/v1", proxy=read_proxy(f"http://127.0.0.1:{proxy.port}"))
    assert error.code == "upstream_proxy_error"
    assert "no connection to it" in error.message


@pytest_twisted.ensureDeferred
async def test_a_proxy_behind_tls(authority, tmp_path, monkeypatch):
    # The proxy's certificate is checked with the system's authorities, of which the test makes its own one.
    monkeypatch.setenv("SSL_CERT_FILE", authority.write(tmp_path))
    proxy = Server(Connecting, tls=authority.options("localhost"))
    server = Server(Answering, tls=authority.options("api.example.test"))
    url = f"https://api.example.test:{server.port}/v1"
    assert await ask(url, proxy=read_proxy(f"https://localhost:{proxy.port}")) == [b"OK", b"OK"]
    await proxy.stop()
    await server.stop()
