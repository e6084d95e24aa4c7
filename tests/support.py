"""What several tests share: a turn driven by values, and the rules that every stream of events must keep."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

from chatbridge.protocol.responses import parse_request
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import Translation, translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.profile import Profile

Event = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")

# What each event holds beside type and sequence_number, for the strictest of the clients.
_PLACE = {"item_id", "output_index"}
_KEYS: dict[str, set[str]] = {
    "response.created": {"response"},
    "response.in_progress": {"response"},
    "response.completed": {"response"},
    "response.incomplete": {"response"},
    "response.failed": {"response"},
    "response.output_item.added": {"output_index", "item"},
    "response.output_item.done": {"output_index", "item"},
    "response.content_part.added": {*_PLACE, "content_index", "part"},
    "response.content_part.done": {*_PLACE, "content_index", "part"},
    "response.output_text.delta": {*_PLACE, "content_index", "delta", "logprobs"},
    "response.output_text.done": {*_PLACE, "content_index", "text", "logprobs"},
    "response.output_text.annotation.added": {*_PLACE, "content_index", "annotation_index", "annotation"},
    "response.refusal.delta": {*_PLACE, "content_index", "delta"},
    "response.refusal.done": {*_PLACE, "content_index", "refusal"},
    "response.function_call_arguments.delta": {*_PLACE, "delta"},
    "response.function_call_arguments.done": {*_PLACE, "arguments", "name"},
    "response.custom_tool_call_input.delta": {*_PLACE, "delta"},
    "response.custom_tool_call_input.done": {*_PLACE, "input"},
    "response.reasoning_summary_part.added": {*_PLACE, "summary_index", "part"},
    "response.reasoning_summary_part.done": {*_PLACE, "summary_index", "part"},
    "response.reasoning_summary_text.delta": {*_PLACE, "summary_index", "delta"},
    "response.reasoning_summary_text.done": {*_PLACE, "summary_index", "text"},
}
_ITEM_KEYS: dict[str, set[str]] = {
    "message": {"id", "type", "status", "role", "content"},
    "reasoning": {"id", "type", "summary"},
    "function_call": {"id", "type", "status", "call_id", "name", "arguments"},
    "custom_tool_call": {"id", "type", "status", "call_id", "name", "input"},
    "tool_search_call": {"id", "type", "status", "call_id", "execution", "arguments"},
    "web_search_call": {"id", "type", "status", "action"},
    "compaction": {"id", "type", "encrypted_content"},
}
_RESPONSE_KEYS = {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "background",
    "error",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "model",
    "output",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "truncation",
    "usage",
    "user",
    "metadata",
}


def translate(profile: Profile | None = None, **fields: Any) -> tuple[Translation, Notes]:
    """Translate a request given as keywords; ``model`` and ``input`` have defaults."""
    notes = Notes()
    request = parse_request({"model": "m", "input": "hello", **fields})
    return translate_request(request, profile or Profile(), notes), notes


def new_turn(*, for_codex: bool = False, **fields: Any) -> Turn:
    """Return a turn with ids that count and a clock that stands."""
    numbers = itertools.count(1)
    notes = Notes()
    request = parse_request({"model": "m", "input": "hello", "stream": True, **fields}, background=True)
    translation = translate_request(request, Profile(), notes)
    return Turn(
        request,
        translation,
        notes,
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
        now=lambda: 1000.5,
        for_codex=for_codex,
    )


def delta(**fields: Any) -> dict[str, Any]:
    """Return a chunk with one choice; ``finish_reason`` and ``usage`` go where they belong."""
    finish, usage = fields.pop("finish_reason", None), fields.pop("usage", None)
    chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}
    if usage is not None:
        chunk["usage"] = usage
    return chunk


def call_delta(
    arguments: Any = "", *, index: Any = 0, id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """Return a chunk with one tool-call piece; None leaves a key out."""
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    piece = {"function": function} | ({} if index is None else {"index": index}) | ({} if id is None else {"id": id})
    return delta(tool_calls=[piece])


def sse(chunks: Iterable[Any], *, done: bool = True) -> bytes:
    """Return chunks as an upstream's event stream."""
    frames = [b"data: " + (json.dumps(chunk).encode() if not isinstance(chunk, bytes) else chunk) for chunk in chunks]
    return b"".join(frame + b"\n\n" for frame in [*frames, *([b"data: [DONE]"] if done else [])])


