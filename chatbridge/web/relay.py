"""One chat/completions answer on its way through: what the upstream sends goes on as it comes."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatbridge.protocol import sse
from chatbridge.protocol.errors import ApiError, internal, unavailable
from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.service.settings import Settings
from chatbridge.translate.usage import read_usage
from chatbridge.upstream.attempts import Attempts
from chatbridge.upstream.body import Body
from chatbridge.upstream.fault import connection_error, timed_out
from chatbridge.web.answers import Answers
from chatbridge.web.direct import DirectOutlet, Outlet, outlet
from chatbridge.web.record import Record
from chatbridge.web.resource import set_status, write_error

_TAIL = 16 * 1024
"""How much of the answer's end is kept to find the token counts in."""
_log = Logger()


@implementer(IPushProducer)
class Relay:
    """Drives one answer from the upstream request to the last byte.

    The head goes to the client with the body's first bytes: until then the upstream may be asked again, and a failure
    is an HTTP error. It is the producer of the client's connection: when the client reads slowly, the upstream's socket
    is not read.
    """

    def __init__(
        self, request: Any, attempts: Attempts, *, settings: Settings, answers: Answers, record: Record
    ) -> None:
        self._request = request
        self._attempts = attempts
        self._settings = settings
        self._deadlines = attempts.deadlines
        self._answers = answers
        self.record = record
        self._out: Outlet | DirectOutlet
        self._response: Any = None
        self._body: Body | None = None
        self._started = 0.0
        self._tail = b""
        self._opened = False
        self._paused = False
        self._over = False
        request.notifyFinish().addErrback(lambda _: self._client_gone())

    def start(self) -> None:
        """Send the upstream request."""
        self._started = self._deadlines.seconds()
        self._answers.add(self)
        self._deadlines.set(self._too_long, self._settings.total_timeout)
        self._ask()

    def fail(self, error: ApiError) -> None:
        """End the answer as failed, now."""
        if self._over:
            return
        error.message = self._attempts.redact(error.message)
        self.record.error = error.kind.value
        _log.warn("{error}", error=error.message)
        self._finish(error.code or error.kind.value)
        if self._body is not None:
            self._body.abandon()
        if not self._opened:
            write_error(self._request, error)
        elif self._is_stream():
            # Clients of chat/completions know an event with an error in it.
            self._out.end(b"\n\ndata: " + dumps(error.body()) + b"\n\n")
        else:
            self._request.channel.loseConnection()  # half a document must not look whole

    # --- the upstream's side

    def _ask(self, empty: ApiError | None = None) -> None:
        pending = self._attempts.answer(empty)
        pending.addCallbacks(self._head, self._no_answer)
        pending.addErrback(self._bug)

    def _head(self, response: Any) -> None:
        body = Body(self._read, self._ended)
        if self._over:
            body.abandon()
        else:
            self._response, self._body = response, body
            self._heard()
        response.deliverBody(body)

    def _no_answer(self, failed: Failure) -> None:
        if self._over:
            return
        if isinstance(failed.value, ApiError):
            self.fail(failed.value)
        else:
            self._bug(failed)

    def _heard(self) -> None:
        self._deadlines.set(self._no_data, self._attempts.upstream.settings.idle_timeout)

    def _read(self, data: bytes) -> None:
        self._heard()
        if not self._opened:
            self._open()
        self._tail = (self._tail + data)[-_TAIL:]
        self._out.write(data)

    def _ended(self, reason: Failure | None) -> None:
        if self._over:
            return
        if reason is not None:
            self._cut(connection_error(reason, self._attempts.upstream.url))
        elif not self._opened:
            self._cut(unavailable("The upstream's answer is empty.", code="upstream_incomplete"))
        else:
            self._finish("completed")
            self._out.end(b"")

    def _cut(self, error: ApiError) -> None:
        if self._opened:
            self.fail(error)
            return
        self._deadlines.lift(self._no_data)
        if self._body is not None:
            self._body.abandon()
        self._body = None
        self._ask(error)

    def _no_data(self) -> None:
        if self._paused:  # the client is slow, not the upstream
            self._heard()
            return
        upstream = self._attempts.upstream
        self._cut(timed_out(upstream.url, upstream.settings.idle_timeout, "sent nothing more"))

    def _too_long(self) -> None:
        self.fail(timed_out(self._attempts.upstream.url, self._settings.total_timeout, "did not finish"))

    # --- the client's side

    def _open(self) -> None:
        self._opened = True
        self._attempts.flowing()
        self._attempts.forget()
        self.record.first_event = self._deadlines.seconds() - self._started
        request = self._request
        set_status(request, 200)
        request.setHeader(b"content-type", self._content_type())
        for coding in self._response.headers.getRawHeaders(b"content-encoding") or ():
            if coding:  # treq leaves an empty one where there was none
                request.setHeader(b"content-encoding", coding)  # not asked for, but some compress all the same
        if self._is_stream():
            request.setHeader(b"cache-control", b"no-cache")
            request.setHeader(b"x-accel-buffering", b"no")  # nginx would hold events back
        request.registerProducer(self, True)
        self._out = outlet(request)

    def _is_stream(self) -> bool:
        return self._content_type().lower().startswith(b"text/event-stream")

    def _content_type(self) -> bytes:
        given: list[bytes] = self._response.headers.getRawHeaders(b"content-type") or [b"application/json"]
        return given[-1]

    def _client_gone(self) -> None:
        if not self._over:
            self._finish("client_gone")
            if self._body is not None:
                self._body.abandon()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._body is not None:
            self._body.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._body is not None and not self._over:
            self._heard()
            self._body.resume()

    def stopProducing(self) -> None:
        self._client_gone()

    # --- the end

    def _finish(self, end: str) -> None:
        self._over = True
        self._deadlines.lift(self._too_long, self._no_data)
        record = self.record
        record.asked(self._attempts)
        record.count(_usage(self._tail, stream=self._opened and self._is_stream()))
        record.end = end
        self._attempts.stop()
        self._answers.remove(self)

    def _bug(self, failed: Failure | None = None) -> None:
        _log.failure("a relayed answer failed inside chatbridge", failed or Failure())
        self.fail(internal())


def _usage(tail: bytes, *, stream: bool) -> dict[str, Any]:
    """Return the token counts in the end of an answer, empty when there are none."""
    if b'"usage"' not in tail:
        return {}
    payloads = sse.Decoder(_TAIL).feed(tail + b"\n\n") if stream else [tail]
    for payload in reversed(payloads):
        try:
            value = loads(payload)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("usage"), dict):
            return read_usage(value["usage"]) or {}
    return {}
