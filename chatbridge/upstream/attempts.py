"""The upstream requests of one answer: the first, and those made because it did not go well.

Nothing is asked again once the upstream has begun to answer. Before that a request is put otherwise after a refusal
that teaches something, sent with another key, sent again after a wait, or sent to the next upstream or model;
docs/decisions/0007 has the reasons for how often.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from chatbridge.protocol import failure
from chatbridge.protocol.delay import retry_delay
from chatbridge.protocol.errors import RETRYABLE, ApiError, Kind
from chatbridge.protocol.failure import Failure
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate.dialect import ChatRequest
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.upstream.body import collect
from chatbridge.upstream.deadlines import Deadlines
from chatbridge.upstream.draft import Draft
from chatbridge.upstream.fault import connection_error, timed_out
from chatbridge.upstream.headers import last_values
from chatbridge.upstream.keys import Key
from chatbridge.upstream.upstream import Upstream

FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
"""Seconds before a request is sent again, doubled each time; half of it is chance."""
KEY_SECONDS = 300.0
"""How long a key is left alone after it was refused, where the upstream names no time."""
LIMITED_SECONDS = 5.0
"""The same, for one that has reached a rate limit."""
ERROR_BODY_LIMIT = 64 * 1024
SETTLE_SECONDS = 5.0
"""How long the text of an error is waited for."""

_REFUSED = 400
"""The status of a refusal inside an answer that names none."""
_KEYS_OWN = frozenset({Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT})
"""What another key may mend."""
_ELSEWHERE = frozenset({*_KEYS_OWN, Kind.UNAVAILABLE, Kind.NOT_FOUND})
"""What another upstream may mend. What is wrong with the request is wrong there too."""
_NOT_ANSWERED = frozenset({"connection", "timeout", "empty"})
_NOT_ASKED = frozenset({"circuit", "busy"})

_log = Logger()


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream, and the model's name there."""

    upstream: Upstream
    model: str
    context_window: int = 0
    """What the upstream says of the model, in tokens, for a profile that does not know it."""


@dataclass(frozen=True, slots=True)
class Miss:
    """An attempt that did not become an answer. *reason* is one word, for the log and the metrics."""

    error: ApiError
    reason: str
    status: int = 0
    found: Failure | None = None
    delay: float | None = None
    """Seconds that the upstream asks to wait."""
    inside: bool = False
    """It was said inside an answer that had begun with 200."""


