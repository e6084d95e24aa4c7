from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.translate.schema import tool_parameters

EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize(("schema", "parameters"), [
    (None, EMPTY),
    ({}, EMPTY),
    ("text", EMPTY),
    ([], EMPTY),
    ({"type": "object"}, EMPTY),
    ({"type": None, "properties": None}, EMPTY),
    ({"type": ["object", "null"], "required": ["a"]}, {**EMPTY, "required": ["a"]}),
    ({"anyOf": [{"type": "object"}]}, {**EMPTY, "anyOf": [{"type": "object"}]}),
    ({"type": "object", "properties": []}, EMPTY),
])  # fmt: skip
def test_R14_the_root_is_always_an_object_with_properties(schema, parameters):
    assert tool_parameters(schema) == parameters


def test_R15_null_keywords_and_those_of_codex_go_at_every_depth():
    schema = {
        "type": "object",
        "title": None,
        "properties": {
            "note": {"type": "string", "encrypted": True, "description": None},
            "rows": {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"encrypted": True}}, "default": None},
            },
            "gone": None,
        },
        "anyOf": [{"required": ["note"], "encrypted": False}, {"title": None}],
        "$defs": {"d": {"encrypted": True, "type": "string"}},
    }
    assert tool_parameters(schema) == {
        "type": "object",
        "properties": {
            "note": {"type": "string"},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
        },
        "anyOf": [{"required": ["note"]}, {}],
        "$defs": {"d": {"type": "string"}},
    }


@pytest.mark.parametrize("name", ["encrypted", "default", "enum", "properties", "$defs", "type", "const", "required"])
def test_a_property_may_have_the_name_of_a_keyword(name):
    schema = {"type": "object", "properties": {name: {"type": "string", "encrypted": True}}}
    assert tool_parameters(schema) == {"type": "object", "properties": {name: {"type": "string"}}}


@pytest.mark.parametrize("literal", [
    {"enum": [None, "a", {"encrypted": True}]}, {"const": None}, {"const": {"encrypted": 1}}, {"default": {"x": None}}, {"examples": [None]},
])  # fmt: skip
def test_literal_values_are_not_schemas(literal):
    assert tool_parameters({"properties": {"a": literal}})["properties"]["a"] == literal


def test_the_order_of_keys_is_kept_and_the_original_untouched():
    schema = {
        "type": "object",
        "required": ["b"],
        "properties": {"b": {"type": "string", "encrypted": True}, "a": {}},
        "x": 1,
    }
    before = copy.deepcopy(schema)
    assert json.dumps(tool_parameters(schema)) == (
        '{"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}, "a": {}}, "x": 1}'
    )
    assert schema == before


NAMES = ["type", "properties", "items", "anyOf", "enum", "default", "encrypted", "const", "$defs", "required"]


@given(
    st.recursive(json_values, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4), max_leaves=10)
)
def test_any_value_gives_an_object_schema_once_and_for_all(value):
    parameters = tool_parameters(value)
    assert parameters["type"] == "object"
    assert isinstance(parameters["properties"], dict)
    assert tool_parameters(parameters) == parameters
