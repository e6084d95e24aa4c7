"""From a checked request to a running answer: what every way in shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatbridge.protocol import codex
from chatbridge.protocol.models import Model
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.protocol.websearch import served
from chatbridge.service.routes import Route
from chatbridge.service.settings import Settings
from chatbridge.translate.dialect import ChatRequest, adapt
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.translate.turn import Turn
from chatbridge.upstream.attempts import Attempts, Target
from chatbridge.upstream.catalogue import Catalogue
from chatbridge.upstream.client import ChatClient
from chatbridge.upstream.upstream import Upstream
from chatbridge.web.answer import Answer
from chatbridge.web.answers import Answers
from chatbridge.web.ids import new_id
from chatbridge.web.record import Record
from chatbridge.web.rehearsal import Rehearsal
from chatbridge.web.relay import Relay
from chatbridge.web.sink import Sink
from chatbridge.web.trace import Trace

_log = Logger()


class NoteLog:
    """Logs each kind of note once for an upstream, until the configuration is read again."""

    LIMIT = 500
    """Kinds come from what clients send, so there is an end to remembering them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def log(self, notes: Notes) -> None:
        """Log those of *notes* whose kind is new."""
        for kind, text in notes:
            if kind not in self._seen and len(self._seen) < self.LIMIT:
                self._seen.add(kind)
                _log.info("not carried: {text}", text=text[:200])


class Bridge:
    """Makes answers. *reactor* is the clock."""

    def __init__(self, client: ChatClient, answers: Answers, settings: Settings, reactor: Any) -> None:
        self.settings = settings
        self.upstream = Upstream(client, settings, reactor)
        self.others: Mapping[str, Bridge] = {}
        """All bridges by the upstream's name, where a route may fall back to another one."""
        self.keep_trace: Callable[[dict[str, Any], Callable[[str], str]], None] | None = None
        """Gets each turn's trace, and what takes the secrets out of its texts."""
        self._answers = answers
        self._max_streams = settings.max_streams
        self._reactor = reactor
        self._note_log = NoteLog()
        self.catalogue = Catalogue(client, reactor, self.upstream.keys)
        """The upstream's list of models."""

    def answer(
        self,
        asked: ResponsesRequest,
        headers: Mapping[str, str],
        open_sink: Callable[[Turn], Sink],
        gone: Deferred[None],
        *,
        route: Route | None = None,
    ) -> Answer:
        """Return the answer to *asked*, not yet started.

        *headers* are the client's, names in lower case. *open_sink* makes the way out for the turn. *gone* fires when
        the client's request is finished or its connection lost. *route* is the way it came: the model's name upstream,
        headers that go on, and where to ask next. Raises :class:`ApiError` for what cannot be asked of the upstream.
        """
        self._answers.admit(self._max_streams)
        if self.settings.search_url:
            asked = served(asked)
        notes = Notes()
        attempts = Attempts(
            self._targets(asked, route),
            asked,
            headers,
            clock=self._reactor,
            notes=notes,
            offer_tools=not codex.is_compaction(headers),
            forward=route.forward_header if route is not None else (),
        )

        def new_turn(notes: Notes) -> Turn:
            return Turn(
                asked,
                attempts.draft.translation,
                notes,
                new_id=new_id,
                now=time.time,
                for_codex=codex.is_codex(headers),
                redact=attempts.redact,
            )

        turn = new_turn(notes)
        held = self.settings.repair_json and attempts.draft.translation.schema is not None
        gone.addBoth(self._log_notes, notes)
        sink = open_sink(turn)
        answer = Answer(
            turn=turn,
            sink=sink,
            attempts=attempts,
            gone=gone,
            settings=self.settings,
            answers=self._answers,
            record=self._record(asked),
            rehearsal=Rehearsal(lambda: new_turn(Notes())) if held else None,
        )
        if self.keep_trace is not None:
            answer.trace = Trace(asked, headers, for_codex=codex.is_codex(headers))
            answer.trace.follow(sink)
            gone.addBoth(self._traced, answer, attempts, turn)
        return answer

    def _traced(self, result: Any, answer: Answer, attempts: Attempts, turn: Turn) -> Any:
        if self.keep_trace is not None and answer.trace is not None:
            self.keep_trace(answer.trace.finish(turn, attempts, answer.record.facts()), attempts.redact)
        return result

    def _record(self, asked: ResponsesRequest | ChatRequest) -> Record:
        return Record(upstream=self.settings.name, model=asked.model)

    def relay(self, asked: ChatRequest, headers: Mapping[str, str], request: Any, *, route: Route) -> Relay:
        """Return the relay for a chat/completions request, not yet started.

        Raises :class:`ApiError` for what cannot be asked of the upstream.
        """
        self._answers.admit(self._max_streams)
        notes = Notes()
        attempts = Attempts(
            self._targets(asked, route),
            asked,
            headers,
            clock=self._reactor,
            notes=notes,
            translate=adapt,
            forward=route.forward_header,
        )
        self._note_log.log(notes)
        return Relay(
            request,
            attempts,
            settings=self.settings,
            answers=self._answers,
            record=self._record(asked),
        )

    def _targets(self, asked: ResponsesRequest | ChatRequest, route: Route | None) -> list[Target]:
        """Return what to ask, in order."""
        model = (route.send_model if route is not None else "") or asked.model
        found = [self._target(asked, model)]
        for step in route.fallback if route is not None else ():
            bridge = self.others[step.upstream] if step.upstream else self
            found.append(bridge._target(asked, step.model or model))  # noqa: SLF001 - another one of us
        return found

    def _target(self, asked: ResponsesRequest | ChatRequest, model: str) -> Target:
        return Target(self.upstream, model, self._window(model) if asked.get("truncation") == "auto" else 0)

    def translated(self, asked: ResponsesRequest) -> dict[str, Any]:
        """Return *asked* as it would be sent upstream. Raises :class:`ApiError` for what cannot be."""
        profile = self.upstream.learned.profile(asked.model)
        return translate_request(asked, profile, Notes(), vendor_search=self.settings.vendor_search).body

    def described(self, listed: Sequence[Model]) -> Iterator[Model]:
        """Yield models with what the profile knows of them; the profile's own where the upstream *listed* none."""
        named = (Model(id=name) for name in self.upstream.learned.names())
        for model in listed or named:
            profile = self.upstream.learned.profile(model.id)
            yield replace(
                model,
                context_window=model.context_window or profile.context_window,
                images=False if profile.images == "none" else model.images,
            )

    def _window(self, model: str) -> int:
        """Return the model's context window as far as the upstream tells it; its profile may know it without."""
        return 0 if self.upstream.learned.profile(model).context_window else self.catalogue.window(model)

    @property
    def url(self) -> str:
        """The upstream's address."""
        return self.upstream.url

    def _log_notes(self, result: Any, notes: Notes) -> Any:
        self._note_log.log(notes)
        return result
