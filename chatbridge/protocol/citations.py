"""Sources of an answer, and what was searched for: any vendor's JSON → plain facts (quirk S40).

Vendors put them beside the text, in places and shapes of their own. Nothing here raises, whatever the JSON holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chatbridge.protocol.jsontext import loads, object_or_none

Beside = tuple[str, Any]
"""(where it stood, what stood there): a key of :data:`KEYS`, ``results`` of a call, or what a ``tool`` answered."""

KEYS = (
    "citations",
    "search_results",
    "search_info",
    "web_search",
    "references",
    "annotations",
    "executed_tools",
)
"""The keys beside the text that hold sources; in the chunk, in a choice or in its message."""

nothing_beside = frozenset((*KEYS, "messages")).isdisjoint
"""Tell whether there is nothing to read in an object, which is so for nearly every chunk."""

_LISTS = ("search_results", "results", "sources", "references", "citations")
# Lists in which the place of a source is the number by which the text calls it.
_NUMBERED = frozenset({"citations", "search_results", "search_info", "web_search", "references"})
_URLS = ("url", "link", "uri", "href")
_QUERIES = (
    "query",
    "queries",
    "q",
    "keyword",
    "keywords",
    "search_query",
    "search_queries",
    "query_list",
    "query_tag",
)
_ORDINAL = re.compile(r"(?:ref_)?([0-9]{1,4})")
_WEB = re.compile(r"(?i)(?<!file_)search|brows|visit|web")
# What stands in "type" of a call that the client is to run.
_FUNCTIONS = frozenset({"", "function", "function_call", "tool", "tool_call", "tool_use", "custom"})

URL_LIMIT = 4096
TITLE_LIMIT = 300
_MARK_LENGTHS = (3, 100)


@dataclass(slots=True)
class Source:
    """One source: a web address that the answer rests on."""

    url: str
    title: str = ""
    start: int = -1
    end: int = -1
    """The span of the text that it belongs to, as the vendor gave it; it need not fit."""
    number: int = 0
    """The number by which the text calls it, 0 where it has none."""
    mark: str = ""
    """The very words by which the text calls it."""


def read_beside(value: dict[str, Any]) -> list[Beside]:
    """Return what stands under :data:`KEYS` in *value*."""
    return [(key, value[key]) for key in KEYS if value.get(key)]


def read_messages(choice: dict[str, Any]) -> list[Beside]:
    """Return what a choice's ``messages`` tell of the way to the answer (MiniMax); they repeat its text."""
    messages = choice.get("messages")
    told = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    return [found for message in told for found in (*read_beside(message), *_ran(message))]


def _ran(message: dict[str, Any]) -> list[Beside]:
    """The vendor's own calls, and what they found."""
    if message.get("role") == "tool":
        return [("tool", message.get("content"))]
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else ()
    return [("executed_tools", call) for call in calls if isinstance(call, dict) and hosted(call.get("type"))]


def hosted(kind: Any) -> str:
    """Return the ``type`` of a tool call that is not for the client, empty for a function's."""
    return kind if isinstance(kind, str) and kind.lower() not in _FUNCTIONS else ""


def is_web(kind: str) -> bool:
    """Tell whether a vendor's tool of this type or name looks into the web."""
    return _WEB.search(kind) is not None


def read_results(call: dict[str, Any]) -> Any:
    """Return what a tool call that the vendor has carried out found, None where it holds no results."""
    function = call.get("function")
    spec = {**call, **function} if isinstance(function, dict) else call
    return next((spec[key] for key in ("results", "search_results", "output") if spec.get(key) is not None), None)


def read_sources(key: str, value: Any) -> list[Source]:
    """Return the sources in *value*, which stood under *key*."""
    sources = []
    for place, entry in enumerate(_entries(value), 1):
        source = _source(entry, marks=key == "annotations")
        if source is not None:
            source.number = source.number or (place if key in _NUMBERED else 0)
            sources.append(source)
    return sources


def read_action(arguments: Any) -> dict[str, Any] | None:
    """Return the ``action`` of a ``web_search_call`` that *arguments* tell, an object or its text; None for none."""
    if isinstance(arguments, str):
        arguments = object_or_none(arguments)
    if not isinstance(arguments, dict):
        return None
    queries = list(dict.fromkeys(query for key in _QUERIES for query in _queries(arguments.get(key))))
    if queries:
        action = {"type": "search", "query": queries[0]}
        return action if len(queries) == 1 else {**action, "queries": queries}
    url = _url(arguments)
    return {"type": "open_page", "url": url} if url else None


def _queries(value: Any) -> Iterator[str]:
    for query in value if isinstance(value, list) else (value,):
        if isinstance(query, dict):
            query = query.get("query") or query.get("q")  # noqa: PLW2901
        if isinstance(query, str) and query.strip():
            yield query.strip()


def _entries(value: Any) -> list[Any]:
    """The list of sources, wherever it hides: in a JSON text, or in an object around it."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = loads(value)
        except ValueError:
            return []
    if isinstance(value, dict):
        lists = (value[key] for key in _LISTS if isinstance(value.get(key), list))
        value = next(lists, value)
    return value if isinstance(value, list) else [value]


def _source(entry: Any, *, marks: bool) -> Source | None:
    if isinstance(entry, str):
        entry = {"url": entry}
    if not isinstance(entry, dict):
        return None
    if isinstance(inner := entry.get("url_citation"), dict):
        entry = {**entry, **inner}
    url = _url(entry)
    if not url:
        return None
    texts = (entry.get(key) for key in ("title", "name", "site_name"))
    title = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    mark = entry.get("text") if marks else None
    return Source(
        url=url,
        title=" ".join(title[:TITLE_LIMIT].split()),
        start=_index(entry, "start_index", "startIndex"),
        end=_index(entry, "end_index", "endIndex"),
        number=next(filter(None, (_ordinal(entry.get(key)) for key in ("index", "refer", "ref"))), 0),
        mark=mark if isinstance(mark, str) and _MARK_LENGTHS[0] <= len(mark) <= _MARK_LENGTHS[1] else "",
    )


def _url(entry: dict[str, Any]) -> str:
    """The first web address; anything else is no source that a client could show."""
    for key in _URLS:
        url = entry.get(key)
        if isinstance(url, str) and host(url := url.strip()) and len(url) <= URL_LIMIT and url.isprintable():
            return url
    return ""


def host(url: str) -> str:
    """Return the host of a web address, empty when *url* is none."""
    try:
        parts = urlsplit(url)
        name = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        return ""
    return name if name and " " not in name else ""


def _index(entry: dict[str, Any], *keys: str) -> int:
    found = (entry.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), -1)


def _ordinal(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return max(value, 0)
    match = _ORDINAL.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else 0
