"""POST /v1/alpha/search: the web search that Codex asks its provider for, beside the model.

What goes wrong is told in the output, with status 200: an error would cost Codex its retries, and tell the model less.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.page import find, window
from chatbridge.protocol.websearch import (
    SNIPPET,
    Open,
    Query,
    Result,
    SearchRequest,
    framed,
    read_search,
    shown,
    unmarked,
)
from chatbridge.upstream.searxng import SearchEngine
from chatbridge.upstream.webpage import WebPages
from chatbridge.web.body import read_json
from chatbridge.web.resource import JsonResource, run, write_json

UNAVAILABLE = (
    "Web search is not available here: this server has no search engine. Do not try again; go on with what you know "
    "and what is on this machine, and tell the user what you could not look up."
)
NOT_LIVE = (
    'Live access to the web is off. Do not try again; tell the user that web_search="live" in Codex\'s configuration '
    "turns it on."
)
FRESH_SECONDS = 600.0
PER_MINUTE = 30
"""Searches and pages of all clients together."""
_SEARCHES, _PAGES, _THREADS, _REFS = 200, 20, 200, 200

V = TypeVar("V")
_log = Logger()


class Kept(Generic[V]):
    """At most *count* values, each for :data:`FRESH_SECONDS`."""

    def __init__(self, count: int, seconds: Callable[[], float]) -> None:
        self._count = count
        self._seconds = seconds
        self._values: OrderedDict[Any, tuple[float, V]] = OrderedDict()

    def get(self, key: Any) -> V | None:
        """Return what is kept, while it is fresh."""
        since, value = self._values.get(key, (float("-inf"), None))
        return value if self._seconds() - since < FRESH_SECONDS else None

    def put(self, key: Any, value: V) -> V:
        """Keep *value*, and return it."""
        self._values[key] = self._seconds(), value
        self._values.move_to_end(key)
        while len(self._values) > self._count:
            self._values.popitem(last=False)
        return value


class Thread:
    """One conversation's references: what ``turn0search1`` stands for."""

    def __init__(self) -> None:
        self._turn = 0
        self._pages: OrderedDict[str, str] = OrderedDict()

    def turn(self) -> int:
        """Return the number of a new request."""
        self._turn += 1
        return self._turn - 1

    def add(self, ref: str, url: str) -> None:
        """Remember *ref*."""
        self._pages[ref] = url
        while len(self._pages) > _REFS:
            self._pages.popitem(last=False)

    def url(self, page: str) -> str:
        """Return the address that *page*, a reference or an address, stands for. Raises :class:`ApiError`."""
        found = self._pages.get(page, page)
        if not found.startswith(("http://", "https://")):
            raise ApiError(400, f"nothing here is called {shown(page, 60)!r} (any more); search again")
        return found

    def named(self, url: str) -> bool:
        """Whether *url* was found for this conversation."""
        return url in self._pages.values()


class WebSearch:
    """Runs searches with *engine* and *pages*.

    *opens* says which pages may be opened: ``results`` that a search found, ``any``, or ``none``. *cached* searches
    also for a client that rules live access out.
    """

    def __init__(
        self, engine: SearchEngine, pages: WebPages, seconds: Callable[[], float], *, opens: str, cached: bool
    ) -> None:
        self._engine = engine
        self._pages = pages
        self._seconds = seconds
        self._opens = opens
        self._cached = cached
        self._searches: Kept[list[Result]] = Kept(_SEARCHES, seconds)
        self._read: Kept[tuple[str, str, list[str]]] = Kept(_PAGES, seconds)
        self._threads: OrderedDict[tuple[str, str], Thread] = OrderedDict()
        self._allowance = float(PER_MINUTE)
        self._since = seconds()

    def run(self, asked: SearchRequest, owner: str) -> Deferred[dict[str, Any]]:
        """Fire with the answer for *owner*: ``output`` and ``results``."""
        if not asked.live and not self._cached:
            return succeed({"output": NOT_LIVE, "results": []})
        thread = self._thread(owner, asked.thread)
        number = thread.turn()
        limit = asked.limit // max(len(asked.commands), 1)
        jobs = [
            self._command(command, _Place(thread, number, index, asked.results, limit))
            for index, command in enumerate(asked.commands)
        ]
        done: Deferred[Any] = DeferredList(jobs, consumeErrors=True)
        return done.addCallback(_composed, asked)

    def _thread(self, owner: str, name: str) -> Thread:
        thread = self._threads.setdefault((owner, name), Thread())
        self._threads.move_to_end((owner, name))
        while len(self._threads) > _THREADS:
            self._threads.popitem(last=False)
        return thread

    def _command(self, command: Query | Open, place: _Place) -> Deferred[_Block]:
        return Deferred.fromCoroutine(
            self._search(command, place) if isinstance(command, Query) else self._open(command, place)
        )

    async def _search(self, query: Query, place: _Place) -> _Block:
        key = (query, place.results)
        found = self._searches.get(key)
        if found is None:
            self._spend()
            found = self._searches.put(key, await self._engine.search(query, place.results))
        return place.searched(query, found)

    async def _open(self, command: Open, place: _Place) -> _Block:
        url = place.thread.url(command.page).partition("#")[0]
        if self._opens == "none":
            raise ApiError(400, "pages are not opened here")
        if self._opens != "any" and not place.thread.named(url):
            raise ApiError(400, f"{shown(url, 200)} was not opened: only pages that a search has found are")
        page = self._read.get(url)
        if page is None:
            self._spend()
            try:
                page = self._read.put(url, await self._pages.fetch(url))
            except ApiError as error:
                raise ApiError(error.status, f"{shown(url, 200)} was not opened: {error.message}") from None
        return place.opened(command, *page)

    def _spend(self) -> None:
        now = self._seconds()
        self._allowance = min(float(PER_MINUTE), self._allowance + (now - self._since) * PER_MINUTE / 60)
        self._since = now
        if self._allowance < 1:
            raise ApiError(429, f"more than {PER_MINUTE} searches a minute; wait a moment")
        self._allowance -= 1


