"""Python's collector of cyclic garbage, set for a server.

As it comes, it looks through all modules and tables again and again while requests make and drop objects: a tenth of
the CPU of short requests. What stands after the start stays till the end, so it is left out of the search, which then
also begins more seldom.
"""

from __future__ import annotations

import gc

from twisted.application.service import Service

THRESHOLDS = (50_000, 20, 20)
"""New objects until the young are looked through; how many times until the older ones are."""


class Garbage(Service):
    """Goes last in the order of start. What was set before is set again at the stop."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] = (0, 0, 0)

    def startService(self) -> None:
        super().startService()
        self._before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def stopService(self) -> None:
        super().stopService()
        gc.set_threshold(*self._before)
        gc.unfreeze()
