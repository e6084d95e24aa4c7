from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values

from chatbridge.protocol.errors import ApiError
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tool, Tools

LEGAL = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def function(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **fields}


def custom(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "custom", "name": name, **fields}


def space(name: str, *tools: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "description": "", "tools": list(tools)}


def offered(*entries: Any) -> Tools:
    tools = Tools(Notes())
    tools.add(list(entries), "tools")
    return tools


def names(tools: Tools) -> list[str]:
    assert all(set(tool) == {"type", "function"} and tool["type"] == "function" for tool in tools.chat)
    return [tool["function"]["name"] for tool in tools.chat]


def refusal(entries: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        Tools(Notes()).add(entries, "tools")
    assert (caught.value.status, caught.value.code in ("invalid_type", "missing_required_parameter")) == (400, True)
    return caught.value


# --- kinds


def test_R33_a_function_is_wrapped():
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = offered(function("weather", description="Tells the weather.", strict=False, parameters=parameters))
    assert tools.chat == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells the weather.", "parameters": parameters},
        }
    ]
    assert tools.resolve("weather") == Tool("function", "weather")


def test_R14_R16_a_function_with_nothing_but_a_name():
    assert offered(function("ping", description=None, parameters=None, strict=None)).chat[0]["function"] == {
        "name": "ping",
        "parameters": {"type": "object", "properties": {}},
    }
    assert offered(function("ping", strict=True)).chat[0]["function"]["strict"] is True


def test_the_chat_form_is_taken_too():
    tools = offered({"type": "function", "function": {"name": "ping", "description": "d", "parameters": {}}})
    assert names(tools) == ["ping"]
    assert tools.chat[0]["function"]["description"] == "d"
    assert [tool["name"] for tool in tools.echo] == ["ping"]


def test_R33_a_custom_tool_is_a_function_with_one_string():
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: LINE+"}
    tools = offered(custom("patch", description="Edits files. ", format=grammar))
    [tool] = tools.chat
    assert list(tool["function"]["parameters"]["properties"]) == tool["function"]["parameters"]["required"] == ["input"]
    assert tool["function"]["parameters"]["properties"]["input"]["type"] == "string"
    described = tool["function"]["description"]
    assert described.startswith("Edits files.\n\n")
    assert "`input`" in described
    assert "lark grammar:\nstart: LINE+" in described
    assert tools.resolve("patch") == Tool("custom", "patch")
    assert tools.echo == []


@pytest.mark.parametrize(
    "fields", [{}, {"description": None, "format": None}, {"format": {"type": "text"}}, {"description": ""}]
)
def test_a_custom_tool_without_description_and_grammar(fields):
    described = offered(custom("note", **fields)).chat[0]["function"]["description"]
    assert described.startswith("Call this tool with one string")
    assert "grammar" not in described


def test_R33_a_namespace_is_flattened_and_found_back():
    tools = offered(space("mcp__shop", function("buy"), custom("script")), function("buy"))
    assert names(tools) == ["mcp__shop__buy", "mcp__shop__script", "buy"]
    assert tools.resolve("mcp__shop__buy") == Tool("function", "buy", "mcp__shop")
    assert tools.resolve("mcp__shop__script") == Tool("custom", "script", "mcp__shop")
    assert tools.resolve("buy") == Tool("function", "buy")
    assert [tool["name"] for tool in tools.echo] == ["buy"]


def test_R33_the_namespace_functions_is_no_part_of_the_names():
    tools = offered(space("functions", custom("exec"), function("wait")))
    assert names(tools) == ["exec", "wait"]
    assert tools.resolve("exec") == Tool("custom", "exec", "functions")
    # Codex replays such calls with the namespace and without it.
    assert tools.flat("exec") == tools.flat("exec", "functions") == tools.flat("exec", "") == "exec"


def test_R33_codex_tool_search():
    tools = offered(
        {
            "type": "tool_search",
            "execution": "client",
            "description": "Finds tools.",
            "parameters": {"properties": {"query": {}}},
        }
    )
    assert tools.chat[0]["function"]["description"] == "Finds tools."
    assert tools.resolve("tool_search") == Tool("tool_search", "tool_search")


@pytest.mark.parametrize("kind", ["web_search", "image_generation", "file_search", "local_shell", "mcp", "x"])
def test_R33_hosted_kinds_are_left_out_with_a_note(kind):
    notes = Notes()
    tools = Tools(notes)
    tools.add([{"type": kind, "name": "x"}, function("f")], "tools")
    assert names(tools) == ["f"]
    assert [found for found, _ in notes] == [f"tool:{kind}"]


def test_a_search_or_a_namespace_in_the_wrong_place_is_left_out_with_a_note():
    notes = Notes()
    tools = Tools(notes)
    tools.add([{"type": "tool_search", "execution": "server"}, space("a", space("b", function("f")))], "tools")
    assert tools.chat == []
    assert [kind for kind, _ in notes] == ["tool:tool_search", "tool:namespace"]


