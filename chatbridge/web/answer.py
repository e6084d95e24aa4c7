"""One running answer: the upstream's body on one side, the client on the other, the turn between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatbridge.protocol import codex, failure
from chatbridge.protocol.errors import ApiError, internal, unavailable
from chatbridge.service.settings import Settings
from chatbridge.translate.items import Event
from chatbridge.translate.reader import Reader
from chatbridge.translate.turn import Turn
from chatbridge.upstream.attempts import Attempts
from chatbridge.upstream.body import Body
from chatbridge.upstream.fault import connection_error, timed_out
from chatbridge.web.answers import Answers
from chatbridge.web.record import Record
from chatbridge.web.rehearsal import Rehearsal
from chatbridge.web.sink import Sink
from chatbridge.web.trace import Trace

SETTLE_SECONDS = 5.0
"""How long, after the finish reason, usage and [DONE] are waited for; and after them, the end of the body."""

_TURN_STATE = codex.TURN_STATE.encode()

_log = Logger()


@implementer(IPushProducer)
class Answer:
    """Drives one turn from the upstream request to the last byte.

    *attempts* sends the upstream request, as often as it takes. *gone* fires when the client's request is finished or
    its connection lost. The answer is the producer of the client's connection: when the client reads slowly, the
    upstream's socket is not read.
    """

    def __init__(
        self,
        *,
        turn: Turn,
        sink: Sink,
        attempts: Attempts,
        gone: Deferred[None],
        settings: Settings,
        answers: Answers,
        record: Record,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self._turn = turn
        self._rehearsal = rehearsal
        self._sink = sink
        self._attempts = attempts
        self._settings = settings
        self._answers = answers
        turn.may_ask_again = True
        self._reader = Reader(turn, framed=True)
        self._body: Body | None = None
        self._started = 0.0
        self._paused = False
        self._over = False
        self._left = False
        self._held: Deferred[bool] | None = None
        self._deadlines = deadlines = attempts.deadlines
        self._seconds, self._due = deadlines.seconds, deadlines.due
        self._idle_timeout = 0.0
        self._waits = False
        self.on_turn_state: Callable[[bytes], None] = lambda _: None
        """Called with the upstream's turn state, if it sends one, before the answer opens."""
        self.keep: Callable[[Turn, Sequence[Event | bytes]], Deferred[bool] | None] = lambda _turn, _events: None
        """Called with the turn and its last events when it is closed; they leave when the result has fired with whether
        the answer is stored."""
        self.trace: Trace | None = None
        self.record = record
        gone.addErrback(lambda _: self._client_gone())

    def start(self) -> None:
        """Send the upstream request."""
        self._started = self._seconds()
        settings, deadlines = self._settings, self._deadlines
        self._answers.add(self)
        deadlines.set(self._open_in_time, settings.commit_after)
        deadlines.set(self._too_long, settings.total_timeout)
        deadlines.set(self._silent, settings.keepalive)
        self._ask()

    def _ask(self, empty: ApiError | None = None) -> None:
        self._await(self._attempts.answer(empty))

    def _await(self, pending: Deferred[Any]) -> None:
        pending.addCallbacks(self._head, self._no_answer)
        pending.addErrback(self._bug)

    def fail(self, error: ApiError) -> None:
        """End the answer as failed, now. One that only waits to be stored ends as it is."""
        if self._held is not None:
            self._held.cancel()
        if self._over:
            return
        rehearsal, self._rehearsal = self._rehearsal, None
        if rehearsal is not None and rehearsal.spare is not None:
            self._drop_answer()
            self._turn.spent = None
            self._perform(rehearsal.spare)  # the first answer is better than none
            return
        self._sink.open_for_failure(self)
        self._conclude(self._turn.fail(error))

    def cancel(self) -> None:
        """End the answer because nobody wants it any more: the upstream's connection is closed."""
        if not self._over:
            self._conclude(self._turn.cancel())

    # --- the upstream's side

    def _head(self, response: Any) -> None:
        if not self._over:
            if self._attempts.draft.translation is not self._turn.translation or self._turn.refusal is not None:
                self._turn.retranslate(self._attempts.draft.translation)
            for state in response.headers.getRawHeaders(_TURN_STATE, ())[-1:]:
                self.on_turn_state(state)
            self._open()
        if self._over:  # since it was asked for, or with the first write
            unwanted = Body(lambda _: None, lambda _: None)
            unwanted.stop()
            response.deliverBody(unwanted)
            return
        self._idle_timeout = self._attempts.upstream.settings.idle_timeout
        self._deadlines.set(self._no_data, self._idle_timeout)
        read = self._read if self.trace is None else self.trace.reading(response, self._attempts.draft, self._read)
        self._body = Body(read, self._ended)
        if self._paused:
            self._body.pause()
        response.deliverBody(self._body)
        self._sink.flush()  # what came with the head has gone out with ours

    def _no_answer(self, failed: Failure) -> None:
        if self._over:
            return
        if isinstance(failed.value, ApiError):
            self.fail(failed.value)
        else:
            self._bug(failed)

    def _too_long(self) -> None:
        self._broke_off(timed_out(self._attempts.upstream.url, self._settings.total_timeout, "did not finish"))

    def _broke_off(self, error: ApiError) -> None:
        _log.warn("{error}", error=self._attempts.redact(error.message))
        self.fail(error)

    def _ask_again(self, error: ApiError) -> None:
        """The upstream answered, and then said nothing at all."""
        self._drop_answer()
        self._ask(error)

    def _refused(self, found: failure.Failure) -> None:
        """The upstream answered, and then said that it refuses."""
        self._drop_answer()
        self._await(self._attempts.answer_after(found, self._turn.refused(found)))

    def _drop_answer(self) -> None:
        self._deadlines.lift(self._no_data)
        body, self._body = self._body, None
        if body is not None:
            body.abandon()
        self._reader = Reader(self._turn, framed=True)
        if self._rehearsal is not None:
            self._rehearsal.drop()

    def _read(self, data: bytes) -> None:
        self._due[self._no_data] = self._seconds() + self._idle_timeout
        if self._rehearsal is None:
            self._take(data)
            finish = self._turn.finish
        else:
            self._rehearse(self._rehearsal, data)
            finish = self._finish
        if finish and not self._over and self._idle_timeout > SETTLE_SECONDS:
            self._idle_timeout = SETTLE_SECONDS
            self._deadlines.set(self._no_data, SETTLE_SECONDS)

    @property
    def _finish(self) -> str:
        """The upstream's finish reason, once seen."""
        return self._turn.finish if self._rehearsal is None else self._rehearsal.finish

    @property
    def _silent_so_far(self) -> bool:
        """The upstream has answered and said nothing."""
        return self._reader.silent if self._rehearsal is None else self._rehearsal.silent

    def _rehearse(self, rehearsal: Rehearsal, data: bytes) -> None:
        try:
            rehearsal.feed(data)
        except Exception:  # noqa: BLE001 - our own fault must still end the answer
            self._bug()
            return
        if not rehearsal.silent:
            self._attempts.flowing()
        if rehearsal.closed:
            self._rehearsed(rehearsal)
        elif rehearsal.too_large:
            self._rehearsal = None  # too much to hold: it goes on as it comes
            for read in rehearsal.reads:
                self._take(read)

    def _rehearsed(self, rehearsal: Rehearsal) -> None:
        """The answer is whole: give it, or ask for another one where it is wrong."""
        mismatch = rehearsal.mismatch
        if mismatch and rehearsal.spare is None and self._attempts.repair(rehearsal.text, mismatch):
            self._turn.spent = rehearsal.usage
            rehearsal.again()
            self._drop_answer()
            self._ask()
            return
        self._rehearsal = None
        if rehearsal.failed and rehearsal.spare is not None:
            self._turn.spent = None
            self._perform(rehearsal.spare)
        else:
            self._perform(rehearsal.reads)

    def _perform(self, reads: list[bytes]) -> None:
        """Give an answer that was held back."""
        for data in reads:
            self._take(data)
        if not self._over:
            self._ended(None)

    def _take(self, data: bytes) -> None:
        try:
            events = self._reader.feed(data)
        except Exception:  # noqa: BLE001 - our own fault must still end the answer
            self._bug()
            return
        if self._turn.refusal is not None:
            self._refused(self._turn.refusal)
            return
        if events and not self.record.first_event:
            self.record.first_event = self._seconds() - self._started
            self._attempts.flowing()
            if self.trace is None:  # else it is written down at the end
                self._attempts.forget()
                self._turn.translation = self._attempts.draft.translation
        if self._turn.closed:
            self._conclude(events)
        elif events:
            self._due[self._silent] = self._seconds() + self._settings.keepalive
            self._sink.write(events)

    def _ended(self, reason: Failure | None) -> None:
        if self._over:
            self._deadlines.lift(self._no_end)
            return
        if self.trace is not None:
            self.trace.ended(reason)
        if reason is not None and not self._finish:
            error = connection_error(reason, self._attempts.upstream.url)
            if self._silent_so_far:
                self._ask_again(error)
            else:
                self._broke_off(error)
            return
        if self._silent_so_far:
            self._ask_again(unavailable("The upstream's answer is empty.", code="upstream_incomplete"))
            return
        try:
            if self._rehearsal is not None:
                self._rehearsal.close()
                self._rehearsed(self._rehearsal)
                return
            events = self._reader.close()
        except Exception:  # noqa: BLE001 - as above
            self._bug()
            return
        if self._turn.refusal is not None:
            self._refused(self._turn.refusal)
            return
        self._conclude(events)

    def _no_data(self) -> None:
        if self._paused:  # the client is slow, not the upstream
            self._deadlines.set(self._no_data, self._idle_timeout)
            return
        if self._finish:
            self._ended(None)
            return
        upstream = self._attempts.upstream
        error = timed_out(upstream.url, upstream.settings.idle_timeout, "sent nothing more")
        if self._silent_so_far:
            self._ask_again(error)
        else:
            self._broke_off(error)

    # --- the client's side

    def _open_in_time(self) -> None:
        """Begin to answer, unless it went wrong once: then the status may still tell it, when that is soon."""
        if self._attempts.again and not self._waits:
            self._waits = True
            self._deadlines.set(self._open_in_time, self._settings.retry_seconds)
        else:
            self._open()
            self._sink.flush()

    def _open(self) -> None:
        self._deadlines.lift(self._open_in_time)
        self._due[self._silent] = self._seconds() + self._settings.keepalive
        self._sink.open(self)

    def _conclude(self, events: Sequence[Event | bytes]) -> None:
        """Write the last *events*: the turn is closed."""
        if self._over:
            return
        self._settle()
        kept = self.keep(self._turn, events)
        if kept is None:
            self._close(True, events)
            return
        if not kept.called:
            # All but the terminal event need not wait for the store.
            self._sink.write(events[:-1])
            events = events[-1:]
            self._held = kept
        kept.addCallback(self._close, events)

    def _close(self, kept: bool, events: Sequence[Event | bytes]) -> None:
        self._held = None
        if not kept:
            self._tell_not_stored(events)
        self._leave()
        if not self._left:
            self._sink.close(events)

    def _tell_not_stored(self, events: Sequence[Event | bytes]) -> None:
        self._turn.response["store"] = False
        terminal = events[-1] if events else b""
        if isinstance(terminal, dict):
            terminal["response"]["store"] = False

    def _silent(self) -> None:
        self._deadlines.set(self._silent, self._settings.keepalive)
        if not self._paused:
            self._sink.keepalive()

    def _client_gone(self) -> None:
        self._left = True
        if not self._over:
            self._settle()
            self._leave()
            if self._body is not None:
                self._body.stop()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._body is not None:
            self._body.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._no_data in self._due:
            self._deadlines.set(self._no_data, self._idle_timeout)
        if self._body is not None:
            self._body.resume()

    def stopProducing(self) -> None:
        self._client_gone()

    # --- the end

    def _settle(self) -> None:
        """Nothing more is wanted of the upstream."""
        self._over = True
        self._deadlines.lift(self._open_in_time, self._too_long, self._no_data)
        self._attempts.stop()
        body = self._body
        if body is not None and not body.ended:
            # The connection can be used again when the body ends soon, as it does after [DONE].
            body.discard()
            if self._turn.response["status"] in ("failed", "cancelled"):
                body.stop()
            else:
                self._deadlines.set(self._no_end, SETTLE_SECONDS)

    def _no_end(self) -> None:
        if self._body is not None:
            self._body.stop()

    def _leave(self) -> None:
        """Nothing more goes to the client than the end, if that."""
        record = self.record
        record.asked(self._attempts)
        record.events = self._turn.events
        record.mismatch = bool(self._turn.mismatch)
        record.finish(self._turn.response, self._turn.error, closed=self._turn.closed)
        self._deadlines.lift(self._silent)
        self._answers.remove(self)

    def _bug(self, failed: Failure | None = None) -> None:
        _log.failure("an answer failed inside chatbridge", failed or Failure())
        self.fail(internal())
