"""Pages of the public web: fetched so that nobody can make the bridge look into its own network.

A host's name is resolved once, and the connection goes to that very address; so does each redirect's. No proxy is
used: it would resolve the name again. Nothing of a client goes along: no cookie, no key, no referer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from chatbridge import __version__
from chatbridge.protocol.addresses import is_public, page_address
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.page import read_page
from chatbridge.upstream.body import Body, collect

REDIRECTS = 3
SIZE = 1024 * 1024
"""Bytes of a page that are read."""
PATIENCE = 10.0
"""Seconds for a page, redirects included."""

_TEXTS = ("application/json", "application/xhtml+xml", "application/xml", "application/rss+xml", "application/atom+xml")
_MOVED = (301, 302, 303, 307, 308)


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects the addresses of a name."""

    def __init__(self) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Twisted's interface."""

    def addressResolved(self, address: Any) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self._found.append(address.host)

    def resolutionComplete(self) -> None:
        self.done.callback(self._found)


@implementer(IAgentEndpointFactory)
class _Pinned:
    """Connects to *address*, whatever the URL's name is now."""

    def __init__(self, reactor: Any, address: str) -> None:
        self._reactor = reactor
        self._address = address

    def endpointForURI(self, uri: URI) -> Any:
        kind = TCP6ClientEndpoint if ":" in self._address else TCP4ClientEndpoint
        endpoint = kind(self._reactor, self._address, uri.port, timeout=PATIENCE)
        if uri.scheme != b"https":
            return endpoint
        return wrapClientTLS(optionsForClientTLS(uri.host.decode("ascii")), endpoint)


class WebPages:
    """Fetches pages. *public* tells whether an address may be connected to, *place* reads a URL."""

    def __init__(
        self,
        reactor: Any,
        *,
        public: Callable[[str], bool] = is_public,
        place: Callable[[str], tuple[str, str, int]] = page_address,
    ) -> None:
        self._reactor = reactor
        self._public = public
        self._place = place

    def fetch(self, url: str) -> Deferred[tuple[str, str, list[str]]]:
        """Fire with the address that answered at last, title and lines. Fails with an :class:`ApiError`."""
        fetched: Deferred[tuple[str, str, list[str]]] = Deferred.fromCoroutine(self._fetch(url))
        return fetched.addTimeout(PATIENCE, self._reactor, _late)

    async def _fetch(self, url: str) -> tuple[str, str, list[str]]:
        for _ in range(REDIRECTS + 1):
            response = await self._ask(url)
            where = response.headers.getRawHeaders(b"location")
            if response.code not in _MOVED or not where:
                return (url, *await self._read(response))
            _drop(response)
            url = urljoin(url, where[0].decode("latin-1").strip()).partition("#")[0]
        raise ApiError(400, f"more than {REDIRECTS} redirects")

    async def _ask(self, url: str) -> Any:
        _, host, _ = self._place(url)
        addresses = [host] if ":" in host else await self._addresses(host)
        if not addresses:
            raise ApiError(400, "the host's name is not known")
        if not all(map(self._public, addresses)):
            raise ApiError(400, "the host is not on the public internet")
        agent = Agent.usingEndpointFactory(self._reactor, _Pinned(self._reactor, addresses[0]))
        headers = Headers()
        headers.setRawHeaders(b"user-agent", [f"chatbridge/{__version__}".encode()])
        headers.setRawHeaders(b"accept", [b"text/html, text/plain, application/json, text/*;q=0.8"])
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        try:
            return await agent.request(b"GET", url.encode("ascii"), headers)
        except ApiError:
            raise
        except Exception as error:
            raise ApiError(502, f"the host does not answer ({type(error).__name__})") from error

    def _addresses(self, host: str) -> Deferred[list[str]]:
        receiver = _Addresses()
        self._reactor.nameResolver.resolveHostName(receiver, host)
        return receiver.done

    async def _read(self, response: Any) -> tuple[str, list[str]]:
        kind, charset = _content_type(response)
        problem = ""
        if response.code != 200:
            problem = f"the host answered {response.code}"
        elif not (kind.startswith("text/") or kind in _TEXTS):
            problem = f"it is no text but {kind[:60]!r}"
        elif response.headers.getRawHeaders(b"content-encoding", [b"identity"]) != [b"identity"]:
            problem = "it is compressed although that was not asked for"
        if problem:
            _drop(response)
            raise ApiError(502, problem)
        data = await collect(response, SIZE)
        # Reading takes up to seconds for a page that is made to be slow.
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), read_page, data, kind, charset)


def _content_type(response: Any) -> tuple[str, str]:
    value = response.headers.getRawHeaders(b"content-type", [b"text/plain"])[-1].decode("latin-1")
    kind, *parameters = (part.strip() for part in value.split(";"))
    charset = next((text.partition("=")[2].strip("\"' ") for text in parameters if text[:8].lower() == "charset="), "")
    return kind.lower(), charset


def _drop(response: Any) -> None:
    body = Body(lambda _: None, lambda _: None)
    body.stop()
    response.deliverBody(body)


def _late(_result: Any, seconds: float) -> Any:
    raise ApiError(504, f"it took longer than {seconds:g} s")
