"""Compaction: the upstream is asked for a summary, which Codex replays as one opaque item.

Codex's built-in provider ends the input with ``compaction_trigger`` and wants exactly one ``compaction`` item.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chatbridge.protocol.responses import ResponsesRequest, parse_request
from chatbridge.translate.truncation import size
from chatbridge.translate.usage import CHARACTERS_PER_TOKEN

PROMPT = """\
The conversation above is about to be replaced by a summary, because it fills the context window. Write that summary \
now, for the assistant that will carry on with the task and will see nothing else of the conversation. Say what the \
user wants, with every requirement and preference that still holds; what has been done and found out, with the exact \
names of files, commands, identifiers and values that will be needed again; what was decided and why; what failed; and \
what is to be done next. Answer with the summary only."""

RETAINED_CHARACTERS = 20_000 * CHARACTERS_PER_TOKEN
"""How much of the user's own words stays beside a summary, the newest first."""
TRIGGER = {"type": "compaction_trigger"}

_PREFIX = "chatbridge.compaction.1:"
_INTRODUCTION = "Summary of the conversation so far, which it replaces:\n\n"
_FOREIGN = (
    "[The earlier conversation was compacted by another server into a form that cannot be read here. "
    "Ask for what is missing.]"
)


def seal(summary: str) -> str:
    """Return *summary* as the ``encrypted_content`` of a compaction item: versioned, plain ASCII."""
    return _PREFIX + base64.b64encode(summary.encode("utf-8", "replace")).decode()


def unseal(content: object) -> str | None:
    """Return the summary in an ``encrypted_content`` that :func:`seal` made, None for any other."""
    if not isinstance(content, str) or not content.startswith(_PREFIX):
        return None
    try:
        return base64.b64decode(content[len(_PREFIX) :], validate=True).decode()
    except ValueError:
        return None


def replay(content: object) -> str:
    """Return the user text that stands for a compaction item in the messages."""
    summary = unseal(content)
    return _FOREIGN if summary is None else _INTRODUCTION + summary


def parse(value: Any) -> ResponsesRequest:
    """Check the decoded body of a request to compact. Raises :class:`ApiError`."""
    if isinstance(value, dict):
        given = value.get("input")
        if isinstance(given, str):
            given = [{"type": "message", "role": "user", "content": given}]
        value = {**value, "input": [*given, TRIGGER] if isinstance(given, list) else given or [TRIGGER]}
    asked = parse_request(value)
    left = {name: item for name, item in asked.fields.items() if name not in ("store", "tool_choice")}
    return replace(asked, stream=False, fields=left)


def retained(items: Sequence[Any], new_id: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the messages that stay beside the summary of *items*: system text, and the user's newest words.

    Each once, as the API's output items; *new_id* makes an id from a prefix. Images and files do not stay.
    """
    left = RETAINED_CHARACTERS
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in reversed(items):
        role = item.get("role")
        texts = [{"type": "input_text", "text": text} for text in _texts(item.get("content")) if text]
        if role not in ("user", "system", "developer") or not texts:
            continue
        if role == "user":
            left -= size(texts)
            if left < 0:
                continue
        key = (role, "\0".join(part["text"] for part in texts))
        message = {"id": new_id("msg"), "type": "message", "status": "completed", "role": role, "content": texts}
        found.setdefault(key, message)
    return list(reversed(found.values()))


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    # Items of kinds that nobody knows have not been checked.
    known = [part for part in parts if isinstance(part, str | dict)]
    return [part if isinstance(part, str) else str(part.get("text") or "") for part in known]
