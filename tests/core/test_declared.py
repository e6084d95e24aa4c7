"""Tools that were translated before: the same as those that were not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import plain_values

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps
from chatbridge.translate import tools as module
from chatbridge.translate.declared import Declarations, Declared
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile, profiles

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"], "encrypted": True}},
    "additionalProperties": False,
}
names = st.sampled_from(["a", "b", "a.b", "c" * 70])
schemas = st.none() | st.just(SCHEMA) | st.fixed_dictionaries(
    {"type": st.just("object")}, optional={"properties": st.dictionaries(st.text(max_size=3), plain_values, max_size=2), "minimum": st.sampled_from([1, 1.0, True])}
)  # fmt: skip
functions = st.fixed_dictionaries(
    {"type": st.just("function"), "name": names},
    optional={"description": st.none() | st.text(max_size=5), "parameters": schemas, "strict": st.sampled_from([None, True, False])},
)  # fmt: skip
customs = st.fixed_dictionaries({"type": st.just("custom"), "name": names}, optional={"description": st.text(max_size=5), "format": st.just({"type": "grammar", "syntax": "lark", "definition": "start: x"})})  # fmt: skip
searches = st.fixed_dictionaries({"type": st.just("tool_search")}, optional={"description": st.text(max_size=5), "parameters": schemas})  # fmt: skip
one = functions | customs | searches
entries = st.lists(one | st.builds(lambda name, inner: {"type": "namespace", "name": name, "tools": inner}, names, st.lists(one, max_size=2)), max_size=4)  # fmt: skip


def translated(entries, profile):
    notes = Notes()
    tools = Tools(notes, profile)
    try:
        tools.add(entries, "tools")
    except ApiError as error:
        return error.message
    told = [(tool, tools.resolve(tool["function"]["name"])) for tool in tools.chat]
    return dumps(tools.chat), dumps(tools.echo), told, list(notes), tools.characters()


@given(entries, st.sampled_from(sorted(profiles().values(), key=lambda profile: profile.name)))
def test_tools_that_are_known_are_translated_as_those_that_are_not(entries, profile):
    with pytest.MonkeyPatch.context() as patch:
        for memory in ("_known", "_lists"):
            patch.setattr(module, memory, Declarations(0))  # remembers nothing
        plain = translated(entries, profile)
    assert translated(entries, profile) == plain
    assert translated(entries, profile) == plain
    assert translated(entries, Profile()) == translated(entries, Profile())


def test_what_is_equal_but_written_otherwise_is_another_tool():
    for low in (1, 1.0, True):
        tools = Tools(Notes())
        tools.add([{"type": "function", "name": "t", "parameters": {"type": "object", "minimum": low}}], "tools")
        assert b'"minimum":%s' % dumps(low) in dumps(tools.chat)
    for order in (["b", "a"], ["a", "b"]):
        tools = Tools(Notes())
        properties = {name: {"type": "string"} for name in order}
        tools.add(
            [{"type": "function", "name": "t", "parameters": {"type": "object", "properties": properties}}], "tools"
        )
        assert list(tools.chat[0]["function"]["parameters"]["properties"]) == order


def test_a_tool_under_two_names_keeps_both_apart():
    entry = {"type": "function", "name": "t"}
    tools = Tools(Notes())
    tools.add([{"type": "namespace", "name": "n", "tools": [entry]}, entry], "tools")
    assert [tool["function"]["name"] for tool in tools.chat] == ["n__t", "t"]
    assert b'"name":"n__t"' in tools.chat[0].text


def test_the_memory_is_bounded():
    known = Declarations(50_000)
    for number in range(100):
        known.find({"name": f"t{number}", "text": "x" * 10}, (), lambda: Declared({}, None))
    assert 0 < len(known) < 30
    newest = {"name": "t99", "text": "x" * 10}
    found = known.find(newest, (), lambda: Declared({}, None))
    assert known.find(newest, (), lambda: Declared({}, None)) is found
    assert known.find(newest, ("other",), lambda: Declared({}, None)) is not found
    large = {"name": "x" * 1000}
    assert known.find(large, (), lambda: Declared({}, None)) is not known.find(large, (), lambda: Declared({}, None))


def test_what_is_remembered_of_short_tools_counts_too():
    known = Declarations(50_000)
    for number in range(1000):
        known.find([{"type": f"t{number}"}], (), lambda: Declared({}, None))
    assert 0 < len(known) < 40


def test_what_no_parser_makes_is_not_remembered():
    known = Declarations()
    known.find({"name": object()}, (), lambda: Declared({}, None))
    assert len(known) == 0
