"""Services that start in order and stop in the reverse order."""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

_log = Logger()


class Stack(MultiService):
    """Services that start in order and stop in the reverse order, one after the other.

    *log* becomes the application's: twistd takes the observer that its application brings along, unless its command
    line names another (``--logger``).
    """

    def __init__(self, log: Any = None) -> None:
        super().__init__()
        self._log = log

    def setServiceParent(self, parent: Any) -> None:
        if self._log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:  # noqa: BLE001 (the others must still stop)
                _log.failure("Could not stop {service}", service=service)
