from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values
from support import delta, run, translate

from chatbridge.translate import structured
from chatbridge.translate.structured import mismatch
from chatbridge.vendors.profile import Profile

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}},
    "required": ["x"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "maxLength": 3}},
}


@pytest.mark.parametrize("text", ['{"x": 1}', ' {"x":1,"tags":["a"]}\n'])
def test_an_answer_that_matches(text):
    assert mismatch(text, POINT) == ""


@pytest.mark.parametrize(("text", "found"), [
    ("", "it is not JSON"), ("Sure! {}", "it is not JSON"), ('```json\n{"x":1}\n```', "it is not JSON"), ('{"x":', "it is not JSON"),
    ("{}", "'x' is a required property"), ('{"x": "1"}', "$.x: '1' is not of type 'integer'"), ("[]", "$: [] is not of type 'object'"),
    ('{"x":1,"y":2}', "'y' was unexpected"), ('{"x":1,"tags":["abcd"]}', "$.tags[0]: 'abcd' is too long"),
])  # fmt: skip
def test_an_answer_that_does_not(text, found):
    assert found in mismatch(text, POINT)


@pytest.mark.parametrize("schema", [
    {"$ref": "http://127.0.0.1:9/schema.json"}, {"properties": {"a": {"$ref": "file:///etc/passwd"}}}, {"allOf": [{"$dynamicRef": "other"}]},
    {"$id": "http://127.0.0.1:9/", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
    {"patternProperties": {"(a+)+$": False}}, {"type": "nonsense"}, {"minimum": "x"}, {"$ref": "#/nowhere"}, {"$ref": "#"},
])  # fmt: skip
def test_what_a_schema_names_is_not_fetched_and_a_wrong_one_checks_nothing(schema, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert mismatch('{"a": 1}', schema) == ""


def test_its_regular_expressions_are_not_run():
    begin = time.perf_counter()
    assert mismatch(json.dumps("a" * 40 + "!"), {"type": "string", "pattern": "^(a+)+$"}) == ""
    assert time.perf_counter() - begin < 5


def test_endless_work_has_an_end():
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}]} for n in range(60)}
    assert mismatch("5", {"$ref": "#/$defs/l0", "$defs": {**levels, "l60": {"type": "string"}}}) == ""


@given(json_values, json_values)
def test_any_schema_and_any_answer(schema: Any, value: Any):
    assert isinstance(mismatch(json.dumps(value), schema if isinstance(schema, dict) else {"const": schema}), str)


@given(st.text())
def test_any_text(text):
    assert mismatch(text, POINT)


def test_without_the_library_only_json_is_checked(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not structured.can_check()
    _only_json_is_checked()


def test_a_broken_library_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    _only_json_is_checked()


def _only_json_is_checked():
    assert mismatch("{}", POINT) == ""
    assert "it is not JSON" in mismatch("{", POINT)


# --- the turn

FORMAT = {"format": {"type": "json_schema", "name": "point", "schema": POINT}}
STOP = delta(finish_reason="stop")


def test_a_mismatch_is_noted_and_not_hidden():
    turn, events = run([delta(content='{"x": '), delta(content='"1"}'), STOP], text=FORMAT)
    assert events[-1]["type"] == "response.completed"
    assert "'1' is not of type 'integer'" in turn.mismatch
    assert "text.format:mismatch" in turn._notes


@pytest.mark.parametrize(("chunks", "fields"), [
    ([delta(content='{"x": 1}'), STOP], {"text": FORMAT}),
    ([delta(content="no JSON"), STOP], {}),
    ([delta(content="no JSON"), STOP], {"text": {"format": {"type": "json_object"}}}),
    ([delta(refusal="I will not."), STOP], {"text": FORMAT}),
    ([delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]), delta(finish_reason="tool_calls")], {"text": FORMAT}),
    ([delta(content='{"x": '), delta(finish_reason="length")], {"text": FORMAT}),
])  # fmt: skip
def test_what_matches_or_is_no_such_answer_has_no_mismatch(chunks, fields):
    turn, _ = run(chunks, **fields)
    assert turn.mismatch == ""


def test_the_schema_goes_into_the_prompt_where_the_vendor_takes_none():
    translation, notes = translate(Profile(response_formats=("json_object",)), text=FORMAT)
    assert translation.body["response_format"] == {"type": "json_object"}
    assert '"required":["x"]' in translation.body["messages"][0]["content"]
    assert "text.format" in notes
    assert translation.schema == POINT