def test_R35_the_first_of_two_with_one_name_counts():
    tools = offered(
        function("f", description="1"),
        function("f", description="2"),
        custom("f"),
        space("n", function("f"), function("f")),
    )
    assert names(tools) == ["f", "n__f"]
    assert tools.chat[0]["function"]["description"] == "1"
    assert len(tools.echo) == 1


def test_lists_from_several_places_are_one_list_in_their_order():
    tools = Tools(Notes())
    tools.add(None, "tools")
    tools.add([function("a")], "tools")
    tools.add([space("s", function("b"))], "input[0].tools")
    assert names(tools) == ["a", "s__b"]


def test_the_echo_has_all_keys_that_strict_clients_want():
    parameters = {"type": "object"}
    assert offered(
        function("f"), function("g", description="d", parameters=parameters, strict=True, defer_loading=True)
    ).echo == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None},
        {"type": "function", "name": "g", "description": "d", "parameters": parameters, "strict": True},
    ]


@pytest.mark.parametrize(("entries", "param"), [
    ({}, "tools"), ("x", "tools"), (5, "tools"),
    ([None], "tools[0]"), ([function("f"), []], "tools[1]"),
    ([{"type": "function"}], "tools[0].name"), ([function("")], "tools[0].name"), ([function(5)], "tools[0].name"),
    ([function("f", description=5)], "tools[0].description"),
    ([function("f", parameters=[])], "tools[0].parameters"), ([function("f", parameters="x")], "tools[0].parameters"),
    ([function("f", strict="yes")], "tools[0].strict"),
    ([custom(None)], "tools[0].name"), ([custom("c", description={})], "tools[0].description"), ([custom("c", format="x")], "tools[0].format"),
    ([{"type": "namespace", "tools": []}], "tools[0].name"),
    ([{"type": "namespace", "name": "n", "tools": 5}], "tools[0].tools"), ([{"type": "namespace", "name": "n", "tools": {}}], "tools[0].tools"),
    ([space("n", function("f"), 5)], "tools[0].tools[1]"), ([space("n", function(""))], "tools[0].tools[0].name"),
    ([{"name": "f"}], "tools[0].type"), ([function("f"), {"type": None}], "tools[1].type"), ([{"type": 5}], "tools[0].type"),
    ([{"type": "tool_search", "parameters": 5}], "tools[0].parameters"), ([{"type": "tool_search", "description": 5}], "tools[0].description"),
])  # fmt: skip
def test_a_wrong_tool_is_refused_with_its_place(entries, param):
    assert refusal(entries).param == param


TOOLS = st.recursive(
    json_values,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["function", "custom", "namespace", "tool_search", "web_search"])},
        optional=dict.fromkeys(
            ("name", "description", "parameters", "strict", "format", "function", "execution"), json_values
        )
        | {"tools": st.lists(inner, max_size=2) | json_values},
    ),
    max_leaves=4,
)


@given(st.lists(TOOLS, max_size=3) | json_values)
@example([{"type": "namespace", "name": "n", "tools": 1.5}])
def test_tools_of_any_json_are_taken_or_refused_with_their_place(entries):
    tools = Tools(Notes())
    try:
        tools.add(entries, "tools")
    except ApiError as error:
        assert (error.status, error.param.startswith("tools")) == (400, True)
    else:
        assert all(LEGAL.fullmatch(name) for name in names(tools))


# --- names there and back

LONG = "x" * 70
NAMES = st.text("abAB_-. é😀/", min_size=1, max_size=4) | st.sampled_from(
    [LONG + "1", LONG + "2", "a__b", "b", "functions"]
)
SPACES = st.none() | NAMES


def same(pair: tuple[str | None, str]) -> tuple[str | None, str]:
    """Codex itself makes no difference between this namespace and none."""
    return (None, pair[1]) if pair[0] == "functions" else pair


@given(st.lists(st.tuples(SPACES, NAMES), max_size=8, unique_by=same))
@example([("a", "b__c"), ("a__b", "c"), (None, "a__b__c")])
@example([(LONG, LONG + "1"), (LONG, LONG + "2"), (LONG + "1", LONG)])
@example([(None, "a."), (None, "a__"), (None, "a_"), (None, "a/")])
def test_R11_distinct_tools_have_distinct_legal_names_and_are_found_back(pairs):
    tools = offered(*(function(name) if where is None else space(where, function(name)) for where, name in pairs))
    flat = names(tools)
    assert len(set(flat)) == len(flat) == len(pairs)
    assert all(LEGAL.fullmatch(name) for name in flat)
    for (where, name), found in zip(pairs, flat, strict=True):
        assert tools.resolve(found) == Tool("function", name, where)
        assert tools.flat(name, where) == found


@given(st.lists(st.tuples(SPACES, NAMES), min_size=1, max_size=6, unique_by=same), st.randoms(use_true_random=False))
def test_R11_a_name_depends_on_no_other_tool_but_one_that_collides(pairs, random):
    alone = {pair: Tools(Notes()).flat(pair[1], pair[0]) for pair in pairs}
    random.shuffle(pairs)
    together = Tools(Notes())
    for where, name in pairs:
        found = together.flat(name, where)
        if list(alone.values()).count(alone[where, name]) == 1:
            assert found == alone[where, name]


