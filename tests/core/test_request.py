from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values
from support import check_messages, translate

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import FIELDS, parse_request
from chatbridge.translate import compaction
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import translate_request
from chatbridge.vendors.profile import Profile

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
HELLO = [{"role": "user", "content": "hello"}]


def body(profile: Profile | None = None, **fields: Any) -> dict[str, Any]:
    return translate(profile, **fields)[0].body


def refusal(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        translate(**fields)
    return caught.value


def test_the_smallest_request():
    assert body() == {"model": "m", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}


def test_R25_upstream_always_streams():
    assert body(stream=False)["stream"] is True


def test_a_request_in_the_shape_of_codex():
    sent = {
        "input": [
            {
                "type": "message",
                "role": "developer",
                "id": "msg_1",
                "content": [{"type": "input_text", "text": "Be brief."}],
            },
            {"type": "message", "role": "user", "id": "msg_2", "content": [{"type": "input_text", "text": "hello"}]},
        ],
        "tools": [TOOL, {"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread-1",
        "client_metadata": {"turn": "1"},
    }
    translation, notes = translate(**sent)
    assert translation.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "prompt_cache_key": "thread-1",
        "reasoning_effort": "medium",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert [kind for kind, _ in notes] == ["tool:web_search"]
    assert not translation.compaction


def test_a_lite_request_has_its_tools_in_the_input():
    tools = [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]
    items = [{"type": "additional_tools", "role": "developer", "tools": tools}, {"role": "user", "content": "hello"}]
    sent = body(input=items, parallel_tool_calls=False)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["exec"]
    assert sent["parallel_tool_calls"] is False
    assert sent["messages"] == HELLO


def test_tools_that_a_search_found_are_offered_from_then_on():
    items = [
        {"role": "user", "content": "hello"},
        {"type": "tool_search_call", "call_id": "1", "execution": "client", "arguments": {"query": "f"}},
        {"type": "tool_search_output", "call_id": "1", "tools": [{"type": "namespace", "name": "ns", "tools": [TOOL]}]},
    ]
    assert [tool["function"]["name"] for tool in body(input=items, tools=[{"type": "tool_search"}])["tools"]] == [
        "tool_search",
        "ns__f",
    ]


@pytest.mark.parametrize("fields", [
    {"tools": []}, {"tools": None}, {"tools": [{"type": "web_search"}]},
    {"tools": [], "tool_choice": "required"},
    {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": []}},
])  # fmt: skip
def test_R13_without_tools_nothing_about_tools_is_sent(fields):
    sent = body(parallel_tool_calls=False, **fields)
    assert not sent.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize(("choice", "sent"), [
    ("auto", None), ("none", "none"), ("required", "required"), ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
])  # fmt: skip
def test_R17_tool_choice(choice, sent):
    assert body(tools=[TOOL], tool_choice=choice).get("tool_choice") == sent


@pytest.mark.parametrize(("value", "sent"), [(True, None), (None, None), (False, False)])
def test_R18_parallel_tool_calls_only_where_it_says_something(value, sent):
    assert body(tools=[TOOL], parallel_tool_calls=value).get("parallel_tool_calls") == sent


@pytest.mark.parametrize(("profile", "effort", "sent"), [
    (Profile(), "low", "low"), (Profile(), "xhigh", "high"), (Profile(), "ultra", "high"), (Profile(), "none", "none"),
    (Profile(effort={"max": "xhigh"}), "max", "xhigh"), (Profile(efforts=("low", "xhigh")), "xhigh", "xhigh"),
    (Profile(), None, None),
])  # fmt: skip
def test_R05_reasoning_effort(profile, effort, sent):
    assert body(profile, reasoning={"effort": effort, "summary": "auto"}).get("reasoning_effort") == sent


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_R03_the_token_limit_under_the_name_that_the_vendor_takes(name):
    sent = body(Profile(max_tokens_field=name), max_output_tokens=77)
    assert sent[name] == 77
    assert len(sent.keys() & {"max_tokens", "max_completion_tokens", "max_output_tokens"}) == 1


@pytest.mark.parametrize(("name", "value"), [
    ("temperature", 0), ("temperature", 0.7), ("top_p", 0.9), ("presence_penalty", 1), ("frequency_penalty", -1), ("prompt_cache_key", "k"),
    ("safety_identifier", "s"), ("service_tier", "flex"), ("user", "u"), ("seed", 0), ("stop", ["x"]), ("logit_bias", {"1": 2}),
])  # fmt: skip
def test_fields_that_both_apis_have(name, value):
    translation, notes = translate(**{name: value})
    assert translation.body[name] == value
    assert list(notes) == []
    assert name not in body(**{name: None})


def test_log_probabilities():
    sent = body(top_logprobs=3)
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 3)
    assert not body(top_logprobs=0).keys() & {"logprobs", "top_logprobs"}


@pytest.mark.parametrize(("text", "sent"), [
    ({}, {}),
    ({"format": None, "verbosity": None}, {}),
    ({"format": {"type": "text"}}, {}),
    ({"format": {}}, {}),
    ({"verbosity": "low"}, {"verbosity": "low"}),
    ({"format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ({"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}, "description": "d"}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": True}}}),
    ({"format": {"type": "json_schema", "schema": {}, "strict": None}},
     {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "name": "output"}}}),
])  # fmt: skip
def test_text_formats(text, sent):
    found = body(text=text)
    assert {key: found[key] for key in ("response_format", "verbosity") if key in found} == sent


@pytest.mark.parametrize(("fields", "param"), [
    ({"text": {"format": "json"}}, "text.format"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": 5}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "schema": []}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "name": 5}}}, "text.format.name"),
    ({"text": {"format": {"type": "json_schema", "strict": "yes"}}}, "text.format.strict"),
    ({"text": {"verbosity": 5}}, "text.verbosity"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort"),
    ({"tools": [TOOL, 5]}, "tools[1]"),
    ({"input": [{"type": "additional_tools", "tools": [5]}]}, "input[0].tools[0]"),
    ({"input": [{"role": "user", "content": "a"}, {"type": "tool_search_output", "call_id": "1", "tools": 5}]}, "input[1].tools"),
    ({"input": [{"role": "user", "content": "a"}, {"type": "message"}]}, "input[1].role"),
    ({"tool_choice": "sometimes"}, "tool_choice"),
    ({"input": ""}, "input"),
    ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
])  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place(fields, param):
    error = refusal(**fields)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(("name", "value"), [
    ("n", 2), ("x_vendor", {"a": 1}),
])  # fmt: skip
def test_what_is_not_carried_is_noted(name, value):
    translation, notes = translate(**{name: value})
    assert [kind for kind, _ in notes] == [f"field:{name}"]
    assert name not in translation.body


@pytest.mark.parametrize(("name", "value"), [
    ("include", ["reasoning.encrypted_content"]), ("metadata", {"a": "b"}), ("store", True), ("client_metadata", {}),
    ("stream_options", {"include_obfuscation": False}), ("background", False),
])  # fmt: skip
def test_what_the_bridge_answers_itself_is_neither_sent_nor_noted(name, value):
    translation, notes = translate(**{name: value})
    assert translation.body.keys() == {"model", "messages", "stream", "stream_options"}
    assert list(notes) == []


# --- compaction


def compacting(*items: Any, **fields: Any) -> Any:
    return translate(input=[{"role": "user", "content": "hello"}, *items, {"type": "compaction_trigger"}], **fields)


def test_a_compaction_request_asks_for_a_summary_and_offers_no_tools():
    fields = {
        "tools": [TOOL],
        "tool_choice": "required",
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low"},
    }
    translation, notes = compacting(**fields)
    assert translation.compaction
    assert translation.body == {
        "model": "m",
        "messages": [*HELLO, {"role": "user", "content": compaction.PROMPT}],
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert list(notes) == []


def test_a_trigger_elsewhere_is_an_item_like_any_other():
    translation, notes = translate(input=[{"type": "compaction_trigger"}, {"role": "user", "content": "hello"}])
    assert not translation.compaction
    assert "item:compaction_trigger" in notes


def test_after_a_compaction_the_summary_stands_in_the_history():
    item = {"type": "compaction", "encrypted_content": compaction.seal("They like tea.")}
    sent = body(input=[{"role": "developer", "content": "Be brief."}, item, {"role": "user", "content": "hello"}])
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "user"]
    assert "They like tea." in sent["messages"][1]["content"]


# --- what the answer needs to know


def test_the_call_ids_of_the_history():
    items = [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}]
    assert translate(input=items)[0].call_ids.unique("c1") == "c1_2"


def test_the_length_of_a_request_for_the_estimate():
    plain, _ = translate(input="x" * 400)
    assert plain.characters() == 400
    image = {"type": "input_image", "image_url": "data:" + "A" * 9000}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "12345"}, image]},
        {"type": "function_call", "call_id": "c", "name": "fun", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c", "output": "1234"},
    ]
    with_tools, _ = translate(input=items, tools=[TOOL])
    assert 19 + 20 < with_tools.characters() < 19 + 200


# --- any request


@given(st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.just("hi")},
    optional={
        name: json_values | st.dictionaries(st.sampled_from(["type", "format", "effort", "verbosity", "schema", "name"]), json_values, max_size=3)
        for name in {"extra", *FIELDS} - {"model"}
    },
))  # fmt: skip
@example({"model": "m", "input": "hi", "text": {"format": {"type": {}}}})
@example({"model": "m", "input": "hi", "reasoning": {"effort": []}})
def test_a_request_of_any_json_is_translated_or_refused_with_a_field(value):
    try:
        translation = translate_request(parse_request(value), Profile(), Notes())
    except ApiError as error:
        assert error.status in (400, 404)
        assert error.param
    else:
        dumps(translation.body)
        check_messages(translation.body["messages"])
        assert translation.characters() >= 0