class Attempts:
    """Asks *targets*, the first one first, for one answer. *clock* is a reactor's, *chance* returns 0 to 1.

    Raises :class:`ApiError` for a request that the upstream is known to refuse.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        request: ResponsesRequest | ChatRequest,
        headers: Mapping[str, str],
        *,
        clock: Any,
        notes: Notes,
        translate: Callable[..., Any] = translate_request,
        offer_tools: bool = True,
        forward: Sequence[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._targets = list(targets)
        self._asked: Any = request
        self._translate = translate
        self._headers = headers
        self._clock = clock
        self.deadlines = Deadlines(clock)
        """The answer's, which the attempts are for."""
        self._notes = notes
        self._offer_tools = offer_tools
        self._forward = forward
        self._chance = chance
        self._running: Deferred[Any] | None = None
        self._posted: Deferred[Any] | None = None
        self._late = self._stopped = False
        self._since: float | None = None
        self._tries = 0
        self._tried: frozenset[Key] = frozenset()
        self._key: Key | None = None
        self._pass: int | None = None
        self._inside = False
        self._missed: dict[int, ApiError] = {}
        self.made = 0
        """Upstream requests so far."""
        self.again: list[tuple[str, str]] = []
        """Why each one after the first was made: the upstream that failed, and a word."""
        self.status = 0
        """The status of the upstream's last answer."""
        self._turn_to(0)
        if self.upstream.breaker.wait() > 0:  # one that is known to be down is not asked first
            self._turn_to(next((at for at, it in enumerate(self._targets) if it.upstream.breaker.wait() <= 0), 0))
        self._aim()

    def _turn_to(self, at: int) -> None:
        self._at = at
        self.upstream = self._targets[at].upstream
        """The one that is asked now."""

    def redact(self, text: str) -> str:
        """Return *text* without the keys of all the upstreams that may be asked."""
        for target in self._targets:
            text = target.upstream.keys.redact(text)
        return text

    def answer(self, empty: ApiError | None = None) -> Deferred[Any]:
        """Fire with the head of the first good answer; fails with :class:`ApiError` when there is none.

        *empty* is what went wrong with the answer before, which ended before it said anything.
        """
        if empty is None:
            # As it nearly always goes: the first one is good, and no coroutine is needed for it.
            self._running = maybeDeferred(self._once).addCallback(self._unless_missed)
        else:
            miss = Miss(empty, "timeout" if empty.status == 504 else "empty")
            self._running = Deferred.fromCoroutine(self._until_good(miss))
        return self._running

    def answer_after(self, found: Failure, error: ApiError) -> Deferred[Any]:
        """Do what :meth:`answer` does, after an error that came inside an answer in place of its first output."""
        delay = retry_delay(found.message, {}, named=found.delay, now=time.time())
        miss = Miss(error, error.kind.value, found.status or _REFUSED, found, delay, inside=True)
        self._running = Deferred.fromCoroutine(self._until_good(miss))
        return self._running

    def repair(self, text: str, problem: str) -> bool:
        """Make the next request one for a better answer than *text*; return whether there can be one.

        *problem* is what is wrong with it.
        """
        if not self.draft.repair(text, problem):
            return False
        _log.warn("an answer does not match its schema, and is asked for once more")
        self._leave()
        self.again.append((self.upstream.name, "repair"))
        return True

    def flowing(self) -> None:
        """The answer has begun: from here on nothing is asked again."""
        if self._pass is not None:
            self.upstream.works(self._pass)
            self._pass = None

    def forget(self) -> None:
        """Let go of the request, which is large: the answer has begun, and it is never sent again."""
        self._asked, self._headers = None, {}
        self.draft.forget()

    def stop(self) -> None:
        """The answer is over, or nobody wants it any more."""
        self._stopped = True
        self._leave()
        if self._running is not None:
            self._running.cancel()

    # --- the loop

    def _unless_missed(self, got: Any) -> Any:
        return Deferred.fromCoroutine(self._until_good(got)) if isinstance(got, Miss) else got

    async def _until_good(self, got: Any) -> Any:
        while isinstance(got, Miss):
            await self._after(got)
            got = await self._once()
        return got

    async def _after(self, miss: Miss) -> None:
        """Wait until it is time for the next attempt; raise the error to tell when there is none."""
        if self._stopped:
            raise CancelledError
        upstream, number = self.upstream, self.made
        self._settle(miss)
        # Whoever opened the circuit, or was its probe, is told of the pause at once: a plain failure would be tried
        # again within it, for nothing.
        paused = miss.error.kind is Kind.UNAVAILABLE and upstream.breaker.wait() > 0
        self._missed[self._at] = upstream.resting() if paused else miss.error
        try:
            plan = self._plan(miss)
        except ApiError as known:  # learned: it cannot be asked at all
            self._missed[self._at] = known
            plan = None
        told = self.redact(miss.error.message)
        what = "no attempt" if miss.reason in _NOT_ASKED else f"failed attempt {number}"
        if plan is None:
            _log.warn("{what} at {upstream}, the last one: {told}", what=what, upstream=upstream.name, told=told)
            raise self._worst()
        reason, wait = plan
        _log.warn(
            "{what} at {upstream}: {told}; again ({reason}) {then}",
            what=what, upstream=upstream.name, told=told, reason=reason,
            then=f"in {wait:.1f} s" if wait else f"at {self.upstream.name}, now",
        )  # fmt: skip
        self.again.append((upstream.name, reason))
        if wait:
            await self._sleep(wait)
        if self._stopped:
            raise CancelledError

    def _once(self) -> Deferred[Any]:
        """Fire with a good answer's head, or a :class:`Miss`."""
        upstream = self.upstream
        self._pass = upstream.breaker.admit()
        if self._pass is None:
            return succeed(Miss(upstream.resting(), "circuit"))
        place = upstream.limits.enter()
        return self._post() if place is None else place.addCallbacks(lambda _: self._post(), self._busy)

    def _busy(self, failed: TwistedFailure) -> Miss:
        if not isinstance(failed.value, ApiError):
            failed.raiseException()
        return Miss(failed.value, "busy")

    def _post(self) -> Deferred[Any]:
        upstream = self.upstream
        self._inside = True
        if self._since is None:
            self._since = self._clock.seconds()
        self.made += 1
        self._key = upstream.keys.take(self._tried) or self._key
        posted = upstream.client.post(self.draft.body, self._headers, key=self._key, forward=self._forward)
        self._posted, self._late = posted, False
        self.deadlines.set(self._too_late, upstream.settings.first_byte_timeout)
        return posted.addCallbacks(self._began, self._did_not_begin)

    def _too_late(self) -> None:
        if self._posted is not None:
            self._late = True
            self._posted.cancel()

    def _began(self, response: Any) -> Any:
        self.deadlines.lift(self._too_late)
        self._posted = None
        self.status = code = response.code
        if code != 200:
            return Deferred.fromCoroutine(self._refused(response))
        self._running = None  # nothing is left to cancel
        return response

    def _did_not_begin(self, failed: TwistedFailure) -> Miss:
        self.deadlines.lift(self._too_late)
        self._posted = None
        upstream = self.upstream
        if self._late and failed.check(CancelledError):
            error = timed_out(upstream.url, upstream.settings.first_byte_timeout, "did not begin to answer")
        else:  # whatever the library says of the connection
            error = connection_error(failed, upstream.url)
        return Miss(error, "timeout" if error.status == 504 else "connection")

    async def _refused(self, response: Any) -> Miss:
        collecting = collect(response, ERROR_BODY_LIMIT)
        timer = self._clock.callLater(SETTLE_SECONDS, collecting.cancel)
        try:
            body = await collecting
        finally:
            if timer.active():
                timer.cancel()
        headers = last_values(response.headers)
        found = failure.read_body(body)
        error = failure.upstream_error(
            response.code,
            found,
            headers,
            check=self.upstream.advice,
            overflow=self.draft.profile.overflow,
            empty_is_overflow=self.draft.profile.empty_error_is_overflow,
            now=time.time(),
        )
        delay = retry_delay(found.message, headers, named=found.delay, now=time.time())
        return Miss(error, error.kind.value, response.code, found, delay)

    def _sleep(self, seconds: float) -> Deferred[None]:
        slept: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, slept.callback, None)
        return slept

    def _settle(self, miss: Miss) -> None:
        """Tell the upstream's breaker and limits how the attempt went."""
        number, self._pass = self._pass, None
        if number is not None:
            if miss.reason == "busy":
                self.upstream.breaker.released(number)
            elif miss.reason in _NOT_ANSWERED or (miss.status >= 500 and miss.error.kind is Kind.UNAVAILABLE):
                # The retries of one answer are one failure: else two unlucky requests would look like an outage. As a
                # probe each counts.
                if self._tries and self.upstream.breaker.state == "closed":
                    self.upstream.breaker.released(number)
                else:
                    self.upstream.fails(number, miss.error)
            elif miss.inside:  # without a status it may be either
                self.upstream.breaker.released(number)
            else:
                self.upstream.works(number)
        self._leave()

    def _leave(self) -> None:
        if self._pass is not None:
            self.upstream.breaker.released(self._pass)
            self._pass = None
        if self._inside:
            self._inside = False
            self.upstream.limits.leave()

    # --- what to do next

    def _plan(self, miss: Miss) -> tuple[str, float] | None:
        """Return why and in how many seconds to ask again, with what to ask changed accordingly."""
        if miss.found is not None and self.draft.learn(miss.status, miss.found, miss.error.kind):
            return "refused", 0.0
        if miss.status and miss.error.kind in _KEYS_OWN and self._other_key(miss):
            return "key", 0.0
        more = self._at + 1 < len(self._targets)
        wait = self._wait(miss)
        # A glitch is waited out; who names a time will not be well before it.
        if wait is not None and not (more and miss.delay is not None):
            self._tries += 1
            return miss.reason, wait
        if more and (miss.error.kind in _ELSEWHERE or miss.reason == "connection") and self._fall():
            return "fallback", 0.0
        return None

    def _wait(self, miss: Miss) -> float | None:
        """Return how long to wait before the same is asked again, None when it is not."""
        settings = self.upstream.settings
        if miss.error.kind not in RETRYABLE or miss.reason in _NOT_ASKED or self._tries >= settings.retries:
            return None
        if self.upstream.breaker.wait() > 0:
            return None
        backoff: float = min(FIRST_WAIT * 2**self._tries, LONGEST_WAIT)
        wait = backoff * (0.5 + 0.5 * self._chance())
        if miss.delay is not None:
            wait = miss.delay * (1 + 0.1 * self._chance())  # all who were refused together should not come together
        spent = self._clock.seconds() - (self._since or 0.0)
        return wait if spent + wait <= settings.retry_seconds else None

    def _other_key(self, miss: Miss) -> bool:
        keys = self.upstream.keys
        if self._key is None:
            return False
        limited = miss.error.kind is Kind.RATE_LIMIT
        keys.cool(self._key, miss.delay or (LIMITED_SECONDS if limited else KEY_SECONDS))
        self._tried |= {self._key}
        other = keys.take(self._tried)
        if other is None:
            return False
        _log.warn("the key {one} is left alone for a while, {other} is used", one=self._key.name, other=other.name)
        return True

    def _fall(self) -> bool:
        """Aim at the next target that can be asked; return whether there is one."""
        at = self._at
        while self._at + 1 < len(self._targets):
            self._turn_to(self._at + 1)
            if self.upstream.breaker.wait() > 0:
                continue
            try:
                self._aim()
            except ApiError as error:
                _log.info("{upstream} cannot be asked: {error}", upstream=self.upstream.name, error=error.message)
                continue
            return True
        self._turn_to(at)
        return False

    def _worst(self) -> ApiError:
        """Return the error to tell: of each target the last one, and of these the first.

        It is the one of the upstream that was meant. But one that may pass goes before it, for then asking again helps.
        """
        missed = list(self._missed.values())
        return next((error for error in missed if error.kind in RETRYABLE), missed[0])

    def _aim(self) -> None:
        """Put the request for the present target, which begins with all its tries."""
        target = self._targets[self._at]
        asked = self._asked if target.model == self._asked.model else replace(self._asked, model=target.model)
        self.draft = Draft(
            asked,
            target.upstream.learned,
            self._notes,
            translate=self._translate,
            offer_tools=self._offer_tools,
            vendor_search=target.upstream.settings.vendor_search,
            context_window=target.context_window,
        )
        self._since, self._tries, self._tried, self._key = None, 0, frozenset(), None