def test_R11_what_had_to_be_changed_carries_a_hash_that_stays():
    tools = Tools(Notes())
    assert tools.flat("get.user") == "get_user_4d61b7e4"
    assert tools.flat("x" * 64) == "x" * 64
    assert tools.flat("x" * 65) == "x" * 55 + "_997ee4d9"
    assert tools.flat("c", "a__b") == "a__b__c"
    assert tools.flat("b__c", "a") == "a__b__c_01b8a75b"


def test_R11_names_that_were_made_to_collide():
    tools = Tools(Notes())
    literal = Tools(Notes()).flat("get.user")
    assert tools.flat(literal) == literal
    assert tools.flat("get.user") not in (literal, "")
    long = "y." * 40
    taken = Tools(Notes()).flat(long)
    tools.flat(taken)
    assert tools.flat(long) != taken
    assert len(tools.flat(long)) == 64


@pytest.mark.parametrize(("name", "tool"), [
    ("shop.buy", Tool("function", "buy", "shop")),
    ("buy", Tool("function", "buy", "shop")),
    ("other__buy", Tool("function", "buy", "shop")),
    ("twice", Tool("function", "twice")),
    ("a.twice", Tool("function", "twice", "a")),
    ("unknown", Tool("function", "unknown")),
    ("exec", Tool("custom", "exec", "functions")),
    ("functions.exec", Tool("custom", "exec", "functions")),
    ("", Tool("function", "")),
])  # fmt: skip
def test_names_as_models_write_them(name, tool):
    tools = offered(
        space("shop", function("buy")),
        space("a", function("twice")),
        space("b", function("twice")),
        space("functions", custom("exec")),
    )
    assert tools.resolve(name) == tool


# --- tool_choice


def choosing() -> Tools:
    return offered(
        function("f"),
        custom("c"),
        space("shop", function("buy")),
        space("mart", function("buy")),
        {"type": "tool_search"},
    )


def forced(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(("choice", "found"), [
    (None, None),
    ("auto", None),
    ("none", "none"),
    ("required", "required"),
    ({"type": "function", "name": "f"}, forced("f")),
    ({"type": "function", "function": {"name": "f"}}, forced("f")),
    ({"type": "custom", "name": "c"}, forced("c")),
    ({"type": "function", "name": "buy", "namespace": "mart"}, forced("mart__buy")),
    ({"type": "function", "name": "buy"}, forced("shop__buy")),
    ({"type": "tool_search"}, forced("tool_search")),
    ({"type": "web_search"}, None),
])  # fmt: skip
def test_R17_tool_choice_in_all_its_forms(choice, found):
    tools = choosing()
    assert tools.choice(choice) == found
    assert len(tools.chat) == 5


def test_R17_a_hosted_choice_is_noted():
    notes = Notes()
    Tools(notes).choice({"type": "file_search"})
    assert "tool_choice:file_search" in notes


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("mode", "found"), [("auto", None), ("required", "required"), (None, None)])
def test_R17_allowed_tools_narrow_the_list(mode, found, wrapped):
    tools = choosing()
    entries = [{"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "custom", "name": "c"}]
    spec = {"mode": mode, "tools": entries}
    choice = {"type": "allowed_tools", "allowed_tools": spec} if wrapped else {"type": "allowed_tools", **spec}
    assert tools.choice(choice) == found
    assert names(tools) == ["f", "c"]


def test_R17_no_tool_allowed():
    tools = choosing()
    assert tools.choice({"type": "allowed_tools", "mode": "required", "tools": []}) is None
    assert tools.chat == []


@pytest.mark.parametrize("choice", [
    "sometimes", 5, ["auto"], {}, {"type": 5}, {"type": "function"}, {"type": "function", "name": "g"}, {"type": "function", "name": {}},
    {"type": "function", "name": "buy", "namespace": "bazaar"}, {"type": "allowed_tools"}, {"type": "allowed_tools", "tools": {}},
    {"type": "allowed_tools", "tools": ["f"]}, {"type": "allowed_tools", "tools": [{"type": "function", "name": "g"}]},
])  # fmt: skip
def test_R17_a_choice_that_cannot_be_made_is_refused(choice):
    with pytest.raises(ApiError) as caught:
        choosing().choice(choice)
    assert (caught.value.status, caught.value.param.split(".")[0]) == (400, "tool_choice")


@given(json_values | st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "custom", "allowed_tools", "tool_search"]) | json_values},
    optional=dict.fromkeys(("name", "namespace", "function", "tools", "mode", "allowed_tools"), json_values),
))  # fmt: skip
def test_a_choice_of_any_json_is_made_or_refused(choice):
    try:
        choosing().choice(choice)
    except ApiError as error:
        assert (error.status, error.param.split(".")[0]) == (400, "tool_choice")
