"""A timer for silence that costs nothing while there is none: touching it only notes the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _nobody() -> None:
    """What a timer calls that will never call again."""


class Silence:
    """Calls *on_silence* each time *seconds* pass without :meth:`touch`, until :meth:`stop`."""

    def __init__(self, clock: Any, seconds: float, on_silence: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._on_silence = on_silence
        self._since = clock.seconds()
        self._call: Any = clock.callLater(seconds, self._look)

    def touch(self) -> None:
        """There was a sign of life."""
        self._since = self._clock.seconds()

    def shorten(self, seconds: float) -> None:
        """From now on *seconds* are enough."""
        if self._call is not None and seconds < self._seconds:
            self._seconds = seconds
            self.touch()
            self._call.cancel()
            self._call = self._clock.callLater(seconds, self._look)

    def stop(self) -> None:
        """Never call again."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._on_silence = _nobody  # whoever it belongs to holds this timer: a cycle, and garbage for the collector

    def _look(self) -> None:
        left = self._since + self._seconds - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look)
            return
        self.touch()
        self._call = self._clock.callLater(self._seconds, self._look)
        self._on_silence()
