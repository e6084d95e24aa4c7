"""What master and workers say to each other: JSON objects, each behind its length, over a pipe each way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from chatbridge.protocol.jsontext import dumps, loads

Message = dict[str, Any]

ORDERS, REPORTS, LISTENING, LEDGER = 0, 3, 4, 5
"""A worker's descriptors: master to worker, worker to master, the listening socket, the ledger's memory."""
BEAT_SECONDS = 5.0
"""How often a worker lets its master know that it is alive, with its metrics."""


class Control(Int32StringReceiver):
    """One end. *heard* gets each message, *gone* is called when the other end closes or is dead."""

    MAX_LENGTH = 64 * 1024 * 1024

    def __init__(self, heard: Callable[[Message], None], gone: Callable[[], None] = lambda: None) -> None:
        self._heard = heard
        self._gone = gone

    def say(self, message: Message) -> None:
        """Send *message*."""
        self.sendString(dumps(message))

    def stringReceived(self, string: bytes) -> None:
        self._heard(loads(string))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's interface
        self._gone()
