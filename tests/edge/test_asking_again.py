"""An upstream that refuses what it is asked is asked otherwise, before the client sees anything."""

import json

import pytest
from memory_bridge import Bridge, FakeResponse, last_event
from memory_http import logged
from support import delta, sse

from chatbridge.vendors.profile import Profile

REFUSAL = "Unsupported parameter: 'prompt_cache_key' is not supported with this model."
ASKED = {"model": "m", "input": "hello", "stream": True, "prompt_cache_key": "k"}


def refuse(bridge, text, status=400):
    response = FakeResponse(status)
    bridge.head(response)
    response.send(json.dumps({"error": {"message": text}}).encode())
    response.end()


def answer(bridge):
    bridge.head().send(sse([delta(content="Hi"), delta(finish_reason="stop")]))


@pytest.mark.parametrize("waited", [0, 2.5])
def test_a_refused_parameter_is_left_out_at_once_and_from_then_on(waited):
    bridge = Bridge()
    with logged() as events:
        connection = bridge.ask(ASKED)
        bridge.clock.advance(waited)
        refuse(bridge, REFUSAL)
        answer(bridge)
    assert last_event(connection)["type"] == "response.completed"
    assert ["prompt_cache_key" in body for body in bridge.client.bodies] == [True, False]
    assert len([event for event in events if "the line for its profile_keys" in event["text"]]) == 1
    bridge.ask(ASKED)
    assert "prompt_cache_key" not in bridge.client.bodies[-1]
    bridge.ask({**ASKED, "model": "another"})
    assert "prompt_cache_key" in bridge.client.bodies[-1]


def test_not_streaming_too():
    bridge = Bridge()
    connection = bridge.ask({**ASKED, "stream": False})
    refuse(bridge, REFUSAL)
    answer(bridge)
    assert connection.answer().json["status"] == "completed"


def test_reasoning_that_must_come_back_does():
    bridge = Bridge()
    items = [
        {"role": "user", "content": "hello"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Thinking."}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ]
    connection = bridge.ask({**ASKED, "input": items})
    refuse(bridge, "The `reasoning_content` in the thinking mode must be passed back to the API.")
    answer(bridge)
    assert bridge.client.bodies[-1]["messages"][1]["reasoning_content"] == "Thinking."
    assert last_event(connection)["type"] == "response.completed"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, REFUSAL),
        (429, REFUSAL),
        (400, "prompt_cache_key must be at most 64 characters"),
        (400, "The model does not exist."),
        (400, "This model's maximum context length is 9 tokens."),
    ],
)
def test_what_teaches_nothing_is_asked_once(status, text):
    bridge = Bridge()
    connection = bridge.ask(ASKED)
    refuse(bridge, text, status)
    assert len(bridge.client.bodies) == 1
    assert text.split(".")[0] in connection.answer().json["error"]["message"]


def test_there_is_an_end_to_it():
    bridge = Bridge(profile=Profile())
    more = {
        "service_tier": "flex", "safety_identifier": "s", "seed": 1, "temperature": 1, "top_p": 1, "user": "u",
        "presence_penalty": 1, "frequency_penalty": 1,
    }  # fmt: skip
    connection = bridge.ask({**ASKED, **more})
    keys = ("prompt_cache_key", *more)
    for key in keys:
        refuse(bridge, f"Unsupported parameter: '{key}' is not supported with this model.")
    assert len(bridge.client.bodies) == len(keys)
    assert connection.answer().status == 400
