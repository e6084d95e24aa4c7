"""The picky vendor of the end-to-end tests refuses what it should; needs no Codex."""

from __future__ import annotations

import copy

import pytest
import vendor

HEADERS = {"content-type": "application/json", "authorization": "Bearer key", "user-agent": "x", "host": "127.0.0.1"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
BODY = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [
        {"role": "system", "content": "be kind"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "add"}, {"type": "image_url", "image_url": {"url": "data:"}}],
        },
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "assistant", "content": "three"},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
}


def test_a_good_request_passes():
    assert vendor.problems(BODY, HEADERS, "key") == []
    assert vendor.problems(BODY, {"content-type": "application/json"}, None) == []


def at(*path):
    """Return a function that sets what is at *path*; ``...`` in place of a value deletes it."""

    def change(body, value):
        for step in path[:-1]:
            body = body[step]
        if value is ...:
            del body[path[-1]]
        else:
            body[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (at("model"), ...),
        (at("instructions"), "x"),
        (at("temperature"), None),
        (at("stream"), False),
        (at("messages"), []),
        (at("messages", 0, "role"), "developer"),
        (at("messages", 0, "content"), None),
        (at("messages", 0, "id"), "msg_1"),
        (at("messages", 0, "content"), [{"type": "input_text", "text": "x"}]),
        (at("messages", 0, "content"), [{"type": "image_url", "image_url": {"url": "data:"}}]),
        (at("messages", 1, "content", 1, "image_url"), "data:"),
        (at("messages", 1, "content", 1, "image_url", "detail"), "original"),
        (at("messages", 1, "content", 0, "annotations"), []),
        (at("messages", 1, "content"), []),
        (at("messages", 2, "content"), None),
        (at("messages", 2, "reasoning"), "hm"),
        (at("messages", 2, "tool_calls"), []),
        (at("messages", 2, "tool_calls"), ...),
        (at("messages", 2, "tool_calls"), [CALL, CALL]),
        (at("messages", 2, "tool_calls", 0, "function", "arguments"), {}),
        (at("messages", 2, "tool_calls", 0, "function", "arguments"), "{"),
        (at("messages", 2, "tool_calls", 0, "function", "arguments"), '"text"'),
        (at("messages", 2, "tool_calls", 0, "function", "name"), "a.b"),
        (at("messages", 2, "tool_calls", 0, "id"), ""),
        (at("messages", 2, "tool_calls", 0, "type"), "custom"),
        (at("messages", 3), ...),
        (at("messages", 3, "tool_call_id"), "c2"),
        (at("messages", 3, "content"), [{"type": "image_url", "image_url": {"url": "data:"}}]),
        (at("messages", 4, "content"), ""),
        (at("tools"), []),
        (at("tools"), ...),
        (at("tools", 0, "name"), "add"),
        (at("tools", 0, "type"), "custom"),
        (at("tools", 0, "function", "name"), "a" * 65),
        (at("tools", 0, "function", "defer_loading"), True),
        (at("tools", 0, "function", "parameters"), {"type": "string"}),
        (at("tools", 0, "function", "parameters", "properties", "a"), {"type": "string", "encrypted": True}),
        (at("tool_choice"), {"type": "function", "function": {"name": "other"}}),
        (at("tool_choice"), "any"),
    ],
)
def test_a_bad_request_is_refused(change, value):
    body = copy.deepcopy(BODY)
    change(body, value)
    assert vendor.problems(body, HEADERS, "key") != []


def test_a_tool_twice_is_refused():
    assert vendor.problems(BODY | {"tools": BODY["tools"] * 2}, HEADERS, "key") == ["tool add twice"]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer other"},
        {"x-codex-turn-metadata": "{}"},
        {"cookie": "a=b"},
        {"x-forwarded-for": "1"},
        {"content-type": "text/plain"},
    ],
)
def test_a_bad_header_is_refused(headers):
    assert len(vendor.problems(BODY, HEADERS | headers, "key")) == 1
