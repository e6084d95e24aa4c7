"""How connections to an upstream are made: TCP, through a proxy where there is one, and TLS, within one time limit.

Twisted's own endpoints call a TLS connection made when its TCP connection is, and know no ``CONNECT``. These hand the
connection over when it is ready for the first byte of a request, so that a handshake that hangs, or a proxy that does
not answer, costs the connect timeout and not the one for the first byte. An agent of any kind takes
:class:`Endpoints` (``Agent.usingEndpointFactory``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from chatbridge import __version__
from chatbridge.service.certificates import trust_of
from chatbridge.service.proxy import Proxy
from chatbridge.upstream.fault import NotReady, ProxyError

_HEAD_LIMIT = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: ([^\r\n]*))?")


def policy(ca_file: str | None) -> Any:
    """Return the policy for an upstream whose certificate one of the authorities in *ca_file* signed; None is None."""
    return None if ca_file is None else BrowserLikePolicyForHTTPS(trust_of(ca_file))


@implementer(IAgentEndpointFactory)
class Endpoints:
    """*connect_timeout* (seconds) is for all of a connection; *policy* says which certificates are good.

    Without one those are that the system's authorities have signed. Each name is tried with all its addresses.
    """

    def __init__(self, reactor: Any, connect_timeout: float, policy: Any = None, *, proxy: Proxy | None = None) -> None:
        self._reactor = reactor
        self._timeout = connect_timeout
        self._proxy = proxy
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint. Raises Twisted's ``SchemeNotSupported``."""
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        tls = None
        if uri.scheme == b"https":
            if self._policy is None:
                self._policy = BrowserLikePolicyForHTTPS()  # reads the system's certificates
            tls = self._policy.creatorForNetloc(uri.host, uri.port)
        return _Endpoint(self._reactor, self._timeout, uri.host.decode("ascii"), uri.port, tls=tls, proxy=self._proxy)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, reactor: Any, timeout: float, host: str, port: int, *, tls: Any, proxy: Proxy | None) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._host = host
        self._port = port
        self._tls = tls
        self._proxy = proxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fire with the agent's protocol when a request can be sent on it. Cancelling closes the connection."""
        phase = _Phase()
        made = Deferred.fromCoroutine(self._connect(protocolFactory, phase))
        # HostnameEndpoint's own limit is for each of a name's addresses; this one is for all.
        made.addTimeout(self._timeout, self._reactor, lambda _result, seconds: phase.too_late(seconds))
        return made

    async def _connect(self, factory: Any, phase: _Phase) -> Any:
        proxy = self._proxy
        if self._tls is None and proxy is None:
            return _direct(await self._tcp(self._host, self._port).connect(factory))
        connected: list[Any] = []
        ready: Deferred[Any] = Deferred(lambda _: connected[0].transport.abortConnection() if connected else None)
        outer: Any = _Last(factory, ready)
        if self._tls is not None:
            outer = TLSMemoryBIOFactory(self._tls, True, _Secured(factory, ready))
        if proxy is None:
            phase.text = "did not finish the TLS handshake"
            connected.append(_direct(await self._tcp(self._host, self._port).connect(outer)))
            return await ready
        phase.proxy, phase.text = proxy.name, "did not let the connection through"
        outer = _Through(outer, ready, proxy, self._host, self._port)
        if proxy.tls:
            # The proxy's own certificate is the system's business: ca_file is the upstream's.
            creator = BrowserLikePolicyForHTTPS().creatorForNetloc(proxy.host.encode("ascii"), proxy.port)
            outer = TLSMemoryBIOFactory(creator, True, outer)
        try:
            connected.append(_direct(await self._tcp(proxy.host, proxy.port).connect(outer)))
        except (ConnectError, DNSLookupError) as error:
            raise ProxyError(proxy.name, f"no connection to it ({error})", passing=True) from None
        return await ready

    def _tcp(self, host: str, port: int) -> HostnameEndpoint:
        return HostnameEndpoint(self._reactor, host, port, timeout=self._timeout)


