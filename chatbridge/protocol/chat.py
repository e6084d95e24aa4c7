"""The tolerant reader of chat/completions chunks: any vendor's JSON → plain facts (quirks S01-S42).

Nothing here depends on a vendor. A chunk may hold an error, usage, text, tool calls and a finish reason at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chatbridge.protocol.citations import KEYS, Beside, hosted, nothing_beside, read_beside, read_messages, read_results
from chatbridge.protocol.jsontext import dumps_text, loads

Piece = tuple[str, str]
"""(channel, text), the channel being ``reasoning``, ``text`` or ``refusal``."""

_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
ERROR_TEXTS = ("message", "msg", "detail", "errors", "error_msg")
"""Where errors that are no objects of their own have their text."""
_FINE = (0, "0", 200, "200", "success")
_DATA = re.compile(rb"(?m)^data:[ ]?")


@dataclass(slots=True)
class CallPiece:
    """One entry of ``delta.tool_calls``. Empty strings mean absent, as vendors send both (quirks S04, S08)."""

    index: tuple[int, float | str] | None
    """(choice, index), or None where the vendor sends no index."""
    id: str
    name: str
    arguments: str
    whole: bool = False
    """The arguments came as an object: they replace what was collected (quirk S11)."""
    extra: Any = None
    """``extra_content``: what the vendor wants back with the call (quirk S41)."""
    kind: str = ""
    """The ``type`` of a call that is not for the client, but of a tool that the vendor runs itself."""
    results: Any = None
    """What that tool found; None while it has not run."""


@dataclass(slots=True)
class Chunk:
    """What one chunk says."""

    pieces: list[Piece] = field(default_factory=list)
    calls: list[CallPiece] = field(default_factory=list)
    finish: str = ""
    usage: dict[str, Any] | None = None
    details: Sequence[dict[str, Any]] = ()
    """Pieces of ``reasoning_details`` (quirk S33)."""
    extra: Any = None
    """``extra_content`` of the message."""
    error: Any = None
    """The raw error value; anything but None means that the answer failed."""
    beside: list[Beside] | None = None
    """Sources and searches that stand beside the text (quirk S40)."""


def mended(payload: bytes) -> list[bytes]:
    """Return the documents in the data of an event that is not JSON as it is: one a line, or with a second ``data:``.

    Some gateways forget the blank line between events, others frame what is framed already (quirk S55).
    """
    lines = [line.strip() for line in _DATA.sub(b"", payload).split(b"\n")]
    return [line for line in lines if line] if lines != [payload] else []


def completion(value: Any) -> Any:
    """Return the completion in a whole JSON body, also where a gateway wrapped it; None where there is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and "choices" not in value:
        value = next((value[key] for key in ("data", "result", "output") if isinstance(value.get(key), dict)), value)
    return value if is_completion(value) else None


def completions(body: bytes) -> list[Any]:
    """Return the chunks of a body that holds one JSON document a line, empty where it holds anything else."""
    try:
        values = [loads(line) for line in body.splitlines() if line.strip()]
    except ValueError:
        return []
    return values if values and all(map(is_completion, values)) else []


def read_chunk(value: Any, *, streamed: bool = False, called: bool = False) -> Chunk:
    """Read one decoded chunk, or a whole completion object, which has ``message`` in place of ``delta``.

    After *streamed* content a message only repeats it, and is passed over (quirk S42); so are its calls when some were
    *called* for already.
    """
    chunk = Chunk()
    if isinstance(value, list):
        value = next((entry for entry in value if isinstance(entry, dict) and _error(entry) is not None), None)
    if not isinstance(value, dict):
        return chunk
    chunk.error = _error(value)
    usage = value.get("usage")
    if not usage and isinstance(groq := value.get("x_groq"), dict):
        usage = groq.get("usage")
    if not nothing_beside(value):
        chunk.beside = read_beside(value) or None
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else (choices,):
        if not isinstance(choice, dict):
            continue
        usage = usage or choice.get("usage")
        if chunk.error is None:
            chunk.error = choice.get("error") or None
        if not nothing_beside(choice):
            chunk.beside = [*(chunk.beside or ()), *read_beside(choice), *read_messages(choice)] or None
        delta = choice.get("delta")
        if not isinstance(delta, dict) or not delta:
            delta = choice.get("message")
            if streamed and isinstance(delta, dict):
                keys = KEYS if called else (*KEYS, "tool_calls")
                delta = {key: delta[key] for key in keys if key in delta}
        if isinstance(delta, dict):
            _read_delta(delta, _number(choice.get("index")) or 0, chunk)
            usage = usage or delta.get("usage")
        elif isinstance(text := choice.get("text"), str) and text:
            chunk.pieces.append(("text", text))  # as completions were before there was chat
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            chunk.finish = finish
    if isinstance(usage, dict) and usage:
        chunk.usage = usage
    return chunk


