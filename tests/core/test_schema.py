from __future__ import annotations

import copy
import json
from typing import Any

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


# --- the steps of profiles

STEPS = (
    "inline_refs", "drop:$schema", "drop:additionalProperties", "drop_false:additionalProperties", "drop:propertyNames", "drop:pattern",
    "drop:format", "drop:minItems", "nullable_from_type_list", "push_type_into_any_of", "tuple_to_prefix_items", "booleans_to_objects", "object_root",
)  # fmt: skip
TEXT = {"type": "string"}


def step(name: str, node: Any) -> Any:
    """The result of a step for a property."""
    return tool_parameters({"properties": {"a": node}}, (name,))["properties"]["a"]


@pytest.mark.parametrize(("ref", "found"), [
    ("#/$defs/City", {"type": "object", "properties": {"name": TEXT}}),
    ("#/$defs/City/properties/name", TEXT),
    ("#/definitions/a~1b%20c", {"type": "integer"}),
    ("#/properties/b/anyOf/1", {"type": "boolean"}),
    ("City", {"type": "object", "properties": {"name": TEXT}}),
    ("https://example.com/schema.json#/$defs/City", {"type": "object", "properties": {"name": TEXT}}),
    ("#/$defs/Gone", {"type": "object"}),
    ("#/properties/b/anyOf/7", {"type": "object"}),
    ("", {"type": "object"}),
])  # fmt: skip
def test_R15_references_are_replaced_by_what_they_refer_to(ref, found):
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": ref, "description": "d"}, "b": {"anyOf": [{}, {"type": "boolean"}]}},
        "$defs": {"City": {"type": "object", "properties": {"name": {"$ref": "#/$defs/Name"}}}, "Name": TEXT},
        "definitions": {"a/b c": {"type": "integer"}},
    }
    inlined = tool_parameters(schema, ("inline_refs",))
    assert inlined["properties"]["a"] == {**found, "description": "d"}
    assert not inlined.keys() & {"$defs", "definitions"}
    assert "$ref" not in json.dumps(inlined)


@pytest.mark.parametrize(
    "name", ["$ref", "$defs", "definitions", "$schema", "additionalProperties", "items", "anyOf", "type"]
)
def test_R15_a_property_may_still_have_the_name_of_a_keyword(name):
    schema = {"type": "object", "properties": {name: TEXT}}
    assert tool_parameters(schema, STEPS) == schema


def test_R15_definitions_that_refer_to_themselves_end():
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#"}}}
    inlined = tool_parameters(
        {"properties": {"a": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}}, ("inline_refs",)
    )
    assert inlined["properties"]["a"]["properties"]["left"] == {"type": "object"}
    assert "$ref" not in json.dumps(inlined)


