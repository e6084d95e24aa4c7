"""What systemd is told while the daemon lives (``Type=notify``): the protocol of sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Notify(Service):
    """Says READY when it starts and STOPPING when it begins to stop; in between, WATCHDOG as often as systemd wants.

    *environ* names the socket; without ``NOTIFY_SOCKET`` nothing is said. The watchdog is fed by the event loop itself:
    when that hangs, systemd hears nothing more.
    """

    _log = Logger()

    def __init__(self, environ: Mapping[str, str], reactor: Any, status: str = "Serving") -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = status
        self._every = _watchdog_seconds(environ)
        self._watchdog = LoopingCall(self._say, "WATCHDOG=1")
        self._watchdog.clock = reactor

    def startService(self) -> None:
        super().startService()
        self.ready()
        if self._address and self._every:
            self._watchdog.start(self._every)

    def ready(self, status: str = "") -> None:
        """Say that the daemon serves, for the first time or after :meth:`reloading`."""
        self._say("READY=1", f"STATUS={_line(status or self._status)}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; :meth:`ready` follows."""
        # systemd compares this time with that of its own SIGHUP.
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopService(self) -> None:
        super().stopService()
        if self._watchdog.running:
            self._watchdog.stop()
        self._say("STOPPING=1", "STATUS=Stopping: running answers finish")

    def _say(self, *assignments: str) -> None:
        if not self._address:
            return
        # systemd's way to write a socket without a file.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            self._log.warn("Cannot tell systemd {what}: {error}", what=assignments[0], error=error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return how often the watchdog is to be fed: twice in its time. 0 where there is none, or it is another's."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
