"""Reading the configuration again while the daemon runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.logger import Logger
from twisted.python import usage

from chatbridge.service.listener import StartError
from chatbridge.service.notify import Notify
from chatbridge.service.settings import Settings

FIXED = (
    "listen",
    "server_info",
    "http_shutdown",
    "drain_seconds",
    "log_format",
    "log_level",
    "trace",
    "trace_bytes",
    "allow_anyone",
    "workers",
    "store",
    "store_password",
    "store_seconds",
)
"""What holds from the start until the end: it is bound to the port, or to whoever started the daemon."""


class Reload(Service):
    """Reads again at SIGHUP.

    *read* returns the settings, or raises :exc:`usage.UsageError`; *apply* puts them in force.
    Running answers keep what they began with. A configuration that cannot be read changes nothing; the log says why,
    and *notify* tells systemd. *apply* may take its time, and return why it could not.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        apply: Callable[[Settings], Any],
        reactor: Any,
        notify: Notify,
    ) -> None:
        self._settings = settings
        self._read = read
        self._apply = apply
        self._reactor = reactor
        self._notify = notify
        self._busy = False
        self._again = False

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))

    def stopService(self) -> None:
        super().stopService()
        # Not the one before it, which is to end the process: it is ending already, and in good order.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def reload(self) -> None:
        """Read and apply, now."""
        if self._busy:
            self._again = True
        elif self.running:
            self._busy = True
            ensureDeferred(self._reload())

    async def _reload(self) -> None:
        self._notify.reloading()
        try:
            why = await self._apply_new(self._read())
        except (usage.UsageError, StartError) as error:
            why = str(error)
        self._busy = False
        if not self.running:
            return
        if why:
            self._log.error("Configuration not reloaded, the old one stays in force: {error}", error=why)
            self._notify.ready(f"Configuration not reloaded: {why}")
        else:
            self._log.info("Configuration reloaded")
            self._notify.ready()
        again, self._again = self._again, False
        if again:
            self.reload()

    async def _apply_new(self, settings: Settings) -> str:
        """Put *settings* in force; returns why that was not possible."""
        changed = [item.name for item in fields(Settings) if getattr(settings, item.name) != self._of(item.name)]
        fixed = [name for name in changed if name in FIXED]
        if fixed:
            self._log.warn("Only a restart changes {names}", names=", ".join(fixed))
            settings = replace(settings, **{name: self._of(name) for name in fixed})
        why: str | None = await maybeDeferred(self._apply, settings)
        if not why:
            self._settings = settings
        return why or ""

    def _of(self, name: str) -> Any:
        return getattr(self._settings, name)
