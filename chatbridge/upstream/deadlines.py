"""What may take how long in one thing that goes on, by one timer for all of it.

An answer has half a dozen time limits at once, and nearly always is over before any of them. A timer of the reactor's
for each, made and cancelled, was a twentieth of what a short answer costs. Here a limit is a number in a dict, and the
one timer looks which is due; one that was put off or lifted meanwhile costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[], None]


class Deadlines:
    """Calls what is due, in order. *clock* is a reactor's."""

    def __init__(self, clock: Any) -> None:
        self.seconds: Callable[[], float] = clock.seconds
        """The clock's time."""
        self.due: dict[Call, float] = {}
        """When each is to be called. What is in it may be put off by its value alone, as each read does."""
        self._clock = clock
        self._timer: Any = None
        self._looks = 0.0

    def set(self, call: Call, seconds: float) -> None:
        """Call *call* in *seconds*, once; if it was to be called at another time, then not at that."""
        at = self.due[call] = self.seconds() + seconds
        if self._timer is None or at < self._looks:
            self._look_at(at)

    def lift(self, *calls: Call) -> None:
        """Call none of *calls*, if they were to be called."""
        due = self.due
        for call in calls:
            due.pop(call, None)
        if not due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks = at
        self._timer = self._clock.callLater(max(0.0, at - self.seconds()), self._look)

    def _look(self) -> None:
        """Call the first one, if it is due, and look again when the next one is."""
        self._timer = None
        call = min(self.due, key=self.due.__getitem__)
        due = self.due[call] <= self.seconds()
        if due:
            del self.due[call]
        if self.due:
            self._look_at(min(self.due.values()))
        if due:
            call()
