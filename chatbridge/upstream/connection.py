"""One connection to an upstream: HTTP/1.1, one request at a time.

Written for one thing more than Twisted's client does: a read from the socket is one call of the body's protocol, with
as few calls between as can be. What can be seen from outside is the same, errors included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from chatbridge.upstream.chunked import Decoder, LengthDecoder, UntilClose
from chatbridge.upstream.direct import writer
from chatbridge.upstream.head import END, LIMIT, Head, HeadError, parse_head
from chatbridge.upstream.payload import ChunkedBody, MeasuredBody, Whole

_log = Logger()


class Connection(Protocol):
    """Takes one :class:`Exchange` at a time. *on_idle* gets it when it can take another, *on_lost* when it is gone."""

    transport: Any

    def __init__(self, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._exchange: Exchange | None = None
        self.write: Callable[[bytes], None]
        """Sends bytes, at once where that can be."""
        self.key: Any = None
        """Where it leads to; the pool's business, as are the next two."""
        self.used = False
        self.idle_since = 0.0

    def connectionMade(self) -> None:
        self.write = writer(self.transport)
        # Twisted 22.4 leaves Nagle's algorithm on: 40 ms for a request of two writes.
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            with contextlib.suppress(OSError):  # a unix socket
                set_no_delay(True)

    def start(self, exchange: Exchange) -> Deferred[Any]:
        """Send a request, only while there is none. Fires with the :class:`Response`, or with Twisted's own errors.

        Cancelling closes the connection.
        """
        self._exchange = exchange
        return exchange.send(self)

    def dataReceived(self, data: bytes) -> None:
        if self._exchange is None:
            # Nobody asked. It must not become the answer to whoever asks next.
            self._on_lost(self)
            self.transport.abortConnection()
        else:
            self._exchange.received(data)

    def reads(self, receive: Callable[[bytes], None]) -> None:
        """Give each read to *receive* from now on, until the exchange is over: the body comes."""
        self.dataReceived = receive  # type: ignore[method-assign, assignment]  # which the transport finds first

    def _free(self) -> Exchange | None:
        self.__dict__.pop("dataReceived", None)
        exchange, self._exchange = self._exchange, None
        return exchange

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        exchange = self._free()
        self._on_lost(self)
        if exchange is not None:
            exchange.lost(reason)

    def release(self, *, again: bool) -> None:
        """The exchange is over; *again* tells whether another may follow."""
        self._free()
        if again:
            self._on_idle(self)
        else:
            self.transport.loseConnection()

    def close(self) -> None:
        """Close it in peace."""
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close it at once, whatever is under way; nobody is told."""
        self._free()
        self.transport.abortConnection()


@implementer(IResponse)
class Response:
    """What came back; its body goes to the protocol that :meth:`deliverBody` names."""

    def __init__(self, head: Head, decoder: Decoder | None, exchange: Exchange) -> None:
        self.version = (b"HTTP", *head.version)
        self.code = head.code
        self.phrase = head.phrase
        self.headers = head.headers
        self.request = None
        self.previousResponse: Any = None
        self.length: Any = UNKNOWN_LENGTH
        if decoder is None:
            self.length = 0
        elif isinstance(decoder, LengthDecoder):
            self.length = decoder.length
        self._exchange = exchange

    def deliverBody(self, protocol: Any) -> None:
        """Connect *protocol*, give it the body, and then lose its connection with the reason. Once only."""
        self._exchange.deliver(protocol)

    def setPreviousResponse(self, response: Any) -> None:
        self.previousResponse = response


@implementer(IPushProducer)
class Exchange:
    """A request and its answer. It is also the transport of the body's protocol, while the body lasts.

    *head* is the request's head as bytes, without the headers that tell its length, and without the empty line.
    """

    # What is as it begins, until something comes.
    _came = b""
    _heads = 0  # the size of those that were passed over
    _anything = False
    _persistent = False
    _response: Response | None = None
    _decoder: Decoder | None = None
    _protocol: Any = None
    _held = b""
    _reason: Failure | None = None
    _waiting = False
    _paused = False

    def __init__(self, method: bytes, head: bytes, producer: Any) -> None:
        self._answered: Deferred[Any] | None = Deferred(self._cancelled)
        self._method = method
        self._head = head
        self._producer = producer
        self._connection: Connection | None = None
        self._sent = producer is None or isinstance(producer, Whole)

    # --- the request

    def send(self, connection: Connection) -> Deferred[Any]:
        """Write the request; return what :meth:`Connection.start` does. Once only."""
        answered = self._answered
        assert answered is not None
        self._connection = connection
        transport, producer = connection.transport, self._producer
        if producer is None:
            bare = self._method not in (b"POST", b"PUT")
            transport.write(self._head + (b"\r\n" if bare else b"Content-Length: 0\r\n\r\n"))
        elif isinstance(producer, Whole):
            connection.write(b"%sContent-Length: %d\r\n\r\n%s" % (self._head, producer.length, producer.data))
            self._producer = None  # the transport has it now, and lets go of it when it is sent
        else:
            chunked = producer.length is UNKNOWN_LENGTH
            told = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % producer.length
            transport.write(self._head + told + b"\r\n\r\n")
            self._produce(ChunkedBody(transport) if chunked else MeasuredBody(transport, producer.length))
        self._head = b""  # an answer may take an hour
        return answered

    def _produce(self, consumer: ChunkedBody | MeasuredBody) -> None:
        producer = self._producer
        consumer.transport.registerProducer(producer, True)
        try:
            produced = producer.startProducing(consumer)
        except Exception:  # noqa: BLE001 - the caller's own
            self._not_produced(Failure())
            return
        produced.addCallback(self._produced, consumer)
        produced.addErrback(self._not_produced)

    def _produced(self, _result: Any, consumer: ChunkedBody | MeasuredBody) -> None:
        if self._connection is None:
            return
        consumer.transport.unregisterProducer()
        consumer.finish()
        self._sent = True

    def _not_produced(self, failure: Failure) -> None:
        connection = self._drop()
        if connection is None:
            return
        with contextlib.suppress(Exception):
            connection.transport.unregisterProducer()
        connection.abort()
        if self._response is None:
            self._fail(Failure(RequestGenerationFailed([failure])))
        else:
            self._over(Failure(ResponseFailed([failure], self._response)))

    # --- the answer

    def received(self, data: bytes) -> None:
        """Take a read of the connection; those of a body that is delivered go to :meth:`_body` at once."""
        if self._decoder is not None:
            if self._waiting:
                self._held += data  # the transport had more at hand than it was paused for
            else:
                self._body(data)
            return
        self._anything = True
        try:
            self._heads_in(self._came + data)
        except HeadError as error:
            self._broken(error)

    def _heads_in(self, came: bytes) -> None:
        """Read the heads that are whole: at most one of them is not informational."""
        while (end := END.search(came)) is not None and self._heads + end.end() <= LIMIT:
            head = parse_head(came[: end.start()])
            came = came[end.end() :]
            if head.code >= 200 or head.code == 101:
                self._came = b""
                self._answer(head, came)
                return
            self._heads += end.end()
        if end is not None or self._heads + len(came) > LIMIT:
            raise HeadError(f"a head larger than {LIMIT} bytes")
        self._came = came

    def _answer(self, head: Head, rest: bytes) -> None:
        if head.code == 101:
            raise HeadError("another protocol, which nobody asked for")
        self._decoder = decoder = head.decoder(self._method)
        self._persistent = head.persistent
        self._response = response = Response(head, decoder, self)
        if decoder is None:
            self._complete(rest)
            self._answer_is(response)
            return
        self._held = rest
        self._answer_is(response)
        if self._connection is not None and self._protocol is None:
            # Nobody wants the body yet, so no more of it is read.
            self._waiting = True
            self._connection.transport.pauseProducing()

    def deliver(self, protocol: Any) -> None:
        """Give the body to *protocol*, what has come of it first."""
        if self._protocol is not None:
            raise RuntimeError("a body can be delivered once only")
        self._protocol = protocol
        protocol.makeConnection(self)
        held, self._held = self._held, b""
        if self._reason is not None:
            self._deliver_late(held)
            return
        if self._connection is not None:
            self._connection.reads(self._body)
        waiting, self._waiting = self._waiting, False
        if held:
            self._body(held)
        if waiting and self._connection is not None and not self._paused:
            self._connection.transport.resumeProducing()

    def _deliver_late(self, held: bytes) -> None:
        """Give what had come when the connection was lost."""
        decoder, protocol = self._decoder, self._protocol
        if decoder is not None and held:
            if piece := decoder.feed(held):
                protocol.dataReceived(piece)
            if decoder.done:
                self._reason = _DONE
        protocol.connectionLost(self._reason)

    def _body(self, data: bytes) -> None:
        decoder: Any = self._decoder
        piece = decoder.feed(data)
        if piece:
            self._protocol.dataReceived(piece)
        if self._connection is None:
            return
        if decoder.done:
            self._complete(decoder.rest)
        elif decoder.problem:
            self._broken(HeadError(decoder.problem))

    def _complete(self, rest: bytes) -> None:
        connection = self._drop()
        assert connection is not None
        if not self._sent and self._producer is not None:
            self._stop_producer(connection)
        again = self._persistent and self._sent and not rest
        if again and self._paused:
            connection.transport.resumeProducing()  # or whoever gets it next waits for ever
        connection.release(again=again)
        self._over(_DONE)

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._connection = None  # and with it whoever was producing has been stopped
        if self._response is not None:
            self._over(self._cut(reason))
        elif self._anything:
            self._fail(Failure(ResponseFailed([reason])))
        else:
            error = ResponseNeverReceived if self._sent else RequestTransmissionFailed
            self._fail(Failure(error([reason])))

    def _cut(self, reason: Failure) -> Failure:
        if isinstance(self._decoder, UntilClose):
            return Failure(PotentialDataLoss())
        return Failure(ResponseFailed([reason], self._response))

    def _broken(self, error: HeadError) -> None:
        """What came is not HTTP. Nothing on this connection can be believed any more."""
        connection = self._drop()
        if connection is not None:
            if not self._sent:
                self._stop_producer(connection)
            connection.abort()
        failure = Failure(ResponseFailed([Failure(error)], self._response))
        if self._response is None:
            self._fail(failure)
        else:
            self._over(failure)

    def _over(self, reason: Failure) -> None:
        self._response = None  # no cycle is left, which only the collector would find
        if self._protocol is not None:
            self._protocol.connectionLost(reason)
        else:
            self._reason = reason

    def _fail(self, failure: Failure) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.called:  # it has been when it was cancelled
            answered.errback(failure)

    def _answer_is(self, response: Response) -> None:
        # Let go of first, as in _over: it knows how to cancel this exchange, a cycle for the collector.
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(response)

    def _drop(self) -> Connection | None:
        connection, self._connection = self._connection, None
        return connection

    def _stop_producer(self, connection: Connection) -> None:
        with contextlib.suppress(Exception):
            connection.transport.unregisterProducer()
        try:
            self._producer.stopProducing()
        except Exception:  # noqa: BLE001 - the caller's own
            _log.failure("a body producer could not be stopped")

    def _cancelled(self, _answered: Deferred[Any]) -> None:
        connection = self._drop()
        if connection is not None:
            if not self._sent:
                self._stop_producer(connection)
            connection.abort()

    # --- what the body's protocol asks of its transport

    def pauseProducing(self) -> None:
        if self._connection is not None:
            self._paused = True
            self._connection.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self._connection is not None:
            self._paused = False
            self._connection.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Close the connection; the protocol is told as of any other cut. At once, since TLS would wait for a reply."""
        if self._connection is not None:
            self._connection.transport.abortConnection()

    loseConnection = abortConnection = stopProducing


_DONE = Failure(ResponseDone())
