from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import loads
from chatbridge.translate.dialect import adapt, parse
from chatbridge.translate.notes import Notes
from chatbridge.vendors.profile import Profile, profiles

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {}, "$schema": "x"}},
}
OTHER = {"type": "function", "function": {"name": "g"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


def adapted(profile: Profile, **fields: Any) -> dict[str, Any]:
    return adapt(parse({"model": "m", "messages": HELLO, **fields}), profile, Notes()).body


def test_what_the_profile_says_nothing_of_goes_as_it_is():
    fields = {
        "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True, "stream": True, "n": 2, "x_vendor": {"a": None},
        "stream_options": {"include_usage": True}, "temperature": 0.5, "response_format": SCHEMA, "max_tokens": 5,
    }  # fmt: skip
    assert adapted(Profile(), **fields) == {"model": "m", "messages": HELLO, **fields}


@pytest.mark.parametrize(("profile", "fields", "sent"), [
    (Profile(max_tokens_field="max_completion_tokens"), {"max_tokens": 5}, {"max_completion_tokens": 5}),
    (Profile(), {"max_completion_tokens": 5}, {"max_tokens": 5}),
    (Profile(max_tokens=9), {}, {"max_tokens": 9}),
    (Profile(max_tokens=9), {"max_tokens": 5}, {"max_tokens": 5}),
    (Profile(drop=("seed",), openai_keys=()), {"seed": 1, "user": "u", "top_p": 1}, {"top_p": 1}),
    (Profile(rename={"seed": "random_seed"}), {"seed": 1}, {"random_seed": 1}),
    (Profile(stream_options=False), {"stream": True, "stream_options": {}}, {"stream": True}),
    (Profile(efforts=("low", "high")), {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}),
    (Profile(effort_field="reasoning.effort"), {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    (Profile(), {"reasoning_effort": "own word"}, {"reasoning_effort": "own word"}),
    (Profile(effort_with_tools="none"), {"reasoning_effort": "low", "tools": [OTHER]}, {"reasoning_effort": "none", "tools": [OTHER]}),
    (Profile(effort_with_tools="none"), {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
    (Profile(body={"a": {"b": 1}}), {}, {"a": {"b": 1}}),
    (Profile(body={"a": 1}), {"a": 2}, {"a": 2}),
    (Profile(parallel_tool_calls="never"), {"tools": [OTHER], "parallel_tool_calls": True}, {"tools": [OTHER]}),
    (Profile(body_with_tools={"t": 1}), {"tools": [OTHER]}, {"tools": [OTHER], "t": 1}),
    (Profile(tool_choice={"required": "any"}), {"tools": [OTHER], "tool_choice": "required"}, {"tools": [OTHER], "tool_choice": "any"}),
    (Profile(tool_choice={"required": "omit"}), {"tools": [OTHER], "tool_choice": "required"}, {"tools": [OTHER]}),
    (Profile(tool_choice={"none": "omit"}), {"tools": [OTHER], "tool_choice": "none"}, {}),
    (Profile(tool_choice={"named": "required"}), {"tools": [OTHER, TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
     {"tools": [OTHER], "tool_choice": "required"}),
    (Profile(response_formats=("json_object",)), {"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
])  # fmt: skip
def test_the_profile_is_followed(profile, fields, sent):
    assert adapted(profile, **fields) == {"model": "m", "messages": HELLO, **sent}


def test_tools_are_rewritten():
    [tool] = adapted(Profile(strict="never", schema=("drop:$schema",)), tools=[TOOL])["tools"]
    assert tool == {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert "$schema" in TOOL["function"]["parameters"]  # the client's own is not changed


def test_roles_that_the_vendor_does_not_know():
    messages = [{"role": "developer", "content": "Be brief."}, *HELLO]
    assert [message["role"] for message in adapted(Profile(), messages=messages)["messages"]] == ["system", "user"]


def test_a_schema_goes_into_the_prompt_where_the_vendor_takes_none():
    sent = adapted(Profile(response_formats=("json_object",)), response_format=SCHEMA)
    assert sent["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert '{"type":"object"}' in sent["messages"][0]["content"]
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    sent = adapted(Profile(response_formats=()), response_format=SCHEMA, messages=messages)
    assert "response_format" not in sent
    assert len(sent["messages"]) == 2
    assert sent["messages"][0]["content"].startswith("Be brief.\n\nAnswer with")


@pytest.mark.parametrize(("fields", "param"), [
    ({"model": None}, "model"), ({"model": 5}, "model"), ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"),
    ({"messages": [5]}, "messages[0]"), ({"messages": [{"content": "hi"}]}, "messages[0].role"), ({"temperature": 3}, "temperature"),
    ({"stream": "yes"}, "stream"), ({"max_tokens": 0}, "max_tokens"), ({"tools": [{"function": {"parameters": []}}]}, "tools[0].function.parameters"),
    ({"response_format": {}}, "response_format.type"),
])  # fmt: skip
def test_a_wrong_request_is_refused_by_its_path(fields, param):
    with pytest.raises(ApiError) as caught:
        parse({"model": "m", "messages": HELLO, **fields})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_more_tools_than_the_vendor_takes():
    with pytest.raises(ApiError) as caught:
        adapted(Profile(max_tools=1), tools=[TOOL, OTHER])
    assert (caught.value.status, caught.value.code) == (400, "array_above_max_length")


@given(
    st.dictionaries(
        st.sampled_from(["tools", "tool_choice", "response_format", "reasoning_effort", "max_tokens", "x"]), json_values
    )
)
def test_any_request_is_adapted_for_any_vendor_or_refused(fields):
    for profile in profiles().values():
        try:
            request = parse({"model": "m", "messages": HELLO, **fields})
            loads(adapt(request, profile, Notes()).text())
        except ApiError as error:
            assert error.status == 400
