"""Responses in memory: bounded by count, bytes and age, gone when the daemon ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from chatbridge.store.record import Stored

COUNT = 1000
BYTES = 64 * 1024 * 1024


class MemoryStore:
    """*now* returns seconds since the epoch. What was not asked for longest goes first."""

    def __init__(self, now: Callable[[], float], max_age: float, *, count: int = COUNT, size: int = BYTES) -> None:
        self._now = now
        self._max_age = max_age
        self._count = count
        self._size = size
        self._held = 0
        # As text: the objects themselves go on being used, and their size is not known.
        self._kept: OrderedDict[str, tuple[Stored, bytes]] = OrderedDict()

    def put(self, stored: Stored) -> Deferred[None]:
        """Keep *stored*, and let go of what is too old or too much."""
        content = stored.content()
        self._drop(stored.id)
        head = Stored(
            id=stored.id, owner=stored.owner, previous=stored.previous, created=stored.created, input=[], response={}
        )
        self._kept[stored.id] = head, content
        self._held += len(content)
        while self._kept and (len(self._kept) > self._count or self._held > self._size or self._oldest_is_old()):
            self._drop(next(iter(self._kept)))
        return succeed(None)

    def get(self, id: str, owner: str) -> Deferred[Stored | None]:  # noqa: A002 - the API's own word
        """Return the response of this *owner*."""
        found = self._kept.get(id)
        if found is None or found[0].owner != owner:
            return succeed(None)
        head, content = found
        if self._is_old(head):
            self._drop(id)
            return succeed(None)
        self._kept.move_to_end(id)
        return succeed(Stored.of(id, owner, head.previous, head.created, content))

    def delete(self, id: str, owner: str) -> Deferred[bool]:  # noqa: A002 - as above
        """Forget the response."""
        found = self._kept.get(id)
        if found is None or found[0].owner != owner:
            return succeed(False)
        self._drop(id)
        return succeed(True)

    def close(self) -> Deferred[None]:
        """Forget all."""
        self._kept.clear()
        self._held = 0
        return succeed(None)

    def _drop(self, id: str) -> None:  # noqa: A002 - as above
        found = self._kept.pop(id, None)
        if found is not None:
            self._held -= len(found[1])

    def _oldest_is_old(self) -> bool:
        return self._is_old(next(iter(self._kept.values()))[0])

    def _is_old(self, stored: Stored) -> bool:
        return stored.created < self._now() - self._max_age
