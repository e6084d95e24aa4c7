"""The keys of one upstream, and which one a request takes. No I/O; the clock is an argument."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from chatbridge.service.secret import Secret


class Key(NamedTuple):
    """A key, and the variable or file and line it came from."""

    name: str
    secret: Secret


class Keys:
    """The first key that is not cooling down is the one to use; *clock* returns seconds.

    Not one after the other: vendors keep their prompt caches by account, and a key that works is best stayed with.
    """

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock
        self._until: dict[Key, float] = {}

    def take(self, without: Collection[Key] = ()) -> Key | None:
        """Return the key for a request that has tried those in *without*; None when none is left.

        When all are cooling down a request that has tried none gets the one that is through first: the upstream knows
        better than a memory of it.
        """
        if not self._until and not without and self._keys:
            return self._keys[0]
        left = [key for key in self._keys if key not in without]
        now = self._clock()
        fresh = next((key for key in left if self._until.get(key, 0.0) <= now), None)
        if fresh is not None or without or not left:
            return fresh
        return min(left, key=lambda key: self._until[key])

    def cool(self, key: Key, seconds: float) -> None:
        """Leave *key* alone for *seconds*, as long as there is another one."""
        self._until[key] = self._clock() + seconds

    def redact(self, text: str) -> str:
        """Return *text* without any of the keys."""
        for key in self._keys:
            text = key.secret.redact(text)
        return text
