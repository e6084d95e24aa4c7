"""POST /v1/responses."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol import codex
from chatbridge.protocol.responses import parse_request
from chatbridge.service.settings import Settings
from chatbridge.translate.notes import Notes
from chatbridge.translate.turn import Turn
from chatbridge.upstream.attempts import Attempts
from chatbridge.upstream.client import ChatClient
from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import profile_for
from chatbridge.web.answer import Answer, Answers
from chatbridge.web.body import read_json
from chatbridge.web.resource import JsonResource
from chatbridge.web.sink import EventStream, WholeResponse

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


class ResponsesResource(JsonResource):
    """Translates a request, sends it upstream, and streams or collects the answer."""

    def __init__(self, client: ChatClient, answers: Answers, settings: Settings, reactor: Any) -> None:
        super().__init__()
        self._client = client
        self._answers = answers
        self._settings = settings
        self._reactor = reactor
        self._note_log = NoteLog()
        self._learned = Learned(settings.profile or profile_for(settings.upstream_url))
        self._advice = _advice(settings)

    def render_POST(self, request: Request) -> int:
        settings = self._settings
        data = request.content.read() if request.content is not None else b""
        asked = parse_request(read_json(request.requestHeaders, data, settings.max_request_bytes))
        headers = _headers(request)
        for_codex = codex.is_codex(headers)
        notes = Notes()
        attempts = Attempts(
            self._client,
            asked,
            headers,
            self._learned,
            notes=notes,
            offer_tools=not codex.is_compaction(headers),
            vendor_search=settings.vendor_search,
        )
        turn = Turn(
            asked,
            attempts.translation,
            notes,
            new_id=new_id,
            now=time.time,
            for_codex=for_codex,
            redact=settings.api_key.redact,
        )
        answered = {b"x-request-id": new_id("req").encode()}
        gone = request.notifyFinish()
        sink: EventStream | WholeResponse
        if asked.stream:
            sink = EventStream(request, turn, answered, for_codex=for_codex)
        else:
            sink = WholeResponse(request, turn, answered)
        answer = Answer(
            turn=turn,
            sink=sink,
            attempts=attempts,
            gone=gone,
            url=self._client.url,
            advice=self._advice,
            settings=settings,
            clock=self._reactor,
            answers=self._answers,
        )
        answer.on_head = lambda response: _hand_over_turn_state(response, answered)
        if isinstance(sink, EventStream):
            sink.on_write = answer.alive
        gone.addBoth(lambda _: self._note_log.log(notes))
        answer.start()
        return NOT_DONE_YET


def _headers(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }


def _hand_over_turn_state(response: Any, headers: dict[bytes, bytes]) -> None:
    state = response.headers.getRawHeaders(codex.TURN_STATE)
    if state:
        headers[codex.TURN_STATE.encode()] = state[-1] if isinstance(state[-1], bytes) else state[-1].encode("latin-1")


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
