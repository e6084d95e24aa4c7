"""From a checked request to a running answer: what every way in shares."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatbridge.protocol import codex
from chatbridge.protocol.models import Model
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.service.settings import Settings
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.translate.turn import Turn
from chatbridge.upstream.attempts import Attempts
from chatbridge.upstream.catalogue import Catalogue
from chatbridge.upstream.client import ChatClient
from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import profile_for
from chatbridge.web.answer import Answer, Answers
from chatbridge.web.sink import Sink

_log = Logger()


def new_id(prefix: str) -> str:
    """Return a new id, as ``msg_…``."""
    return f"{prefix}_{os.urandom(16).hex()}"


class NoteLog:
    """Logs each kind of note once in the process's life."""

    LIMIT = 500
    """Kinds come from what clients send, so there is an end to remembering them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def log(self, notes: Notes) -> None:
        for kind, text in notes:
            if kind not in self._seen and len(self._seen) < self.LIMIT:
                self._seen.add(kind)
                _log.info("not carried: {text}", text=text[:200])


class Bridge:
    """Makes answers. *reactor* is the clock."""

    def __init__(self, client: ChatClient, answers: Answers, settings: Settings, reactor: Any) -> None:
        self.settings = settings
        self._client = client
        self._answers = answers
        self._reactor = reactor
        self._note_log = NoteLog()
        self._learned = Learned(settings.profile or profile_for(settings.upstream_url))
        self._advice = _advice(settings)
        self.catalogue = Catalogue(client, reactor)
        """The upstream's list of models."""

    def answer(
        self,
        asked: ResponsesRequest,
        headers: Mapping[str, str],
        open_sink: Callable[[Turn], Sink],
        gone: Deferred[None],
        *,
        send_model: str = "",
    ) -> Answer:
        """Return the answer to *asked*, not yet started.

        *headers* are the client's, names in lower case. *open_sink* makes the way out for the turn. *gone* fires when
        the client's request is finished or its connection lost. *send_model* is the model's name upstream, when it is
        another than the client's. Raises :class:`ApiError` for what cannot be asked of
        the upstream.
        """
        notes = Notes()
        model = send_model or asked.model
        attempts = Attempts(
            self._client,
            replace(asked, model=model),
            headers,
            self._learned,
            notes=notes,
            offer_tools=not codex.is_compaction(headers),
            vendor_search=self.settings.vendor_search,
            context_window=self._window(model) if asked.get("truncation") == "auto" else 0,
        )
        turn = Turn(
            asked,
            attempts.translation,
            notes,
            new_id=new_id,
            now=time.time,
            for_codex=codex.is_codex(headers),
            redact=self.settings.api_key.redact,
        )
        gone.addBoth(self._log_notes, notes)
        return Answer(
            turn=turn,
            sink=open_sink(turn),
            attempts=attempts,
            gone=gone,
            url=self._client.url,
            advice=self._advice,
            settings=self.settings,
            clock=self._reactor,
            answers=self._answers,
        )

    def translated(self, asked: ResponsesRequest) -> dict[str, Any]:
        """Return *asked* as it would be sent upstream. Raises :class:`ApiError` for what cannot be."""
        profile = self._learned.profile(asked.model)
        return translate_request(asked, profile, Notes(), vendor_search=self.settings.vendor_search).body

    def described(self, listed: Sequence[Model]) -> Iterator[Model]:
        """Yield models with what the profile knows of them; the profile's own where the upstream *listed* none."""
        named = (Model(id=name) for name in self._learned.names())
        for model in listed or named:
            profile = self._learned.profile(model.id)
            yield replace(
                model,
                context_window=model.context_window or profile.context_window,
                images=False if profile.images == "none" else model.images,
            )

    def _window(self, model: str) -> int:
        """Return the model's context window as far as the upstream tells it; its profile may know it without."""
        return 0 if self._learned.profile(model).context_window else self.catalogue.window(model)

    @property
    def url(self) -> str:
        """The upstream's address."""
        return self._client.url

    def _log_notes(self, result: Any, notes: Notes) -> Any:
        self._note_log.log(notes)
        return result


def _advice(settings: Settings) -> dict[str, str]:
    """What to look at, by the topic of an upstream's refusal."""
    key = f"Check the key in {settings.api_key_env}" if settings.api_key else "chatbridge runs without a key"
    return {
        "auth": f"{key}, the OpenAI-Organization and OpenAI-Project headers, if the client sends them, "
        "and the path of --upstream-url.",
        "not_found": f"Check the model's name and the path of --upstream-url, then {key[0].lower()}{key[1:]} "
        "and the OpenAI-Organization and OpenAI-Project headers.",
        "redirect": "Redirects are not followed: check --upstream-url.",
    }
