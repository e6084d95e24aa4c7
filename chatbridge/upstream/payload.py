"""Request bodies on their way out: one that is there already, and what frames those that are produced bit by bit."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


class WrongLengthError(Exception):
    """A body producer wrote more or less than it had announced."""


@implementer(IBodyProducer)
class Whole:
    """A request body that is there already; it goes out with the head, in one write."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        consumer.write(self.data)
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """It is written already."""

    def resumeProducing(self) -> None:
        """As above."""

    def stopProducing(self) -> None:
        """As above."""


@implementer(IConsumer)
class MeasuredBody:
    """Passes on exactly *length* bytes."""

    def __init__(self, transport: Any, length: int) -> None:
        self.transport = transport
        self._left = length

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The exchange has registered it."""

    def unregisterProducer(self) -> None:
        """As above."""

    def write(self, data: bytes) -> None:
        if len(data) > self._left:
            raise WrongLengthError("the body producer wrote too much")
        self._left -= len(data)
        self.transport.write(data)

    def finish(self) -> None:
        """No more comes."""
        if self._left:
            raise WrongLengthError("the body producer wrote too little")


@implementer(IConsumer)
class ChunkedBody:
    """Passes on what comes in the chunked coding."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The exchange has registered it."""

    def unregisterProducer(self) -> None:
        """As above."""

    def write(self, data: bytes) -> None:
        if data:
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self) -> None:
        """No more comes."""
        self.transport.write(b"0\r\n\r\n")
