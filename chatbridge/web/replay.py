"""The events of a response once more, from any of them on, as fast as the client reads."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from chatbridge.protocol.sse import COMMENT
from chatbridge.store.events import EventLog
from chatbridge.web.direct import outlet
from chatbridge.web.sink import EVENT_STREAM


@implementer(IPushProducer)
class Replay:
    """Sends *log* to *request*, without the events up to number *after*: what is there, then what is added.

    Call :meth:`more` when something was, and :meth:`end` when nothing more will be.
    """

    def __init__(self, request: Any, log: EventLog, after: int = -1) -> None:
        self._log = log
        self._place = log.seek(after)
        self._paused = False
        self._ended = False
        self.over = False
        """It is at its end, or the client is gone."""
        request.notifyFinish().addErrback(lambda _: self.stopProducing())
        request.registerProducer(self, True)
        self._out = outlet(request, EVENT_STREAM)
        self.more()
        self._out.flush()  # the head need not wait for an event

    def more(self) -> None:
        """Write what the client can take."""
        while not (self._paused or self.over):
            data = self._log.read(self._place)
            if not data:
                break
            self._place += len(data)
            self._out.write(data)
        if self._ended and not (self._paused or self.over):
            self.over = True
            self._out.end(b"")

    def end(self) -> None:
        """The log is whole."""
        self._ended = True
        self.more()

    def keepalive(self) -> None:
        """Show the client that the answer is alive."""
        if not (self._paused or self.over):
            self._out.write(COMMENT)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.more()

    def stopProducing(self) -> None:
        self.over = True
