"""A traced turn once more, through the translator as it is now."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from chatbridge.protocol import sse
from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate.notes import Notes
from chatbridge.translate.reader import Reader
from chatbridge.translate.request import translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.difference import applied

_ID = re.compile(r"\b[a-z]{2,6}_[0-9a-f]{32}\b")
_TIMES = frozenset(("created_at", "completed_at"))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What goes upstream, and what goes to the client."""

    request: bytes
    sent: bytes


def encoded(text: str) -> bytes:
    """Return a trace's text as the bytes that it stands for."""
    return text.encode("utf-8", "surrogateescape")


def replay(trace: Mapping[str, Any]) -> Replayed:
    """Translate the request of *trace*, and the upstream's bytes as they were read.

    Raises :class:`ApiError` for a request that is refused today.
    """
    client, upstream, options = trace["client"], trace["upstream"], dict(trace["options"])
    fields = {name: value for name, value in client["request"].items() if name != "input"}
    asked = ResponsesRequest(
        fields["model"], client["request"]["input"], client["stream"], fields, client["stored"], client["before"]
    )
    for_codex, profile, notes = options.pop("for_codex"), applied(trace["profile"]), Notes()
    translation = translate_request(replace(asked, model=upstream["model"]), profile, notes, **options)
    numbers = count(1)
    turn = Turn(
        asked,
        translation,
        notes,
        new_id=lambda prefix: f"{prefix}_{next(numbers):032x}",
        now=lambda: 0.0,
        for_codex=for_codex,
    )
    events: list[Any] = turn.start()
    events += _answer(turn, upstream, trace["error"])
    is_stream = not trace["sent"].startswith("{")
    if is_stream:
        sent = b"".join([sse.frame(event) for event in events])
    else:
        sent = dumps(turn.error.body() if turn.error is not None else turn.response)
    return Replayed(translation.text(), sent)


def _answer(turn: Turn, upstream: Mapping[str, Any], error: Mapping[str, Any] | None) -> Iterator[Any]:
    reader = Reader(turn, framed=True)
    for data in upstream["reads"]:
        yield from reader.feed(encoded(data))
    if not turn.closed and upstream["whole"]:
        yield from reader.close()
    if not turn.closed and error is not None:
        more = {name: value for name, value in error.items() if name not in ("status", "message", "kind")}
        yield from turn.fail(ApiError(error["status"], error["message"], kind=Kind(error["kind"]), **more))


def comparable(sent: bytes) -> list[str]:
    """Return what was sent as lines that two runs of the same turn share: no ids, times, numbers, signs of life."""
    if sent.startswith(b"{"):
        return _lines([json.loads(sent)])
    blocks = [line[6:] for line in sent.split(b"\n") if line.startswith(b"data: ")]
    events = [json.loads(block) for block in blocks if block != b"[DONE]"]
    kinds = [event.get("type") for event in events]
    kept = [
        event
        for at, event in enumerate(events)
        if event.get("type") != "response.in_progress" or "response.in_progress" not in kinds[:at]
    ]
    return _lines(kept)


def _lines(values: list[Any]) -> list[str]:
    names: dict[str, str] = {}
    return [
        line
        for value in values
        for line in json.dumps(_plain(value, names), indent=1, ensure_ascii=False, sort_keys=True).splitlines()
    ]


def _plain(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: 0 if key in _TIMES and item is not None else "<sealed>" if key == "encrypted_content" and item
            else _plain(item, names)
            for key, item in value.items()
            if key not in ("sequence_number", "obfuscation")
        }  # fmt: skip
    if isinstance(value, list):
        return [_plain(item, names) for item in value]
    if isinstance(value, str):
        return _ID.sub(lambda match: names.setdefault(match[0], f"<id {len(names) + 1}>"), value)
    return value