def _direct(protocol: Any) -> Any:
    """Have a connected *protocol*'s transport call it itself, and not by way of the one that waited for the connection.

    Twisted's endpoints leave that one in between, a call for each read. It is known by a name that is not public; one
    that is not is left alone.
    """
    transport = protocol.transport
    if getattr(getattr(transport, "protocol", None), "_wrappedProtocol", None) is protocol:
        transport.protocol = protocol
    return protocol


class _Phase:
    """What is waited for."""

    text = "did not accept the connection"
    proxy = ""

    def too_late(self, seconds: float) -> Any:
        raise NotReady(self.text, seconds, self.proxy) from None


class _Handover(Protocol):
    """Stands in for a protocol until the connection is ready for it; from then on costs nothing."""

    def __init__(self, factory: Any, address: Any, ready: Deferred[Any]) -> None:
        self._factory = factory
        self._address = address
        self._ready = ready

    def hand_over(self) -> Any:
        """Give the connection to a protocol of the factory's, which is returned."""
        real = self._factory.buildProtocol(self._address)
        real.makeConnection(self.transport)
        # As attributes of the instance, which is where the transport looks them up. After makeConnection, in which a
        # protocol that is a stand-in too puts up its own.
        self.dataReceived = real.dataReceived  # type: ignore[method-assign]
        self.connectionLost = real.connectionLost  # type: ignore[method-assign]
        return real

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._ready.called:
            self._ready.errback(reason)


class _Ready(_Handover):
    """Ready as soon as there is a transport."""

    def connectionMade(self) -> None:
        self._ready.callback(self.hand_over())


@implementer(IHandshakeListener)
class _AfterHandshake(_Handover):
    """Ready when the TLS handshake is over and the certificate is found good."""

    def handshakeCompleted(self) -> None:
        if not self._ready.called:
            self._ready.callback(self.hand_over())


class _AfterConnect(_Handover):
    """Asks a proxy to ``CONNECT``, and lets the next protocol go on when it has."""

    def __init__(self, factory: Any, address: Any, ready: Deferred[Any], request: bytes, proxy: str) -> None:
        super().__init__(factory, address, ready)
        self._request = request
        self._proxy = proxy
        self._head = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) < _HEAD_LIMIT:
            return
        status = _STATUS.match(head)
        if not end or status is None:
            self._fail(ProxyError(self._proxy, "it does not answer as an HTTP proxy"))
        elif not status[1].startswith(b"2"):
            text = b" ".join(part for part in status.groups() if part).decode("latin-1")[:200]
            self._fail(ProxyError(self._proxy, f"it answered {text}", passing=status[1].startswith(b"5")))
        else:
            real = self.hand_over()
            if rest:
                real.dataReceived(rest)

    def _fail(self, error: ProxyError) -> None:
        transport: Any = self.transport
        if not self._ready.called:
            self._ready.errback(Failure(error))
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._ready.called:
            why = f"it closed the connection ({reason.getErrorMessage()})"
            self._ready.errback(Failure(ProxyError(self._proxy, why, passing=True)))


class _Handovers(Factory):
    noisy = False
    make: Callable[..., _Handover]

    def __init__(self, factory: Any, ready: Deferred[Any]) -> None:
        self._factory = factory
        self._ready = ready

    def buildProtocol(self, addr: Any) -> Any:
        return type(self).make(self._factory, addr, self._ready)


class _Last(_Handovers):
    make = _Ready


class _Secured(_Handovers):
    make = _AfterHandshake


class _Through(_Handovers):
    def __init__(self, factory: Any, ready: Deferred[Any], proxy: Proxy, host: str, port: int) -> None:
        super().__init__(factory, ready)
        self._proxy = proxy
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def buildProtocol(self, addr: Any) -> Any:
        lines = [
            f"CONNECT {self._target} HTTP/1.1",
            f"Host: {self._target}",
            f"User-Agent: chatbridge/{__version__}",
        ]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization.reveal()}")
        request = "\r\n".join([*lines, "", ""]).encode("ascii")
        return _AfterConnect(self._factory, addr, self._ready, request, self._proxy.name)