def run(chunks: Iterable[Any], *, done: bool = True, **options: Any) -> tuple[Turn, list[Event]]:
    """Run a whole answer over *chunks*; return the turn and its events, after checking the rules."""
    turn = new_turn(**options)
    events = turn.start()
    for chunk in chunks:
        events += turn.chunk(chunk)
    events += turn.end(done=done)
    check_stream(events)
    return turn, events


def output(turn: Turn, kind: str) -> list[dict[str, Any]]:
    """Return the output items of *kind*."""
    return [item for item in turn.response["output"] if item["type"] == kind]


def text_of(turn: Turn) -> str:
    """Return the text and the refusals of all messages."""
    parts = [part for item in output(turn, "message") for part in item["content"]]
    return "".join(part["text"] if part["type"] == "output_text" else part["refusal"] for part in parts)


def reasoning_of(turn: Turn) -> str:
    """Return the text of all reasoning items."""
    return "".join(part["text"] for item in output(turn, "reasoning") for part in item["summary"])


def calls_of(turn: Turn) -> list[tuple[str, str]]:
    """Return name and arguments of the function calls."""
    return [(item["name"], item["arguments"]) for item in output(turn, "function_call")]


def parse_events(data: bytes) -> list[Event]:
    """Parse what the bridge wrote, strictly: event line, one data line, blank line."""
    events = []
    for block in data.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, value = block.split("\n")
        event = json.loads(value.removeprefix("data: "))
        assert name == "event: " + event["type"]
        events.append(event)
    return events


