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

from chatbridge import __version__
from chatbridge.protocol import codex
from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.upstream.agent import LeanAgent, Pool
from chatbridge.upstream.endpoint import Endpoints, policy
from chatbridge.upstream.fault import never_answered
from chatbridge.upstream.headers import SentHeaders
from chatbridge.upstream.keys import Key
from chatbridge.upstream.payload import Whole
from chatbridge.vendors.profile import profile_for

FORWARDED = ("openai-organization", "openai-project", "x-openai-subagent", codex.TURN_STATE)
"""The client's headers that go upstream; no other does."""
_EVENTS = (("content-type", "application/json"), ("accept", "text/event-stream"))
_JSON = (("accept", "application/json"),)


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
        self._reactor = reactor
        jar: Any = _NoCookies()
        self._no_cookies = jar
        self._treq = HTTPClient(self._agent, cookiejar=jar, data_to_body_producer=Whole)
        # What one request's headers differ in from the next one's is the few that go on, if there are any.
        self._headers = lru_cache(maxsize=64)(self._make_headers)

    def post(
        self, body: bytes, headers: Mapping[str, str], *, key: Key | None = None, forward: Sequence[str] = ()
    ) -> Deferred[Any]:
        """Send *body* (JSON) with *key*, or the upstream's first one.

        *headers* are the client's, of which only :data:`FORWARDED`, the configured ones and *forward* go on.

        Fires with the response as soon as its head is there. A kept connection that turns out dead before a byte
        came is retried once, on a new one. Cancelling closes the connection.
        """
        names = (*self._forwarded, *forward) if forward else self._forwarded
        going_on = tuple([(name, headers[name]) for name in names if name in headers])
        sent = self._headers(key.secret if key is not None else self._key, _EVENTS, going_on)
        answered = self._request("POST", self.url, sent, body)
        if self._agent.reused:
            answered.addErrback(self._again, body, sent)
        return answered

    def get(self, url: str, *, key: Key | None = None) -> Deferred[Any]:
        """Ask for *url*, which is one of the upstream's, with *key* or its first one. Fires with the response."""
        sent = self._headers(key.secret if key is not None else self._key, _JSON)
        return self._request("GET", url, sent)

    def _make_headers(
        self, key: Secret, wanted: tuple[tuple[str, str], ...], going_on: tuple[tuple[str, str], ...] = ()
    ) -> SentHeaders:
        named = {"user-agent": f"chatbridge/{__version__}"}
        # The daemon's own last: no client's header stands in their place.
        for name, value in (*going_on, *self._profile.headers.items()):
            named[name.lower()] = value
        if key:
            named[self._profile.key_header.lower()] = f"{self._profile.key_scheme} {key.reveal()}".strip()
        # Not compressed: compressing proxies hold events back.
        return SentHeaders({**named, **dict(wanted), "accept-encoding": "identity"})

    def _request(self, method: str, url: str, headers: SentHeaders, data: bytes | None = None) -> Deferred[Any]:
        answered: Deferred[Any] = self._treq.request(
            method,
            address(url),
            headers=headers,
            data=data,
            cookies=self._no_cookies,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,  # or it is imported each time
        )
        return answered

    def _again(self, failure: Failure, body: bytes, headers: SentHeaders) -> Deferred[Any] | Failure:
        if not never_answered(failure):
            return failure
        # Its neighbours in the pool are as old: start afresh.
        self._pool.clear()
        return self._request("POST", self.url, headers, body)

    def close(self) -> Deferred[Any]:
        """Close the kept connections."""
        closed: Deferred[Any] = self._pool.close()
        return closed