class _Block:
    """What one command found: a text, and results."""

    def __init__(self, text: str, results: list[dict[str, str]]) -> None:
        self.text = text
        self.results = results


class _Place:
    """Where one command's findings go: *number* is its request's, *index* its own."""

    def __init__(self, thread: Thread, number: int, index: int, results: int, limit: int) -> None:
        self.thread = thread
        self.results = results
        self._number = number
        self._index = index
        self._limit = limit

    def searched(self, query: Query, found: list[Result]) -> _Block:
        results = []
        lines = [f"Search: {shown(query.q, 400)}"]
        for count, result in enumerate(found):
            ref = f"turn{self._number}search{self._index * 10 + count}"
            self.thread.add(ref, result.url.partition("#")[0])
            told = {
                "ref_id": ref,
                "url": shown(result.url, 2000),
                "title": shown(result.title, 200),
                "snippet": shown(result.snippet, SNIPPET),
            }
            results.append(told)
            lines.append(f"\n[{ref}] {told['title']}\n{told['url']}\n{told['snippet']}")
        return _Block("\n".join(lines if found else [*lines, "Nothing was found."]), results)

    def opened(self, command: Open, url: str, title: str, lines: list[str]) -> _Block:
        ref = f"turn{self._number}view{self._index}"
        self.thread.add(ref, url)
        title = shown(title, 200)
        head = f"[{ref}] {title}\n{shown(url, 2000)}\n"
        room = max(self._limit - len(head) - 300, 200)
        text = find(lines, command.pattern, room) if command.pattern else window(lines, command.line, room)
        result = {"ref_id": ref, "url": shown(url, 2000), "title": title, "snippet": ""}
        return _Block(head + unmarked(text), [result])


def _composed(outcomes: list[tuple[bool, Any]], asked: SearchRequest) -> dict[str, Any]:
    blocks, remarks, results = [], [], []
    for good, outcome in outcomes:
        if good:
            blocks.append(outcome.text)
            results += outcome.results
        else:
            remarks.append(_reason(outcome))
    return {"output": framed(blocks, [*remarks, *asked.remarks], asked.limit), "results": results}


def _reason(failure: Failure) -> str:
    if isinstance(failure.value, ApiError):
        return f"Failed: {failure.value.message}."
    _log.failure("a search failed inside chatbridge", failure)
    return "Failed: the server's log says why."


class Search(JsonResource):
    """Answers with *search*; None says that there is none."""

    def __init__(self, max_request_bytes: int, search: WebSearch | None = None) -> None:
        super().__init__()
        self._limit = max_request_bytes
        self._search = search

    def render_POST(self, request: Any) -> int:
        data = request.content.read() if request.content is not None else b""
        value = read_json(request.requestHeaders, data, self._limit)
        if self._search is None:
            write_json(request, 200, {"output": UNAVAILABLE, "results": []})
            return NOT_DONE_YET
        return run(request, self._answer(request, self._search, read_search(value)))

    async def _answer(self, request: Any, search: WebSearch, asked: SearchRequest) -> None:
        try:
            answer = await search.run(asked, request.client_name)
        except Exception:  # noqa: BLE001 - a 500 would cost Codex its retries
            answer = {"output": _reason(Failure()), "results": []}
        write_json(request, 200, answer)
