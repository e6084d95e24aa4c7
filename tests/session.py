"""A session as Codex has it: the whole history is sent each time, answers are taken over as they came, calls are answered."""

from __future__ import annotations

import itertools
import json
from typing import Any

from support import call_delta, check_stream, delta

from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.protocol.responses import parse_request
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.translate.turn import Turn
from chatbridge.vendors.profile import Profile, profile_named

Item = dict[str, Any]
Body = dict[str, Any]

PNG = "data:image/png;base64,AAAA"
LONG_ID = "call_" + "a" * 40
"""Longer than OpenAI takes."""
NASTY = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": None,
    "properties": {
        "what": {"$ref": "#/$defs/Thing"},
        "maybe": {"type": ["string", "null"], "pattern": "^a", "format": "date", "encrypted": True},
        "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
        "one": {"type": "string", "anyOf": [{"enum": ["a", "b"]}, {"minLength": 3}]},
        "anything": True,
        "map": {"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"type": "string"}},
    },
    "anyOf": [{"required": ["what"]}, {"required": ["one"]}],
    "additionalProperties": False,
    "$defs": {
        "Thing": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#/$defs/Thing"}}},
            "additionalProperties": False,
        }
    },
}
"""What MCP servers offer, and few vendors take as it is."""
TOOLS: list[Item] = [
    {
        "type": "function",
        "name": "exec_command",
        "description": "Runs a command.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}},
            "required": ["cmd"],
            "additionalProperties": False,
        },
    },
    {"type": "function", "name": "ping", "description": None, "strict": True, "parameters": None},
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: LINE+"},
    },
    {
        "type": "namespace",
        "name": "mcp__shop",
        "tools": [{"type": "function", "name": "buy.now", "strict": False, "parameters": NASTY}],
    },
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Finds tools.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    },
    {"type": "web_search", "external_web_access": False},
]
FOUND: list[Item] = [
    {
        "type": "namespace",
        "name": "mcp__clock",
        "tools": [{"type": "function", "name": "1st", "defer_loading": True, "parameters": {"type": "object"}}],
    }
]


def text(role: str, words: str, *more: Item) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}, *more]}


def image(**fields: Any) -> Item:
    return {"type": "input_image", "image_url": PNG, **fields}


FOREIGN: list[Item] = [
    text("developer", "You are a coding agent."),
    text("developer", "Sandbox: read-only."),
    text("user", "Look at this.", image(detail="original")),
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "A look first."}],
        "content": None,
        "encrypted_content": "gAAAAABfore",
    },
    text("assistant", "I look."),
    {"type": "function_call", "call_id": LONG_ID, "name": "exec_command", "arguments": '{"cmd": "ls"}', "id": "fc_1"},
    {"type": "function_call", "call_id": "a.b:c/d", "name": "exec_command", "arguments": '{"cmd": "ls'},
    {"type": "custom_tool_call", "call_id": "call_p", "name": "apply_patch", "input": "*** Begin Patch"},
    {
        "type": "function_call_output",
        "call_id": LONG_ID,
        "output": [{"type": "input_text", "text": "shot:"}, image(detail="high")],
    },
    {"type": "custom_tool_call_output", "call_id": "call_p", "output": "Exit code: 0"},
    text("developer", "<model_switch>"),
    text("assistant", "Done, I think."),
    text("user", "Go on."),
    {"type": "function_call", "call_id": LONG_ID, "name": "ping", "arguments": ""},
    {"type": "function_call_output", "call_id": LONG_ID, "output": ""},
]
"""What another server's model, and another model, left in the session: everything that vendors stumble over."""

# How vendors send their reasoning.


def thinks_in(field: str) -> list[Item]:
    return [delta(role="assistant", **{field: "Hm, "}), delta(**{field: "a file."})]


def thinks_in_details(**fields: Any) -> list[Item]:
    """``reasoning_details`` in pieces, signed at the end."""
    whole = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", **fields}
    return [
        delta(reasoning="Hm, ", reasoning_details=[{**whole, "text": "Hm, ", "signature": ""}]),
        delta(reasoning="a file.", reasoning_details=[{**whole, "text": "a file."}]),
        delta(content="", reasoning_details=[{**whole, "signature": "sig=="}]),
    ]


DETAILS = [
    {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "text": "Hm, a file.", "signature": "sig=="}
]
PARTS = [
    delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": word}]}]) for word in ("Hm, ", "a file.")
]
TAGS = [delta(content=piece) for piece in ("<thi", "nk>Hm, a ", "file.</th", "ink>\n\n")]


class Session:
    """One conversation. Each request is translated, and each answer read, by new objects only: a restart between all."""

    numbers = itertools.count(1)

    def __init__(self, *items: Item) -> None:
        self.items: list[Item] = [*items]
        self.notes = Notes()

    def ask(self, profile: Profile | str, model: str, chunks: list[Item], **fields: Any) -> Body:
        """Send all that there is; take *chunks* as the answer. Return what was sent upstream."""
        if isinstance(profile, str):
            profile = profile_named(profile).for_model(model)
        request = parse_request(
            loads(dumps({"model": model, "input": self.items, "tools": TOOLS, "stream": True, **fields}))
        )
        translation = translate_request(request, profile, self.notes)
        body: Body = loads(dumps(translation.body))
        turn = Turn(
            request,
            translation,
            self.notes,
            new_id=lambda prefix: f"{prefix}_{next(self.numbers)}",
            now=lambda: 1000.0,
            for_codex=True,
        )
        events = turn.start()
        for chunk in chunks:
            events += turn.chunk(chunk)
        events += turn.end(done=True)
        check_stream(events)
        assert turn.response["status"] == "completed", turn.response["error"]
        self.items += json.loads(json.dumps(turn.response["output"]))
        return body

    def answer_calls(self, *output: Any) -> None:
        """Answer the calls that have none, in order; those for which there is no *output* are answered with a text."""
        answered = {item["call_id"] for item in self.items if item["type"].endswith("_output")}
        outputs = iter(output)
        for item in [item for item in self.items if item["type"].endswith("_call") and item["call_id"] not in answered]:
            kind = item["type"] + "_output"
            if kind == "tool_search_call_output":
                found = {"type": "tool_search_output", "tools": FOUND, "status": "completed", "execution": "client"}
                self.items.append({**found, "call_id": item["call_id"]})
            else:
                self.items.append({"type": kind, "call_id": item["call_id"], "output": next(outputs, "ok")})

    @property
    def last_calls(self) -> list[Item]:
        """The calls of the last answer."""
        calls: list[Item] = []
        for item in reversed(self.items):
            if item["type"].endswith("_output") or item["type"] == "message":
                break
            calls = [item, *calls] if item["type"].endswith("_call") else calls
        return calls


def called(*calls: tuple[str, str, str], extra: Any = None, index: bool = True) -> list[Item]:
    """Chunks with whole calls (id, name, arguments), and the end of the answer; *extra* goes on the first call."""
    chunks = []
    for number, (call_id, name, arguments) in enumerate(calls):
        chunk = call_delta(arguments, id=call_id, name=name, index=number if index else None)
        if extra is not None and number == 0:
            chunk["choices"][0]["delta"]["tool_calls"][0]["extra_content"] = extra
        chunks.append(chunk)
    return [*chunks, delta(finish_reason="tool_calls")]


def said(words: str) -> list[Item]:
    return [delta(content=words), delta(finish_reason="stop")]
