"""Web searches that the vendor carries out itself: how they are asked for, and what becomes of what comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatbridge.protocol.chat import CallPiece
from chatbridge.protocol.citations import Source, host, is_web, read_action, read_sources
from chatbridge.translate.calls import Call, Calls
from chatbridge.translate.notes import Notes
from chatbridge.vendors.profile import Profile

Annotation = dict[str, Any]
Action = dict[str, Any]

LIMIT = 50
"""The most sources of one answer; clients replay them with every request."""

# The numbers by which texts call their sources: [1], [^1], ^[1]^, [ref_1], 【1】, 【1†source】.
_MARK = re.compile(r"\^?\[\^?(?:ref_)?([0-9]{1,4})\^?\]\^?|【([0-9]{1,4})(?:†[^】\n]{0,200})?】")


def may_search(entry: Mapping[str, Any], profile: Profile, notes: Notes) -> bool:
    """Return whether the hosted tool *entry* of a request can be served by the vendor; note what is lost."""
    if entry.get("external_web_access") is False:
        text = 'web search left out: the client allows no live one (in Codex: web_search = "live")'
        notes.add("web_search:cached", text)
        return False
    if not profile.search:
        notes.add("tool:web_search", f"web search left out: {profile.label} is not known to have one on this endpoint")
        return False
    for key, value in entry.items():
        if key not in ("type", "external_web_access") and value is not None:
            notes.add(f"web_search:{key}", f"web search: {key!r}, the vendor's own setting holds")
    return True


class Citations:
    """The sources of one answer, each once, whenever and however often they come."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._known: dict[str, Source] = {}
        self._held: list[Source] = []
        self._last: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Sources wait for a text to stand at."""
        return bool(self._held)

    def add(self, key: str, value: Any) -> None:
        """Take what stood under *key*."""
        if not value or self._last.get(key) == value:
            return  # some vendors repeat the whole list with every chunk
        self._last[key] = value
        sources = read_sources(key, value)
        if key == "tool" and not sources:
            self._notes.add("upstream:tool", "what the upstream's own tool answered names no source; left out")
        for source in sources:
            known = self._known.get(source.url)
            if known is None:
                self._hold(source)
            else:
                _complete(known, source)

    def _hold(self, source: Source) -> None:
        if len(self._known) >= LIMIT:
            self._notes.add("citations:many", f"an answer has more than {LIMIT} sources; the others are left out")
            return
        self._known[source.url] = source
        self._held.append(source)

    def take(self, text: str) -> list[Annotation]:
        """Return the annotations for *text*, a whole part of a message; they are given once."""
        if not self._held:
            return []
        held, self._held = self._held, []
        marks = _marks(text) if any(source.number for source in held) else {}
        return [_annotation(source, text, marks) for source in held]


def _complete(known: Source, source: Source) -> None:
    """Vendors tell addresses in one list and titles in another."""
    known.title = known.title or source.title
    known.number = known.number or source.number
    known.mark = known.mark or source.mark
    if known.start >= known.end:
        known.start, known.end = source.start, source.end


def _marks(text: str) -> dict[int, tuple[int, int]]:
    """Where each number is first called."""
    found: dict[int, tuple[int, int]] = {}
    for match in _MARK.finditer(text):
        found.setdefault(int(match[1] or match[2]), match.span())
    return found


def _annotation(source: Source, text: str, marks: dict[int, tuple[int, int]]) -> Annotation:
    start, end = source.start, source.end
    if not 0 <= start < end <= len(text):
        at = text.find(source.mark) if source.mark else -1
        # A number stands for one source: two lists may count alike.
        start, end = (at, at + len(source.mark)) if at >= 0 else marks.pop(source.number, (len(text), len(text)))
    return {
        "type": "url_citation",
        "start_index": start,
        "end_index": end,
        "url": source.url,
        "title": source.title or host(source.url),
    }


class Searches:
    """What the vendor's own tools did, told by its calls of them."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._calls = Calls()
        self._kinds: dict[Call, str] = {}
        self._answered: set[Call] = set()
        self._at: set[tuple[int, float | str] | None] = set()
        self._told: list[Action] = []
        self._ready: list[Action] = []

    def __bool__(self) -> bool:
        """There is something to :meth:`take`."""
        return bool(self._ready)

    def owns(self, piece: CallPiece) -> bool:
        """Tell whether *piece* belongs to a call of the vendor's own tool, and is not for the client."""
        if piece.kind:
            self._at.add(piece.index)
        elif piece.name:
            self._at.discard(piece.index)
        return piece.index in self._at

    def add(self, piece: CallPiece) -> None:
        """Take a piece that :meth:`owns` has claimed."""
        call, added = self._calls.add(piece)
        kind = self._kinds.setdefault(call, piece.kind)
        if piece.results is not None:
            self._answered.add(call)
        if (added or call.whole).rstrip().endswith("}"):
            self._tell(f"{kind} {call.name}", call.arguments)

    def add_executed(self, entry: dict[str, Any]) -> None:
        """Take a call that the vendor tells of apart from the answer's calls."""
        function = entry.get("function")
        spec = {**entry, **function} if isinstance(function, dict) else entry
        self._tell(f"{entry.get('type') or ''} {spec.get('name') or ''}", spec.get("arguments"))

    def answer(self) -> None:
        """The vendor's tools have answered."""
        self._answered.update(self._calls.all)

    def _tell(self, kind: str, arguments: Any) -> None:
        if not is_web(kind):
            kind = kind.strip()[:40]
            self._notes.add(f"upstream ran:{kind}", f"the upstream ran its own tool {kind!r}: not shown")
            return
        action = read_action(arguments)
        if action is not None and action not in self._told and len(self._told) < LIMIT:
            self._told.append(action)
            self._ready.append(action)

    def take(self) -> list[Action]:
        """Return the actions that became known since the last time."""
        ready, self._ready = self._ready, []
        return ready

    def waiting(self, *, alone: bool) -> str:
        """Return the name of a tool whose result the vendor waits for, empty for none.

        Kimi is known to: its ``$web_search`` is a call that the client is to send back as it is. Of others it is
        certain only where the answer is *alone* their calls.
        """
        for call in self._calls.all:
            if call not in self._answered and (alone or self._kinds[call] == "builtin_function"):
                return call.name or self._kinds[call]
        return ""
