"""What a master gives each worker: the settings in force, as they were checked, and the worker's place.

Settings go over a pipe between the two, so that all workers have the same ones: a worker that takes a dead one's place
next week must not find a file that somebody is editing, or a key file that only root may read.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """*number* is the worker's row in the ledger, of which there are *processes*; *clients* are the ledger's slots.

    With *relay* the worker's log lines go to the master, which knows where the log is.
    """

    settings: Settings
    number: int
    processes: int
    clients: Mapping[str, int]
    relay: bool = False

    def packed(self) -> bytes:
        """Return it as bytes for :meth:`unpacked`; they hold keys, and are for nobody but the worker."""
        out = io.BytesIO()
        _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(self)
        return out.getvalue()

    @staticmethod
    def unpacked(data: bytes) -> Handover:
        """Return what :meth:`packed` was called on."""
        found: Handover = pickle.loads(data)  # noqa: S301 - from the process that started this one
        return found


class _Pickler(pickle.Pickler):
    """Packs secrets too, which refuse it elsewhere."""

    def reducer_override(self, value: Any) -> Any:
        return (Secret, (value.reveal(),)) if isinstance(value, Secret) else NotImplemented
