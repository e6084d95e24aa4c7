"""A store in memory: bounded by count, bytes and age, gone when the daemon ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.store.record import Addition, Conversation, Items, Stored

COUNT = 1000
BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Response:
    """*content* is text, because the objects themselves go on being used and their size is not known."""

    head: Stored
    content: bytes
    running: bool
    outputs: tuple[str, ...]

    @property
    def touched(self) -> float:
        return self.head.created

    @property
    def size(self) -> int:
        return len(self.content) + len(self.head.events)


@dataclass(slots=True)
class _Conversation:
    head: Conversation
    touched: float
    items: dict[str, bytes] = field(default_factory=dict)
    size: int = 0


class MemoryStore:
    """Keeps at most *count* responses and conversations of *size* bytes in all, for *max_age* seconds.

    *now* returns seconds since the epoch. What was not asked for longest goes first.
    """

    def __init__(self, now: Callable[[], float], max_age: float, *, count: int = COUNT, size: int = BYTES) -> None:
        self._now = now
        self._max_age = max_age
        self._count = count
        self._size = size
        self._held = 0
        self._kept: OrderedDict[str, _Response | _Conversation] = OrderedDict()
        self._of: dict[str, str] = {}

    # --- responses

    def put(self, stored: Stored, addition: Addition | None = None) -> Deferred[None]:
        self._drop(stored.id)
        head = replace(stored, input=[], response={})
        outputs = tuple(stored.outputs())
        self._keep(stored.id, _Response(head, stored.content(), stored.running, outputs))
        self._of |= dict.fromkeys(outputs, stored.id)
        if addition is not None:
            self._append(addition.conversation, stored.owner, addition.items)
        self._shrink()
        return succeed(None)

    def end(self, stored: Stored, addition: Addition | None = None) -> Deferred[bool]:
        found = self._response(stored.id, stored.owner)
        if found is None or not found.running:
            return succeed(False)
        return self.put(stored, addition).addCallback(lambda _: True)

    def get(self, id: str, owner: str) -> Deferred[Stored | None]:
        return succeed(self._stored(id, owner))

    def chain(self, id: str, owner: str) -> Deferred[list[Stored]]:
        found: list[Stored] = []
        seen = set()
        while id and id not in seen and (stored := self._stored(id, owner)) is not None:
            found.append(stored)
            seen.add(id)
            id = stored.previous
        return succeed(found)

    def events(self, id: str, owner: str) -> Deferred[bytes]:
        found = self._response(id, owner)
        return succeed(found.head.events if found is not None else b"")

    def outputs(self, ids: Collection[str], owner: str) -> Deferred[dict[str, Any]]:
        found: dict[str, Any] = {}
        for response in dict.fromkeys(self._of[id] for id in ids if id in self._of):
            stored = self._stored(response, owner)
            found |= stored.outputs() if stored is not None else {}
        return succeed({id: item for id, item in found.items() if id in ids})

    def delete(self, id: str, owner: str) -> Deferred[bool]:
        there = self._response(id, owner) is not None
        if there:
            self._drop(id)
        return succeed(there)

    def cancel(self, id: str, owner: str) -> Deferred[None]:  # noqa: ARG002
        # There is no other process that could ask.
        return succeed(None)

    def beat(self) -> Deferred[dict[str, bool]]:
        running = {id: False for id, kept in self._kept.items() if isinstance(kept, _Response) and kept.running}
        return succeed(running)

    def recover(self) -> Deferred[int]:
        return succeed(0)

    # --- conversations

    def put_conversation(self, conversation: Conversation, items: Items = ()) -> Deferred[None]:
        found = self._conversation(conversation.id, conversation.owner)
        if found is None:
            self._drop(conversation.id)
            self._keep(conversation.id, _Conversation(conversation, self._now()))
        else:
            found.head = conversation
        self._append(conversation.id, conversation.owner, items)
        self._shrink()
        return succeed(None)

    def get_conversation(self, id: str, owner: str) -> Deferred[Conversation | None]:
        found = self._conversation(id, owner)
        return succeed(found.head if found is not None else None)

    def delete_conversation(self, id: str, owner: str) -> Deferred[bool]:
        there = self._conversation(id, owner) is not None
        if there:
            self._drop(id)
        return succeed(there)

    def append(self, id: str, owner: str, items: Items) -> Deferred[bool]:
        there = self._append(id, owner, items)
        self._shrink()
        return succeed(there)

    def items(self, id: str, owner: str) -> Deferred[list[dict[str, Any]] | None]:
        found = self._conversation(id, owner)
        return succeed([loads(content) for content in found.items.values()] if found is not None else None)

    def delete_item(self, id: str, owner: str, item: str) -> Deferred[bool]:
        found = self._conversation(id, owner)
        content = found.items.pop(item, None) if found is not None else None
        if found is None or content is None:
            return succeed(False)
        self._grow(found, -len(content))
        return succeed(True)

    def ping(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        self._kept.clear()
        self._of.clear()
        self._held = 0
        return succeed(None)

    # --- what is kept

    def _stored(self, id: str, owner: str) -> Stored | None:
        found = self._response(id, owner)
        if found is None:
            return None
        return Stored.of(id, owner, found.head.previous, found.head.created, found.content)

    def _response(self, id: str, owner: str) -> _Response | None:
        found = self._found(id, owner)
        return found if isinstance(found, _Response) else None

    def _conversation(self, id: str, owner: str) -> _Conversation | None:
        found = self._found(id, owner)
        return found if isinstance(found, _Conversation) else None

    def _found(self, id: str, owner: str) -> _Response | _Conversation | None:
        found = self._kept.get(id)
        if found is None or found.head.owner != owner:
            return None
        if self._is_old(found):
            self._drop(id)
            return None
        self._kept.move_to_end(id)
        return found

    def _append(self, id: str, owner: str, items: Items) -> bool:
        found = self._conversation(id, owner)
        if found is None:
            return False
        found.touched = self._now()
        for item in items:
            content = dumps(item)
            self._grow(found, len(content) - len(found.items.get(item["id"], b"")))
            found.items[item["id"]] = content
        return True

    def _grow(self, found: _Conversation, size: int) -> None:
        found.size += size
        self._held += size

    def _keep(self, id: str, kept: _Response | _Conversation) -> None:
        self._kept[id] = kept
        self._held += kept.size

    def _drop(self, id: str) -> None:
        found = self._kept.pop(id, None)
        if found is None:
            return
        self._held -= found.size
        if isinstance(found, _Response):
            for output in found.outputs:
                self._of.pop(output, None)

    def _shrink(self) -> None:
        """Let go of what is too old or too much, but of no response that still runs."""
        while self._kept:
            ended = (id for id, kept in self._kept.items() if not (isinstance(kept, _Response) and kept.running))
            oldest = next(ended, "")
            full = len(self._kept) > self._count or self._held > self._size
            if not oldest or not (full or self._is_old(self._kept[oldest])):
                return
            self._drop(oldest)

    def _is_old(self, kept: _Response | _Conversation) -> bool:
        return kept.touched < self._now() - self._max_age
