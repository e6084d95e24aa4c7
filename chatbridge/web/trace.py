"""What one turn was on the wire, while it runs: for a file that it can be replayed from. Only with ``--trace``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.python.failure import Failure

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.vendors.difference import difference

VERSION = 1
TURN_LIMIT = 8 * 1024 * 1024
"""Bytes of one turn that are kept; what comes then is left out, and the file says so."""
_SHOWN = ("accept", "content-type", "user-agent", "originator", "version", "session_id", "conversation_id")
"""Headers whose values are kept. Others may be secrets, whatever they are called."""

Read = Callable[[bytes], None]


class Trace:
    """Collects one turn.

    *asked* is the request as it was understood, with the conversation that it goes on from.
    """

    def __init__(self, asked: ResponsesRequest, headers: Mapping[str, str], *, for_codex: bool) -> None:
        self._asked = asked
        self._for_codex = for_codex
        self._headers = {name: value if name in _SHOWN else "<redacted>" for name, value in headers.items()}
        self._reads: list[bytes] = []
        self._sent: list[bytes] = []
        self._size = 0
        self._truncated = False
        self._status = 0
        self._asked_for: dict[str, Any] | None = None
        self._whole = False

    def reading(self, response: Any, draft: Any, read: Read) -> Read:
        """Return *read* with a look at what it reads of *response*, the answer to *draft*; an earlier one is forgotten.

        The draft is looked at now: it is let go of when the answer begins.
        """
        self._status, self._reads, self._asked_for = response.code, [], _asked_for(draft)

        def traced(data: bytes) -> None:
            self._add(self._reads, data)
            read(data)

        return traced

    def ended(self, reason: Failure | None) -> None:
        """Note how the upstream's body ended: None is whole."""
        self._whole = reason is None

    def follow(self, sink: Any) -> None:
        """Look at what *sink* writes, if it writes more than one document."""
        if hasattr(sink, "tap"):
            sink.tap = partial(self._add, self._sent)

    def finish(self, turn: Any, attempts: Any, facts: dict[str, Any]) -> dict[str, Any]:
        """Return all of it, as one value that is JSON but for its bytes."""
        error, sent = turn.error, b"".join(self._sent)
        asked_for = self._asked_for or _asked_for(attempts.draft)
        if not sent and not self._truncated:
            sent = dumps(error.body() if error is not None else turn.response)
        return {
            "version": VERSION,
            "facts": facts,
            "profile": asked_for["profile"],
            "options": {**asked_for["options"], "for_codex": self._for_codex},
            "client": {
                "headers": self._headers,
                "request": {**self._asked.fields, "input": self._asked.input},
                "before": self._asked.before,
                "stored": self._asked.stored,
                "stream": self._asked.stream,
            },
            "upstream": {
                "url": attempts.upstream.url.partition("?")[0],
                "model": asked_for["profile"]["model"],
                "request": asked_for["body"],
                "status": self._status,
                "reads": self._reads,
                "whole": self._whole,
            },
            "error": _told(error),
            "sent": sent,
            "truncated": self._truncated,
        }

    def _add(self, pieces: list[bytes], data: bytes) -> None:
        self._size += len(data)
        if self._size > TURN_LIMIT:
            self._truncated = True
        else:
            pieces.append(data)


def _asked_for(draft: Any) -> dict[str, Any]:
    return {"profile": difference(draft.profile, draft.model), "options": draft.options, "body": draft.body}


def _told(error: ApiError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    names = ("status", "message", "type", "param", "code", "retry_after")
    return {**{name: getattr(error, name) for name in names}, "kind": error.kind.value}
