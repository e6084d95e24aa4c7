"""The treq client: one pool of kept connections to the upstream's chat/completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from chatbridge import __version__
from chatbridge.protocol import codex
from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.upstream.agent import LeanAgent, Pool
from chatbridge.upstream.endpoint import Endpoints, policy
from chatbridge.upstream.fault import never_answered
from chatbridge.upstream.headers import PlainHeaders
from chatbridge.upstream.keys import Key
from chatbridge.upstream.payload import Whole
from chatbridge.vendors.profile import profile_for

FORWARDED = ("openai-organization", "openai-project", "x-openai-subagent", codex.TURN_STATE)
"""The client's headers that go upstream; no other does."""
_NOTHING: Mapping[str, str] = {}


@implementer(IAgent)
class _Identity:
    """Asks for an answer that is not compressed: compressing proxies hold events back."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None) -> Any:
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer)


class _NoCookies(CookieJar):
    """Keeps and sends none: one client's session is not another's. And looks for none, which takes time."""

    def add_cookie_header(self, request: Any) -> None:
        pass

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _Address(EncodedURL):
    """A URL that is encoded already, which treq would do again for each request: a tenth of its time."""

    text = ""

    def to_uri(self) -> _Address:
        return self

    def to_text(self, with_password: bool = False) -> str:  # noqa: ARG002 - hyperlink's interface
        return self.text


@lru_cache(maxsize=64)
def address(url: str) -> Any:
    """Return *url* for treq, which makes the same request of it as of the text."""
    parsed = EncodedURL.from_text(url)
    # hyperlink takes an IPv6 address for a name, and refuses its colons.
    text = url if ":" in parsed.host else parsed.to_uri().to_text()
    made: Any = _Address.from_text(text)
    made.text = text
    return made


class ChatClient:
    """Sends chat/completions requests. :attr:`url` is the full address, and may be set later (practice)."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.url = settings.upstream_url
        self._key = settings.api_key
        self._profile = settings.profile or profile_for(settings.upstream_url)
        self._forwarded = (*FORWARDED, *settings.forward_headers)
        self._pool = Pool(reactor)
        endpoints = Endpoints(reactor, settings.connect_timeout, policy(settings.ca_file), proxy=settings.proxy)
        self._agent = LeanAgent(endpoints, self._pool)
        jar: Any = _NoCookies()
        self._no_cookies = jar
        self._treq = HTTPClient(_Identity(self._agent), cookiejar=jar, data_to_body_producer=Whole)

    def post(
        self, body: bytes, headers: Mapping[str, str], *, key: Key | None = None, forward: Sequence[str] = ()
    ) -> Deferred[Any]:
        """Send *body* (JSON) with *key*, or the upstream's first one.

        *headers* are the client's, of which only :data:`FORWARDED`, the configured ones and *forward* go on.

        Fires with the response as soon as its head is there. A kept connection that turns out dead before a byte
        came is retried once, on a new one. Cancelling closes the connection.
        """
        sent = self._headers(key.secret if key is not None else self._key, headers, forward)
        sent.setRawHeaders("content-type", ["application/json"])
        sent.setRawHeaders("accept", ["text/event-stream"])
        answered = self._send(body, sent)
        if self._agent.reused:
            answered.addErrback(self._again, body, sent)
        return answered

    def get(self, url: str, *, key: Key | None = None) -> Deferred[Any]:
        """Ask for *url*, which is one of the upstream's, with *key* or its first one. Fires with the response."""
        sent = self._headers(key.secret if key is not None else self._key)
        sent.setRawHeaders("accept", ["application/json"])
        answered: Deferred[Any] = self._treq.request(
            "GET", address(url), headers=sent, allow_redirects=False, unbuffered=True
        )
        return answered

    def _headers(self, key: Secret, headers: Mapping[str, str] = _NOTHING, forward: Sequence[str] = ()) -> Headers:
        sent = PlainHeaders()
        sent.setRawHeaders("user-agent", [f"chatbridge/{__version__}"])
        for name in (*self._forwarded, *forward):
            if name in headers:
                sent.setRawHeaders(name, [headers[name]])
        # The daemon's own last: no client's header stands in their place.
        for name, value in self._profile.headers.items():
            sent.setRawHeaders(name, [value])
        if key:
            sent.setRawHeaders(self._profile.key_header, [f"{self._profile.key_scheme} {key.reveal()}".strip()])
        return sent

    def _send(self, body: bytes, headers: Headers) -> Deferred[Any]:
        answered: Deferred[Any] = self._treq.request(
            "POST",
            address(self.url),
            headers=headers,
            data=body,
            cookies=self._no_cookies,
            allow_redirects=False,
            unbuffered=True,
        )
        return answered

    def _again(self, failure: Failure, body: bytes, headers: Headers) -> Deferred[Any] | Failure:
        if not never_answered(failure):
            return failure
        # Its neighbours in the pool are as old: start afresh.
        self._pool.clear()
        return self._send(body, headers)

    def close(self) -> Deferred[Any]:
        """Close the kept connections."""
        closed: Deferred[Any] = self._pool.close()
        return closed
