from __future__ import annotations

import itertools
from typing import Any

import pytest

from chatbridge.translate.items import (
    Compaction,
    CustomCall,
    CutOffError,
    FunctionCall,
    Message,
    NewId,
    Reasoning,
    SearchCall,
    call_item,
)
from chatbridge.translate.tools import Tool


def ids() -> NewId:
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_message_of_one_text():
    item = Message(ids(), 3)
    assert item.added() == [
        {
            "type": "response.output_item.added",
            "output_index": 3,
            "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []},
        }
    ]
    events = item.delta("text", "a") + item.delta("text", "b") + item.done()
    place = {"item_id": "msg_1", "output_index": 3, "content_index": 0}
    part = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}
    assert events == [
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "a", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "b", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "ab", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {
            "type": "response.output_item.done",
            "output_index": 3,
            "item": {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]},
        },
    ]


def test_S39_a_refusal_is_a_part_of_its_own():
    item = Message(ids(), 0)
    item.delta("text", "a")
    events = item.delta("refusal", "no")
    assert types(events) == ["output_text.done", "content_part.done", "content_part.added", "refusal.delta"]
    assert [event["content_index"] for event in events] == [0, 0, 1, 1]
    assert types(item.done()) == ["refusal.done", "content_part.done", "output_item.done"]
    assert item.value("completed")["content"][1] == {"type": "refusal", "refusal": "no"}


def test_a_reasoning_item_has_one_summary_part():
    item = Reasoning(ids(), 0)
    assert item.value("in_progress") == {"id": "rs_1", "type": "reasoning", "summary": []}
    assert types(item.added()) == ["output_item.added", "reasoning_summary_part.added"]
    assert types(item.delta("a") + item.delta("b")) == ["reasoning_summary_text.delta"] * 2
    events = item.done()
    assert types(events) == ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"]
    assert events[-1]["item"]["summary"] == [{"type": "summary_text", "text": "ab"}]
    assert all(event["summary_index"] == 0 for event in events[:-1])


@pytest.mark.parametrize(("namespace", "extra"), [(None, {}), ("shop", {"namespace": "shop"})])
def test_a_function_call(namespace, extra):
    item = FunctionCall(ids(), 1, Tool("function", "buy", namespace), "c1")
    assert item.added()[0]["item"] == {
        "id": "fc_1", "type": "function_call", "status": "in_progress", "call_id": "c1", "name": "buy", "arguments": "", **extra
    }  # fmt: skip
    events = item.delta('{"n":') + item.delta("1}") + item.done()
    assert types(events) == ["function_call_arguments.delta"] * 2 + ["function_call_arguments.done", "output_item.done"]
    assert (events[2]["arguments"], events[2]["name"]) == ('{"n":1}', "buy")
    assert events[3]["item"]["status"] == "completed"


@pytest.mark.parametrize("arguments", ["", " \n", "null", ' "" '])
def test_S12_no_arguments_are_an_empty_object(arguments):
    item = FunctionCall(ids(), 0, Tool("function", "f"), "c")
    events = (item.delta(arguments) if arguments else []) + item.done()
    assert events[-2]["arguments"] == "".join(event["delta"] for event in events if "delta" in event) == "{}"


@pytest.mark.parametrize("arguments", ["{}", ' {"a":"line\nbreak"}', "[1]", '"text"'])
def test_one_json_value_is_whole(arguments):
    item = FunctionCall(ids(), 0, Tool("function", "f"), "c")
    item.delta(arguments)
    assert item.done()[-1]["item"]["arguments"] == arguments


def test_S11_arguments_that_are_quoted_twice_are_the_object_in_them():
    item = FunctionCall(ids(), 0, Tool("function", "f"), "c")
    assert [*item.delta('"{\\"a'), *item.delta('\\":1}"')] == []
    assert item.done()[-1]["item"]["arguments"] == '{"a":1}'


@pytest.mark.parametrize("arguments", ['{"a":', '{"a":1}{"b":2}', "rm -rf", '{"a":NaN}'])
def test_S13_S54_arguments_that_are_not_one_json_value_are_not_delivered(arguments):
    item = FunctionCall(ids(), 0, Tool("function", "f"), "c")
    item.delta(arguments)
    with pytest.raises(CutOffError, match="f"):
        item.done()
    assert item.value("incomplete")["arguments"] == arguments


def test_a_custom_call_gives_the_raw_text_as_it_becomes_known():
    item = CustomCall(ids(), 0, Tool("custom", "exec", "functions"), "c1")
    assert item.added()[0]["item"] == {
        "id": "ctc_1", "type": "custom_tool_call", "status": "in_progress", "call_id": "c1", "name": "exec", "namespace": "functions", "input": ""
    }  # fmt: skip
    assert item.delta('{"input":') == []
    events = item.delta('"a\\') + item.delta('nb"}') + item.done()
    assert types(events) == ["custom_tool_call_input.delta"] * 2 + ["custom_tool_call_input.done", "output_item.done"]
    assert [event.get("delta") for event in events[:2]] == ["a", "\nb"]
    assert events[2]["input"] == events[3]["item"]["input"] == "a\nb"


def test_a_custom_call_of_another_form_is_given_at_the_end():
    item = CustomCall(ids(), 0, Tool("custom", "exec"), "c1")
    assert item.delta("plain text") == []
    events = item.done()
    assert types(events) == ["custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]
    assert events[1]["input"] == "plain text"


def test_S54_a_cut_custom_call_is_not_delivered():
    item = CustomCall(ids(), 0, Tool("custom", "exec"), "c1")
    item.delta('{"input":"rm -')
    with pytest.raises(CutOffError, match="exec"):
        item.done()


@pytest.mark.parametrize(("pieces", "arguments"), [(['{"query":', '"x"}'], {"query": "x"}), ([], {}), ([" "], {})])
def test_a_tool_search_is_told_with_an_object(pieces, arguments):
    item = SearchCall(ids(), 0, "c1")
    assert [event for piece in pieces for event in item.delta(piece)] == []
    assert item.done() == [
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {
                "id": "tsc_1", "type": "tool_search_call", "status": "completed", "call_id": "c1", "execution": "client", "arguments": arguments
            },
        }
    ]  # fmt: skip
    assert item.added()[0]["item"]["type"] == "tool_search_call"


@pytest.mark.parametrize("arguments", ['{"query":', "[]", "null"])
def test_S54_a_cut_tool_search_is_not_delivered(arguments):
    item = SearchCall(ids(), 0, "c1")
    item.delta(arguments)
    with pytest.raises(CutOffError, match="tool_search"):
        item.done()


def test_a_compaction_item_is_whole_at_once():
    item = Compaction(ids(), 0, "sealed")
    value = {"id": "cmp_1", "type": "compaction", "encrypted_content": "sealed"}
    assert [event["item"] for event in item.added() + item.done()] == [value, value]


@pytest.mark.parametrize(
    ("kind", "item"), [("function", FunctionCall), ("custom", CustomCall), ("tool_search", SearchCall)]
)
def test_each_kind_of_tool_has_its_item(kind, item):
    assert isinstance(call_item(ids(), 0, Tool(kind, "f"), "c"), item)
