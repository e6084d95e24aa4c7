"""The server-info file: one JSON line that tells other programs where the daemon listens."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from twisted.application.service import Service
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from chatbridge import __version__
from chatbridge.service.listener import StartError


class ServerInfo(Service):
    """Keeps the file *path* while the daemon serves.

    *address* and *upstream_url* are asked when the service starts, after the port is open; *workers* returns the worker
    processes' pids, if there are any. A file that cannot be written is a :exc:`StartError`.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        address: Callable[[], IAddress],
        upstream_url: Callable[[], str],
        workers: Callable[[], list[int]] | None = None,
    ) -> None:
        self._path = Path(path)
        self._address = address
        self._upstream_url = upstream_url
        self._workers = workers
        self._started_at = ""

    def startService(self) -> None:
        super().startService()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._write()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StartError(f"chatbridge: cannot write the server-info file {self._path}: {reason}") from error

    def update(self) -> None:
        """Write the file again, with the workers that there are now."""
        if not self.running:
            return
        try:
            self._write()
        except OSError as error:
            self._log.warn("Cannot write the server-info file: {error}", error=error)

    def _write(self) -> None:
        info = describe(self._address(), self._upstream_url())
        if self._workers is not None:
            info["workers"] = self._workers()
        _write(self._path, {**info, "started_at": self._started_at})

    def stopService(self) -> None:
        super().stopService()
        try:
            if _pid(self._path) == os.getpid():
                self._path.unlink()
        except OSError as error:
            self._log.warn("Cannot remove the server-info file: {error}", error=error)


def describe(address: IAddress, upstream_url: str) -> dict[str, Any]:
    """Return what the file says; ``port`` is None for a listener without one, as a UNIX socket."""
    return {
        "port": getattr(address, "port", None),
        "pid": os.getpid(),
        "version": __version__,
        "upstream_url": public_url(upstream_url),
    }


def public_url(url: str) -> str:
    """Return *url* without user, password, query and fragment, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _write(path: Path, info: dict[str, Any]) -> None:
    """Write the line so that whoever sees the file sees all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(info) + "\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _pid(path: Path) -> int | None:
    """Return the pid in the file; None if there is no such file or it is not ours to judge."""
    with suppress(FileNotFoundError, ValueError):
        info = json.loads(path.read_bytes())
        if isinstance(info, dict):
            return info.get("pid")
    return None