def check_stream(events: list[Event]) -> None:
    """Assert what strict clients demand of a whole stream of events."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    terminal = [event for event in events if event["type"] in TERMINAL]
    assert len(terminal) == 1
    assert events[-1] is terminal[0]
    last = terminal[0]["response"]
    for event in events:
        _check_shape(event)
    assert terminal[0]["type"] == "response." + last["status"]
    assert {event["response"]["id"] for event in events if "response" in event} == {last["id"]}
    _check_parts(events)
    _check_annotations(events)
    _check_items(events, last)


def _check_shape(event: Event) -> None:
    assert set(event) == {"type", "sequence_number"} | _KEYS[event["type"]]
    if "response" in event:
        response = event["response"]
        assert set(response) == _RESPONSE_KEYS
        running = event["type"] in ("response.created", "response.in_progress")
        assert running == (response["status"] == "in_progress")
        assert not running or (response["output"] == [] and response["usage"] is None)
        assert (response["error"] is not None) == (response["status"] == "failed")
        assert (response["completed_at"] is not None) == (response["status"] == "completed")
        assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")
        assert response["status"] not in ("completed", "incomplete") or response["usage"]["total_tokens"] >= 0
    for item in [event["item"]] if "item" in event else event.get("response", {}).get("output", []):
        optional = {"namespace", "encrypted_content"} - _ITEM_KEYS[item["type"]]
        assert set(item) - optional == _ITEM_KEYS[item["type"]]
        assert item.get("encrypted_content") is None or item["type"] in ("reasoning", "compaction")
        for part in item.get("content", ()):
            assert (
                set(part)
                == {
                    "output_text": {"type", "text", "annotations", "logprobs"},
                    "refusal": {"type", "refusal"},
                }[part["type"]]
            )


def _check_parts(events: list[Event]) -> None:
    """Parts of one message come one after the other; text goes to the one that is open."""
    opened: dict[int, int] = {}
    closed: dict[int, int] = {}
    for event in events:
        index, part = event.get("output_index", -1), event.get("content_index")
        if event["type"] == "response.content_part.added":
            assert part == closed.get(index, 0) == opened.get(index, 0)
            opened[index] = part + 1
        elif part is not None:
            assert opened.get(index, 0) == part + 1
            assert closed.get(index, 0) == part
            if event["type"] == "response.content_part.done":
                closed[index] = part + 1
        elif event["type"] == "response.output_item.done":
            assert opened.get(index) == closed.get(index)


def _check_annotations(events: list[Event]) -> None:
    """Each annotation is told once, in order, before the end of its part, and fits the text."""
    told: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for event in events:
        place = (event.get("output_index", -1), event.get("content_index", -1))
        if event["type"] == "response.output_text.annotation.added":
            assert event["annotation_index"] == len(told.setdefault(place, []))
            told[place].append(event["annotation"])
        elif event["type"] == "response.content_part.done" and event["part"]["type"] == "output_text":
            part = event["part"]
            assert part["annotations"] == told.get(place, [])
            for annotation in part["annotations"]:
                assert set(annotation) == {"type", "start_index", "end_index", "url", "title"}
                assert annotation["type"] == "url_citation"
                assert 0 <= annotation["start_index"] <= annotation["end_index"] <= len(part["text"])
                assert annotation["url"].startswith("http")
                assert annotation["title"]


def _check_items(events: list[Event], response: dict[str, Any]) -> None:
    added: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[Any, ...], str] = {}
    for event in events:
        kind, index = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(added)
            added[index] = event["item"]
        elif index is not None:
            assert index in added, "an event for an item that was not added"
            assert index not in done, "an event for an item that is done"
            assert event.get("item_id", added[index]["id"]) == added[index]["id"]
        if kind == "response.output_item.done":
            done[index] = event["item"]
            for key in ("id", "type", "call_id", "name", "namespace"):
                assert event["item"].get(key) == added[index].get(key)
        place = (kind.removesuffix(".delta").removesuffix(".done"), index, event.get("content_index"))
        if kind.endswith(".delta"):
            texts[place] = texts.get(place, "") + event["delta"]
        elif kind.endswith((".text.done", "_text.done", "arguments.done", "input.done", "refusal.done")):
            whole = next(event[key] for key in ("text", "arguments", "input", "refusal") if key in event)
            assert texts.get(place, "") == whole
    assert [item["id"] for item in response["output"]] == [added[index]["id"] for index in sorted(added)]
    for index, item in done.items():
        assert response["output"][index] == item
    if response["status"] == "completed":
        assert set(done) == set(added)
        assert response["output"]


def check_messages(messages: list[dict[str, Any]], *, system_first: bool = True) -> None:
    """Assert what the strictest chat servers demand of a history."""
    ids: set[str] = set()
    waiting: list[str] = []
    for at, message in enumerate(messages):
        role, content = message["role"], message["content"]
        assert not waiting or role == "tool", "a call is not answered directly behind it"
        assert set(message) == {"role", "content"} | {
            "assistant": set(message) & {"tool_calls"},
            "tool": {"tool_call_id"},
        }.get(role, set())
        match role:
            case "system" | "developer":
                assert at == 0 or not system_first
                assert isinstance(content, str)
                assert content
            case "user":
                assert content
                _check_content(content)
            case "assistant":
                assert isinstance(content, str)
                calls = message.get("tool_calls", [])
                assert content or calls, "an assistant message that says nothing"
                for call in calls:
                    _check_call(call)
                waiting = [call["id"] for call in calls]
                assert len(set(waiting)) == len(waiting)
                assert not ids & set(waiting), "a call id twice"
                ids |= set(waiting)
            case "tool":
                assert isinstance(content, str)
                assert message["tool_call_id"] == waiting.pop(0), "a result without its call in front of it"
            case _:
                raise AssertionError(role)
    assert not waiting


def _check_call(call: dict[str, Any]) -> None:
    assert set(call) == {"id", "type", "function"}
    assert call["type"] == "function"
    assert call["id"]
    assert set(call["function"]) == {"name", "arguments"}
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["function"]["name"])
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


def _check_content(content: Any) -> None:
    if isinstance(content, str):
        return
    for part in content:
        match part["type"]:
            case "text":
                assert isinstance(part["text"], str)
                assert part["text"]
            case "image_url":
                assert isinstance(part["image_url"]["url"], str)
                assert part["image_url"].get("detail", "auto") in ("low", "high", "auto")
            case "input_audio":
                assert isinstance(part["input_audio"], dict)
            case "file":
                assert isinstance(part["file"]["file_data"], str)
            case kind:
                raise AssertionError(kind)