@pytest.mark.parametrize("defs", [
    {f"d{n}": {"properties": {"x": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(3000)},
    {f"d{n}": {"properties": {"x": {"$ref": f"#/$defs/d{n + 1}"}, "y": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(60)},
], ids=["a long chain", "twice as many each time"])  # fmt: skip
def test_R15_definitions_that_would_grow_without_measure(defs):
    inlined = tool_parameters({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs}, ("inline_refs",))
    assert len(json.dumps(inlined)) < 5_000_000


@pytest.mark.parametrize(("name", "before", "after"), [
    ("drop:$schema", {"$schema": "x", "type": "string"}, TEXT),
    ("drop:additionalProperties", {"type": "object", "additionalProperties": TEXT}, {"type": "object"}),
    ("drop_false:additionalProperties", {"additionalProperties": False}, {}),
    ("drop_false:additionalProperties", {"additionalProperties": True}, {"additionalProperties": True}),
    ("drop:propertyNames", {"propertyNames": {"pattern": "a"}}, {}),
    ("drop:pattern", {"pattern": "a", "properties": {"pattern": {"pattern": "b"}}}, {"properties": {"pattern": {}}}),
    ("drop:format", {"items": {"format": "date"}}, {"items": {}}),
    ("drop:format", {"default": {"format": "date"}, "enum": [{"format": 1}]}, {"default": {"format": "date"}, "enum": [{"format": 1}]}),
    ("drop:minItems", {"anyOf": [{"minItems": 1}, {"allOf": [{"minItems": 2}]}]}, {"anyOf": [{}, {"allOf": [{}]}]}),
    ("nullable_from_type_list", {"type": ["string", "null"], "title": "t"}, {"type": "string", "title": "t", "nullable": True}),
    ("nullable_from_type_list", {"type": ["string"]}, TEXT),
    ("nullable_from_type_list", {"type": ["string", "integer"]}, {"anyOf": [TEXT, {"type": "integer"}]}),
    ("nullable_from_type_list", {"type": ["string", "integer", "null"]}, {"anyOf": [TEXT, {"type": "integer"}], "nullable": True}),
    ("nullable_from_type_list", {"type": ["null"], "title": "t"}, {"title": "t", "nullable": True}),
    ("nullable_from_type_list", {"anyOf": [TEXT, {"type": "null"}], "title": "t"}, {"type": "string", "title": "t", "nullable": True}),
    ("nullable_from_type_list", {"oneOf": [TEXT, {}, {"type": "null"}]}, {"oneOf": [TEXT, {}], "nullable": True}),
    ("nullable_from_type_list", {"anyOf": [{"type": "null"}]}, {"nullable": True}),
    ("nullable_from_type_list", {"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
    ("push_type_into_any_of", {"type": "object", "anyOf": [{"required": ["a"]}, {"type": "null"}, 5]},
     {"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}, 5]}),
    ("push_type_into_any_of", {"type": "string"}, TEXT),
    ("tuple_to_prefix_items", {"type": "array", "items": [TEXT, {"items": [TEXT]}]}, {"type": "array", "prefixItems": [TEXT, {"prefixItems": [TEXT]}]}),
    ("tuple_to_prefix_items", {"items": TEXT}, {"items": TEXT}),
    ("booleans_to_objects", {"properties": {"a": True, "b": False}, "items": True}, {"properties": {"a": {}}, "items": {}}),
    ("booleans_to_objects", {"anyOf": [True, TEXT, False], "items": False, "additionalProperties": True},
     {"anyOf": [{}, TEXT], "additionalProperties": True}),
    ("booleans_to_objects", {"uniqueItems": True, "default": True, "enum": [True]}, {"uniqueItems": True, "default": True, "enum": [True]}),
])  # fmt: skip
def test_R15_each_step(name, before, after):
    assert step(name, before) == after


@pytest.mark.parametrize(("root", "properties", "required"), [
    ({"anyOf": [{"properties": {"b": TEXT}, "required": ["b"]}, {"properties": {"c": TEXT}, "required": ["a", "c"]}]}, ["a", "b", "c"], ["a"]),
    ({"oneOf": [{"required": ["a", "b"]}, {"required": ["b"]}]}, ["a"], ["a", "b"]),
    ({"allOf": [{"properties": {"b": TEXT}, "required": ["b"]}, {"required": ["c"]}]}, ["a", "b"], ["a", "b", "c"]),
    ({"anyOf": [{"$ref": "#/$defs/X"}]}, ["a", "x"], ["a", "x"]),
    ({"anyOf": [{"oneOf": [{"properties": {"deep": TEXT}}]}]}, ["a", "deep"], ["a"]),
    ({"$ref": "#/$defs/X"}, ["a"], ["a"]),
    ({"anyOf": [True, None, {"$ref": "#"}, {"properties": 5, "required": 5}]}, ["a"], ["a"]),
    ({}, ["a"], ["a"]),
])  # fmt: skip
def test_R15_a_root_that_is_a_choice_becomes_one_object(root, properties, required):
    defs = {"X": {"type": "object", "properties": {"x": TEXT}, "required": ["x"]}}
    schema = {"type": "object", "description": "d", "properties": {"a": TEXT}, "required": ["a"], **root, "$defs": defs}
    flat = tool_parameters(schema, ("object_root",))
    assert flat["type"] == "object"
    assert not flat.keys() & {"anyOf", "oneOf", "allOf", "$ref"}
    assert list(flat["properties"]) == properties
    assert flat["required"] == required
    assert flat["description"] == "d"


def test_R15_a_root_that_stands_elsewhere_is_fetched():
    schema = {"$ref": "#/$defs/X", "$defs": {"X": {"type": "object", "properties": {"x": TEXT}, "required": ["x"]}}}
    assert tool_parameters(schema, ("object_root",))["properties"] == {"x": TEXT}


WORDS = [
    "type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "$ref", "$defs", "definitions", "required", "additionalProperties", "prefixItems",
]  # fmt: skip


@given(
    st.recursive(json_values | st.sampled_from(["#", "#/$defs/a", "null", "object"]), lambda inner: st.dictionaries(st.sampled_from([*WORDS, "a"]), inner | st.lists(inner, max_size=3), max_size=4), max_leaves=12),
    st.permutations(STEPS),
)  # fmt: skip
def test_R15_any_value_can_be_rewritten_and_the_original_stays(value, steps):
    before = copy.deepcopy(value)
    parameters = tool_parameters(value, tuple(steps))
    assert parameters["type"] == "object"
    assert isinstance(parameters["properties"], dict)
    json.dumps(parameters)
    assert value == before
