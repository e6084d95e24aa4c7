"""Reading the configuration again while the daemon runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python import usage

from chatbridge.service.settings import Settings

FIXED = (
    "listen",
    "server_info",
    "http_shutdown",
    "drain_seconds",
    "log_format",
    "allow_anyone",
    "store",
    "store_password",
    "store_seconds",
)
"""What holds from the start until the end: it is bound to the port, or to whoever started the daemon."""


class Reload(Service):
    """Reads again at SIGHUP.

    *read* returns the settings, or raises :exc:`usage.UsageError`; *apply* puts them in force.
    Running answers keep what they began with. A configuration that cannot be read changes nothing; the log says why.
    """

    _log = Logger()

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], apply: Callable[[Settings], None], reactor: Any
    ) -> None:
        self._settings = settings
        self._read = read
        self._apply = apply
        self._reactor = reactor
        self._before: Any = None

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))

    def stopService(self) -> None:
        super().stopService()
        # Not the one before it, which is to end the process: it is ending already, and in good order.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def reload(self) -> None:
        """Read and apply, now."""
        if not self.running:
            return
        try:
            settings = self._read()
        except usage.UsageError as error:
            self._log.error("Configuration not reloaded, the old one stays in force: {error}", error=str(error))
            return
        changed = [item.name for item in fields(Settings) if getattr(settings, item.name) != self._of(item.name)]
        fixed = [name for name in changed if name in FIXED]
        if fixed:
            self._log.warn("Only a restart changes {names}", names=", ".join(fixed))
        self._settings = settings
        self._apply(settings)
        self._log.info("Configuration reloaded")

    def _of(self, name: str) -> Any:
        return getattr(self._settings, name)
