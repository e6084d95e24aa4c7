"""Which process a running response belongs to, and whether that one is gone."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def identity() -> str:
    """Return this process's name: the machine's boot, the space of its process ids, its own id and when it began.

    Where the system does not tell, the name only differs from all others.
    """
    pid = os.getpid()
    host, start = _host(), _start(pid)
    return f"{host}:{pid}:{start}" if host and start else f"?{uuid.uuid4().hex}:{pid}:"


def is_gone(name: str) -> bool:
    """Whether the process of that *name* is known to have ended. One of another machine never is."""
    host, _, rest = name.partition(":")
    pid, _, start = rest.partition(":")
    return bool(host) and host == _host() and pid.isdigit() and _start(int(pid)) != start


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        # Containers share a boot, and each may count its processes for itself.
        return f"{boot}-{Path('/proc/self/ns/pid').readlink().name}".replace(":", "")
    except OSError:
        return ""


def _start(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()  # the name before may hold anything
    return "" if fields[0] in "ZX" else fields[19]
