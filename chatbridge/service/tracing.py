"""The files of ``--trace DIR``: one for each turn, written beside the event loop, for nobody but the daemon's user."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from chatbridge import __version__
from chatbridge.service.listener import StartError

COUNT = 2000
"""Files that are kept; the oldest go first."""
PENDING = 16
"""Turns that may wait to be written. When the disk is slower than the traffic, some are left out."""


class Tracing(Service):
    """Writes turns into *folder*, of which *limit* bytes are kept. Raises :exc:`StartError` for one that others see."""

    _log = Logger()

    def __init__(self, folder: str, limit: int, reactor: Any) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._reactor = reactor
        self._pending = 0
        self._left_out = 0
        self._pool = ThreadPool(0, 1, "trace")
        _prepare(self._folder)

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()  # after what waits

    def keep(self, turn: dict[str, Any], redact: Callable[[str], str]) -> None:
        """Write *turn*, each of its texts as *redact* returns it."""
        if not self.running or self._pending >= PENDING:
            self._left_out += 1
            if self._left_out == 1:
                self._log.warn("Traces are not written as fast as turns come: some are left out")
            return
        self._pending += 1
        written: Deferred[None] = deferToThreadPool(self._reactor, self._pool, self._write, turn, redact, time.time())
        written.addErrback(lambda failure: self._log.error("A trace was not written: {why}", why=failure.value))
        written.addCallback(lambda _: self._written())

    def _write(self, turn: dict[str, Any], redact: Callable[[str], str], now: float) -> None:
        write(self._folder, turn, redact, now)
        prune(self._folder, self._limit)

    def _written(self) -> None:
        self._pending -= 1


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise StartError(f"chatbridge: --trace: {folder} must be a folder of this user alone (chmod 700)")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StartError(f"chatbridge: --trace: {folder} cannot be written to")
    except OSError as error:
        raise StartError(f"chatbridge: --trace: {folder}: {error.strerror}") from None


def write(folder: Path, turn: dict[str, Any], redact: Callable[[str], str], now: float) -> Path:
    """Write *turn* into *folder*; return the file."""
    upstream = {**turn["upstream"], "reads": _reads(turn["upstream"]["reads"], redact)}
    value = _redacted({"chatbridge": __version__, **turn, "upstream": {**upstream, "reads": None}}, redact)
    value["upstream"]["reads"] = upstream["reads"]
    when = datetime.fromtimestamp(now, UTC)
    value["time"] = when.isoformat(timespec="milliseconds")
    word = re.sub(r"[^A-Za-z0-9._-]", "_", str(turn["facts"].get("request_id", "")))[:80]
    path = folder / f"{when:%Y%m%dT%H%M%S.%f}-{word}.json"
    temporary = path.with_suffix(".part")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump(value, file)
    temporary.replace(path)
    return path


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, redact) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _reads(reads: list[bytes], redact: Callable[[str], str]) -> list[str]:
    """Return the reads as texts. Where a secret may lie across two of them, they become one."""
    texts = [read.decode("utf-8", "surrogateescape") for read in reads]
    whole = b"".join(reads).decode("utf-8", "surrogateescape")
    redacted = redact(whole)
    return texts if redacted == whole else [redacted]


def prune(folder: Path, limit: int) -> None:
    """Remove the oldest files of *folder* until :data:`COUNT` of them and *limit* bytes are left."""
    found = sorted(folder.glob("*.json"), key=lambda path: path.name, reverse=True)
    total = 0
    for number, path in enumerate(found):
        try:
            total += path.stat().st_size
            if number >= COUNT or total > limit:
                path.unlink()
        except FileNotFoundError:  # another worker was first
            continue