def is_completion(value: Any) -> bool:
    """Tell whether a JSON body is a completion (whole or chunk), and not an error or something else."""
    return isinstance(value, dict) and isinstance(value.get("choices"), list) and _error(value) is None


def _error(value: dict[str, Any]) -> Any:
    error = value.get("error")
    if error:
        return error if isinstance(error, dict | list) else value
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return value
    if value.get("type") == "error" or value.get("object") == "error" or value.get("success") is False:
        return value
    if not value.get("choices") and not value.keys().isdisjoint(ERROR_TEXTS):
        # Flat errors: nothing else has a text and no choices.
        fine = value.get("success") is True or value.get("code") in _FINE
        return value if not fine and any(_tells(value.get(key)) for key in ERROR_TEXTS) else None
    return None


def _tells(text: Any) -> bool:
    return bool(text) and isinstance(text, str | list)


def _read_delta(delta: dict[str, Any], choice: int, chunk: Chunk) -> None:
    pieces = chunk.pieces
    details = delta.get("reasoning_details")
    if isinstance(details, dict):
        details = [details]
    if isinstance(details, list) and details:
        chunk.details = [*chunk.details, *(detail for detail in details if isinstance(detail, dict))]
    chunk.extra = _extra(delta)
    reasoning = _reasoning(delta)
    if reasoning:
        pieces.append(("reasoning", reasoning))
    if not nothing_beside(delta):
        chunk.beside = [*(chunk.beside or ()), *read_beside(delta)] or None
    content = delta.get("content")
    if delta.get("role") == "tool":
        # What the vendor's own tool answered (MiniMax): no text of the model.
        chunk.beside = [*(chunk.beside or ()), ("tool", content)]
    elif isinstance(content, str):
        if content:
            pieces.append(("text", content))
    elif isinstance(content, list | dict):
        _read_parts(content if isinstance(content, list) else [content], pieces)
    refusal = delta.get("refusal")
    if isinstance(refusal, str) and refusal:
        pieces.append(("refusal", refusal))
    calls = delta.get("tool_calls")
    if isinstance(calls, list) and calls:
        chunk.calls.extend(read_call(call, choice) for call in calls if isinstance(call, dict))
    elif isinstance(legacy := delta.get("function_call"), dict):
        chunk.calls.append(read_call({"index": 0, "function": legacy}, choice))


def _reasoning(delta: dict[str, Any]) -> str:
    """The first field that holds text; the same text often stands in two or three of them (quirks S30-S33)."""
    for name in _REASONING_FIELDS:
        value = delta.get(name)
        if value and not isinstance(value, str):
            value = _texts(value)
        if value:
            return str(value)
    return _texts(delta.get("reasoning_details") or ())


def _texts(value: Any) -> str:
    """The text in an object, or in a list of them."""
    parts = value if isinstance(value, list | tuple) else (value,)
    keys = ("text", "summary", "content")
    return "".join(
        part if isinstance(part, str) else next((text for key in keys if (text := _string(part.get(key)))), "")
        for part in parts
        if isinstance(part, str | dict)
    )


def _read_parts(parts: list[Any], pieces: list[Piece]) -> None:
    """Content as a list (Mistral's reasoning models, quirk S37)."""
    for part in parts:
        if isinstance(part, str):
            pieces.append(("text", part))
        elif isinstance(part, dict):
            thinking = part.get("thinking")
            if isinstance(thinking, list):
                thinking = "".join(_string(inner.get("text")) for inner in thinking if isinstance(inner, dict))
            if isinstance(thinking, str) and thinking:
                pieces.append(("reasoning", thinking))
            elif isinstance(text := part.get("text"), str) and text:
                pieces.append(("text", text))


def read_call(call: dict[str, Any], choice: int) -> CallPiece:
    """Read one entry of ``tool_calls``; *choice* is the index of the choice that it stands in."""
    function = call.get("function")
    if not isinstance(function, dict):
        function = call if "name" in call or "arguments" in call else {}
    arguments = function.get("arguments")
    whole = arguments is not None and not isinstance(arguments, str)
    index = call.get("index")
    kind = hosted(call.get("type"))
    return CallPiece(
        index=None if not isinstance(index, int | float | str) else (choice, index),
        id=_id(call.get("id")),
        name=_string(function.get("name")).strip(),
        arguments=dumps_text(arguments) if whole else arguments or "",
        whole=whole,
        extra=_extra(call),
        kind=kind,
        results=read_results(call) if kind else None,
    )


def _extra(value: dict[str, Any]) -> Any:
    extra = value.get("extra_content")
    return extra if isinstance(extra, dict) and extra else None


def _id(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
