"""A whole Response → events that tell of it: for clients that stream what was never streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]

TERMINAL = {"completed": "response.completed", "incomplete": "response.incomplete"}
"""The terminal event by status; all others end with ``response.failed``."""


def replay(response: dict[str, Any], after: int = -1) -> list[Event]:
    """Return the events for *response*, numbered, without those up to number *after*; each text is one delta.

    The terminal event is always there, with a number above *after*: who asks may have seen other events than these, of
    which nothing is known.
    """
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None, "error": None}
    events: list[Event] = [{"type": kind, "response": begun} for kind in ("response.created", "response.in_progress")]
    for index, item in enumerate(response.get("output") or ()):
        events += _item(item, index)
    for number, event in enumerate(events):
        event["sequence_number"] = number
    number = max(len(events), after + 1)
    kind = TERMINAL.get(response.get("status", ""), "response.failed")
    return [*events[after + 1 :], {"type": kind, "response": response, "sequence_number": number}]


def _item(item: dict[str, Any], index: int) -> Iterator[Event]:
    place = {"item_id": item.get("id", ""), "output_index": index}
    inside: Iterator[Event] = iter(())
    begun: dict[str, Any] = {}
    match item.get("type"):
        case "message":
            begun, inside = {"content": []}, _content(item.get("content") or (), place)
        case "reasoning":
            begun, inside = {"summary": []}, _summary(item.get("summary") or (), place)
        case "function_call":
            begun, inside = {"arguments": ""}, _text(item, place, "function_call_arguments", "arguments")
        case "custom_tool_call":
            begun, inside = {"input": ""}, _text(item, place, "custom_tool_call_input", "input")
    if "status" in item:
        begun["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **begun}}
    yield from inside
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _content(parts: Any, item: dict[str, Any]) -> Iterator[Event]:
    for index, part in enumerate(parts):
        place = {**item, "content_index": index}
        kind, key = ("refusal", "refusal") if part.get("type") == "refusal" else ("output_text", "text")
        logprobs = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
        empty = {**part, key: "", **({"annotations": [], "logprobs": []} if logprobs else {})}
        yield {"type": "response.content_part.added", **place, "part": empty}
        if part.get(key):
            yield {"type": f"response.{kind}.delta", **place, "delta": part[key], **logprobs}
        for number, annotation in enumerate(part.get("annotations") or ()):
            told = {"annotation_index": number, "annotation": annotation}
            yield {"type": "response.output_text.annotation.added", **place, **told}
        yield {"type": f"response.{kind}.done", **place, key: part.get(key, ""), **logprobs}
        yield {"type": "response.content_part.done", **place, "part": part}


def _summary(parts: Any, item: dict[str, Any]) -> Iterator[Event]:
    for index, part in enumerate(parts):
        place, text = {**item, "summary_index": index}, part.get("text", "")
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
        if text:
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": text}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _text(item: dict[str, Any], place: dict[str, Any], kind: str, key: str) -> Iterator[Event]:
    if item.get("status") == "incomplete":
        return  # it was cut off, and is not to be run
    if item.get(key):
        yield {"type": f"response.{kind}.delta", **place, "delta": item[key]}
    named = {"name": item.get("name", "")} if key == "arguments" else {}
    yield {"type": f"response.{kind}.done", **place, key: item.get(key, ""), **named}
