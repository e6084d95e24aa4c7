from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.fields import FIELDS
from chatbridge.protocol.responses import parse_request, response_object


def refusal(value: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_request(value)
    return caught.value


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_null_is_the_same_as_absent(name):
    if name == "model":
        assert refusal({"input": "hi", "model": None}).param == "model"
    else:
        assert parse_request({"model": "m", "input": "hi", name: None}).get(name) is None


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_the_body_must_be_an_object(value):
    assert (refusal(value).status, refusal(value).code) == (400, "invalid_type")


@pytest.mark.parametrize(("body", "param", "code"), [
    ({"input": "hi"}, "model", "missing_required_parameter"),
    ({"input": "hi", "model": ""}, "model", "missing_required_parameter"),
    ({"model": "m"}, "input", "missing_required_parameter"),
    ({"model": "m", "input": None}, "input", "missing_required_parameter"),
    ({"model": "m", "input": []}, "input", "empty_array"),
    ({"model": "m", "input": {}}, "input", "invalid_type"),
    ({"model": "m", "input": 5}, "input", "invalid_type"),
    ({"model": "m", "input": "hi", "conversation": "c"}, "conversation", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "background": True}, "background", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "background_options": {"completion_window": "2h"}}, "background_options", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "moderation": {"model": "x"}}, "moderation", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "access_programs": {"cyber": "standard"}}, "access_programs", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "context_management": [{"type": "compaction"}]}, "context_management", "unsupported_parameter"),
    ({"model": "m", "input": "hi", "image": {"context_compression": "enabled"}}, "image.context_compression", "unsupported_parameter"),
])  # fmt: skip
def test_what_is_missing_or_cannot_be_done_names_the_field(body, param, code):
    error = refusal(body)
    assert (error.status, error.param, error.code) == (400, param, code)
    assert param in error.message


def test_a_previous_response_is_never_silently_lost():
    error = refusal({"model": "m", "input": "hi", "previous_response_id": "resp_9"})
    assert (error.status, error.code, error.param) == (404, "previous_response_not_found", "previous_response_id")
    assert "resp_9" in error.message


def test_a_string_input_is_one_user_message():
    request = parse_request({"model": "m", "input": "hi", "stream": True, "background": False})
    assert request.input == [{"type": "message", "role": "user", "content": "hi"}]
    assert (request.model, request.stream) == ("m", True)


def test_instructions_alone_are_enough():
    assert parse_request({"model": "m", "instructions": "be kind"}).input == []


def test_unknown_fields_are_kept_for_a_note_and_the_input_is_not_shown():
    request = parse_request({"model": "m", "input": "secret", "seed": 4})
    assert request.get("seed") == 4
    assert request.get("input") is None
    assert request.part("reasoning", "effort") is None
    assert (
        parse_request({"model": "m", "input": "x", "reasoning": {"effort": "low"}}).part("reasoning", "effort") == "low"
    )


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("model", "input", "x", *FIELDS), json_values)))
def test_any_object_is_a_request_or_an_api_error_that_names_a_field(body):
    try:
        request = parse_request(body)
    except ApiError as error:
        assert error.status in (400, 404)
        assert re.split(r"[.\[]", error.param)[0] in (*FIELDS, "input")
    else:
        assert isinstance(request.input, list)


def test_items_of_earlier_responses_do_not_count_in_paths():
    request = parse_request({"model": "m", "input": "hi"}).continued([{}, {}], "resp_1")
    assert [request.place(index) for index in range(3)] == [
        "previous_response_id.items[0]", "previous_response_id.items[1]", "input[0]",
    ]  # fmt: skip


def begun(**fields: object) -> dict[str, object]:
    return response_object(parse_request({"model": "m", "input": "hi", **fields}), [], "resp_1", 1700)


def test_the_response_object_has_defaults_where_null_is_not_allowed():
    assert begun() == {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "m",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


@pytest.mark.parametrize(("name", "value"), [
    ("instructions", "be kind"), ("max_output_tokens", 9), ("max_tool_calls", 2), ("prompt_cache_key", "k"),
    ("safety_identifier", "s"), ("service_tier", "flex"), ("temperature", 0), ("top_p", 0.0), ("top_logprobs", 3),
    ("presence_penalty", 0.5), ("frequency_penalty", -1), ("truncation", "auto"), ("user", "u"), ("metadata", {"a": "b"}),
    ("parallel_tool_calls", False), ("tool_choice", {"type": "function", "name": "f"}),
])  # fmt: skip
def test_the_response_object_echoes_the_request(name, value):
    assert begun(**{name: value})[name] == value


def test_the_response_object_echoes_what_has_parts():
    schema = {"type": "json_schema", "name": "n", "schema": {}}
    response = begun(
        reasoning={"effort": "low", "context": "all"}, text={"verbosity": "low", "format": schema}, store=True
    )
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"] == {"verbosity": "low", "format": {"description": None, "strict": False, **schema}}
    assert response["store"] is False
    assert begun(text={"format": {**schema, "name": None}})["text"]["format"]["name"] == "output"
    assert begun(text={"format": None})["text"] == {"format": {"type": "text"}}


@pytest.mark.parametrize(("fields", "name", "echoed"), [
    ({"service_tier": "on_demand"}, "service_tier", "default"),
    ({"reasoning": {"summary": "none"}}, "reasoning", {"effort": None, "summary": None}),
])  # fmt: skip
def test_words_that_strict_clients_do_not_know_are_not_echoed(fields, name, echoed):
    assert begun(**fields)[name] == echoed
