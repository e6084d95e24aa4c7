"""SearXNG as a search engine, and what any search engine does here."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from chatbridge import __version__
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import loads
from chatbridge.protocol.websearch import Query, Result, within
from chatbridge.upstream.body import collect

PATIENCE = 10.0
"""Seconds for a search."""
SIZE = 2 * 1024 * 1024

_RANGES = ((1, "day"), (31, "month"), (365, "year"))
"""What SearXNG knows, by the days that it covers."""


class SearchEngine(Protocol):
    """Looks for pages."""

    def search(self, query: Query, limit: int) -> Deferred[list[Result]]:
        """Fire with at most *limit* results. Fails with an :class:`ApiError` whose text the model is told."""


class SearXNG:
    """The instance at *url*. Nothing goes there but the query, its domains and its age."""

    def __init__(self, url: str, reactor: Any) -> None:
        self._url = url.rstrip("/").removesuffix("/search") + "/search"
        self._reactor = reactor
        self._agent = Agent(reactor, connectTimeout=PATIENCE)

    def search(self, query: Query, limit: int) -> Deferred[list[Result]]:
        sites = " OR ".join(f"site:{domain}" for domain in query.domains)
        asked = {"q": f"{query.q} {sites}".strip(), "format": "json"}
        age = next((name for days, name in _RANGES if 0 < query.recency <= days), None)
        if age is not None:
            asked["time_range"] = age
        headers = Headers()
        headers.setRawHeaders(b"user-agent", [f"chatbridge/{__version__}".encode()])
        headers.setRawHeaders(b"accept", [b"application/json"])
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        answered = self._agent.request(b"GET", f"{self._url}?{urlencode(asked)}".encode("ascii"), headers)
        found: Deferred[list[Result]] = answered.addCallback(_read).addCallback(_results, query, limit)
        found.addTimeout(PATIENCE, self._reactor, _late)
        return found.addErrback(_failed)


def _read(response: Any) -> Any:
    return collect(response, SIZE).addCallback(lambda body: (response.code, body))


def _results(answer: tuple[int, bytes], query: Query, limit: int) -> list[Result]:
    status, body = answer
    if status == 403:
        raise ApiError(502, "the search engine refuses (403): its settings must list json under search.formats")
    if status == 429:
        raise ApiError(502, "the search engine takes no more for now (429): its limiter must allow this server")
    if status != 200:
        raise ApiError(502, f"the search engine answered {status}")
    try:
        value = loads(body)
    except ValueError:
        raise ApiError(502, "the search engine did not answer JSON") from None
    entries = value.get("results") if isinstance(value, dict) else None
    found: list[Result] = []
    for entry in entries if isinstance(entries, list) else ():
        url = entry.get("url") if isinstance(entry, dict) else None
        if not isinstance(url, str) or not url.startswith(("http://", "https://")) or len(url) > 2000:
            continue
        if _fits(url, query) and all(url != one.url for one in found):
            found.append(Result(str(entry.get("title") or ""), url, str(entry.get("content") or "")))
    return found[:limit]


def _fits(url: str, query: Query) -> bool:
    try:
        return within(url, query.domains)  # not all of its engines honour the domains
    except ValueError:
        return False


def _late(_result: Any, seconds: float) -> Any:
    raise ApiError(504, f"the search engine took longer than {seconds:g} s")


def _failed(failure: Failure) -> Failure:
    if isinstance(failure.value, ApiError):
        return failure
    raise ApiError(502, f"the search engine cannot be reached ({type(failure.value).__name__})") from None
