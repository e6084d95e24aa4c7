"""openai-python over a WebSocket: every event judged by its models, going on, errors, steering."""

from __future__ import annotations

import pytest
from openai import OpenAI

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def connection(base_url):
    client = OpenAI(base_url=base_url, api_key="any", _strict_response_validation=True)
    with client.responses.connect() as connection:
        yield connection


def ask(connection, **fields):
    """Ask, and return the last event of the answer."""
    connection.response.create(model="m", store=False, **fields)
    for event in connection:
        if event.type in ("response.completed", "response.failed", "response.incomplete", "error"):
            return event
    raise AssertionError("it was closed")


def test_an_answer(connection):
    assert ask(connection, input="hello").response.output_text == "A plain answer of a few words."


def test_a_tool_loop_with_what_is_new_only(connection):
    first = ask(connection, input="weather please", tools=[WEATHER]).response
    output = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "rain"}
    last = ask(connection, input=[output], tools=[WEATHER], previous_response_id=first.id).response
    assert "umbrella" in last.output_text
    assert last.previous_response_id == first.id


def test_errors(connection):
    event = ask(connection, input="hello", previous_response_id="resp_unknown")
    assert (event.error.code, event.error.param) == ("previous_response_not_found", "previous_response_id")
    assert ask(connection, input="hello", temperature=99).type == "error"
    assert ask(connection, input="hello").type == "response.completed"


def test_steering_is_given_back(connection):
    first = ask(connection, input="hello").response
    connection.send({"type": "response.steer", "previous_response_id": first.id, "input": "more"})
    event = next(iter(connection))
    assert (event.type, event.error.code) == ("response.steer.failed", "steering_not_supported")
    assert event.steer.input == "more"
