from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import any_text, json_values
from support import check_messages

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps
from chatbridge.translate import compaction
from chatbridge.translate.history import SEE_NEXT, UNANSWERED, build_history
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile

ANYWHERE = Profile(system_placement="anywhere", developer_role="developer")
PNG = "data:image/png;base64,AAAA"

Item = dict[str, Any]


def message(role: str, *texts: Any) -> Item:
    return {
        "type": "message",
        "role": role,
        "content": [{"type": "input_text", "text": t} if isinstance(t, str) else t for t in texts],
    }


def image(**fields: Any) -> Item:
    return {"type": "input_image", "image_url": PNG, **fields}


def call(id_: str, name: str = "f", arguments: Any = "{}", **fields: Any) -> Item:
    return {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments, **fields}


def result(id_: str, output: Any = "done") -> Item:
    return {"type": "function_call_output", "call_id": id_, "output": output}


def build(
    *items: Any, profile: Profile | None = None, instructions: str | None = None, tools: list[Item] | None = None
) -> list[Item]:
    """Return the messages, after checking them as a strict server does."""
    chosen = profile or Profile()
    offered = Tools(Notes())
    offered.add(tools, "tools")
    messages = build_history(list(items), instructions, offered, chosen, Notes()).messages
    check_messages(messages, system_first=chosen.system_placement == "first")
    return messages


def noted(*items: Any) -> list[str]:
    notes = Notes()
    build_history(list(items), None, Tools(notes), Profile(), notes)
    return [kind for kind, _ in notes]


def refusal(item: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        build(message("user", "hi"), item)
    assert caught.value.status == 400
    return caught.value


def shape(messages: list[Item]) -> list[Any]:
    """Each message as role and text, calls as (id, name, arguments)."""
    out: list[Any] = []
    for found in messages:
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in found.get("tool_calls", ())]
        key = [found["tool_call_id"]] if "tool_call_id" in found else []
        out.append((found["role"], *key, found["content"], *calls))
    return out


# --- roles and order


def test_a_conversation_in_order():
    assert shape(build(message("user", "a"), message("assistant", "b"), message("user", "c"))) == [
        ("user", "a"), ("assistant", "b"), ("user", "c")
    ]  # fmt: skip


def test_R01_R02_leading_system_texts_are_one_message_and_later_ones_user_text():
    items = [message("developer", "b"), message("system", "c"), message("user", "hi"), message("developer", "late")]
    assert shape(build(*items, instructions="a")) == [
        ("system", "a\n\nb\n\nc"),
        ("user", "hi"),
        ("user", "<system>\nlate\n</system>"),
    ]


def test_R01_R02_a_server_that_takes_developer_messages_anywhere():
    items = [message("developer", "b"), message("user", "hi"), message("system", "c"), message("developer", "d")]
    assert shape(build(*items, instructions="a", profile=ANYWHERE)) == [
        ("developer", "a"), ("developer", "b"), ("user", "hi"), ("system", "c"), ("developer", "d"),
    ]  # fmt: skip


def test_instructions_alone():
    assert shape(build(instructions="a")) == [("system", "a")]


def test_the_type_of_a_message_may_be_left_out():
    assert shape(build({"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"})) == [
        ("user", "hi"),
        ("assistant", "a"),
    ]


def test_R20_text_alone_is_a_string_and_parts_keep_their_order():
    assert build(message("user", "a", "b"))[0]["content"] == "a\nb"
    assert build(message("user", "a", image(), "b"))[0]["content"] == [
        {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}, {"type": "text", "text": "b"},
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
@pytest.mark.parametrize("content", [None, "", [], [""], [{"type": "input_text", "text": ""}]])
def test_R20_a_message_that_says_nothing_is_left_out(role, content):
    assert build({"type": "message", "role": role, "content": content}) == []


def test_R20_consecutive_assistant_texts_are_one_message():
    assert shape(build(message("assistant", "a", "b"), message("assistant", "c"))) == [("assistant", "a\n\nb\n\nc")]


# --- calls and results


def test_R20_a_call_without_text_has_empty_content():
    assert build(call("1"), result("1"))[0]["content"] == ""


def test_R22_text_and_calls_are_one_message_and_the_results_follow():
    items = [
        message("user", "go"),
        message("assistant", "a"),
        call("1"),
        call("2", "g"),
        result("2", "two"),
        result("1", "one"),
    ]
    assert shape(build(*items)) == [
        ("user", "go"),
        ("assistant", "a", ("1", "f", "{}"), ("2", "g", "{}")),
        ("tool", "1", "one"),
        ("tool", "2", "two"),
    ]


def test_R22_one_turn_after_the_other():
    assert shape(build(call("1"), result("1", "one"), call("2"), result("2", "two"), message("assistant", "end"))) == [
        ("assistant", "", ("1", "f", "{}")),
        ("tool", "1", "one"),
        ("assistant", "", ("2", "f", "{}")),
        ("tool", "2", "two"),
        ("assistant", "end"),
    ]


def test_R22_a_result_moves_to_its_call():
    late = [call("1"), message("user", "and?"), result("1", "one")]
    assert shape(build(*late)) == [("assistant", "", ("1", "f", "{}")), ("tool", "1", "one"), ("user", "and?")]
    early = [result("1", "one"), message("user", "and?"), call("1")]
    assert shape(build(*early)) == [("user", "and?"), ("assistant", "", ("1", "f", "{}")), ("tool", "1", "one")]


def test_R22_a_text_between_calls_and_results_stays_in_the_turn():
    items = [call("1"), message("assistant", "b"), call("2"), result("1"), message("assistant", "c"), result("2")]
    assert shape(build(*items)) == [
        ("assistant", "b", ("1", "f", "{}"), ("2", "f", "{}")),
        ("tool", "1", "done"),
        ("tool", "2", "done"),
        ("assistant", "c"),
    ]


def test_R22_an_unanswered_call_gets_a_result_that_says_so():
    assert shape(build(call("1"), message("user", "and?")))[1] == ("tool", "1", UNANSWERED)


def test_R22_a_result_without_a_call_becomes_user_text():
    [(role, text)] = shape(build(result("9", "lost and found")))
    assert role == "user"
    assert "9" in text
    assert "lost and found" in text


def test_R22_ids_that_are_used_again_are_unique_on_both_sides():
    items = [
        call("1", arguments='{"n":1}'),
        call("1", arguments='{"n":2}'),
        result("1", "one"),
        result("1", "two"),
        call("1"),
        call("1_2"),
    ]
    history = build_history(items, None, Tools(Notes()), Profile(), Notes())
    check_messages(history.messages)
    assert shape(history.messages) == [
        ("assistant", "", ("1", "f", '{"n":1}'), ("1_2", "f", '{"n":2}')),
        ("tool", "1", "one"),
        ("tool", "1_2", "two"),
        ("assistant", "", ("1_3", "f", "{}"), ("1_2_2", "f", "{}")),
        ("tool", "1_3", UNANSWERED),
        ("tool", "1_2_2", UNANSWERED),
    ]
    assert [history.call_ids.unique(id_) for id_ in ("1", "1_2", "2")] == ["1_4", "1_2_3", "2"]


def test_R22_a_third_result_of_two_calls_is_not_lost():
    assert shape(build(call("1"), result("1", "one"), result("1", "again")))[2][0] == "user"


@pytest.mark.parametrize(("arguments", "sent"), [
    ('{"a": 1}', '{"a": 1}'),
    ('{"a":"č 🐎"}', '{"a":"č 🐎"}'),
    ("", "{}"),
    (None, "{}"),
    ({"a": 1}, '{"a":1}'),
    ('{"a":"line\nbreak"}', '{"a":"line\\nbreak"}'),
    ('{\n  "a": 1\n}', '{"a":1}'),
    ('{"a":"\\ud83d"}', '{"a":"\ufffd"}'),
    ('{"a":"\\ud83d\\ude00"}', '{"a":"😀"}'),
    ('{"a":"\ud83d\ude00"}', '{"a":"😀"}'),
    ('{"a":', '{"_raw":"{\\"a\\":"}'),
    ("not json", '{"_raw":"not json"}'),
    ("[1]", '{"_raw":"[1]"}'),
    ("null", "{}"),
    (" \n", "{}"),
    ('{"a":NaN}', '{"_raw":"{\\"a\\":NaN}"}'),
    ('{"a":1}{"b":2}', '{"_raw":"{\\"a\\":1}{\\"b\\":2}"}'),
    ([1], '{"_raw":"[1]"}'),
    (5, '{"_raw":"5"}'),
    (False, '{"_raw":"false"}'),
])  # fmt: skip
def test_R23_arguments_are_always_a_json_object(arguments, sent):
    assert build(call("1", arguments=arguments))[0]["tool_calls"][0]["function"]["arguments"] == sent


def test_R23_arguments_that_nest_too_deep():
    text = '{"a":' * 3000 + "1" + "}" * 3000
    assert json.loads(build(call("1", arguments=text))[0]["tool_calls"][0]["function"]["arguments"]) == {"_raw": text}


def test_R11_R33_calls_have_the_names_under_which_the_tools_are_offered():
    tools = [{"type": "namespace", "name": "mcp__shop", "tools": [{"type": "function", "name": "buy"}]}]
    items = [
        call("1", "buy", namespace="mcp__shop"),
        call("2", "look.up", namespace=5),
        call("3", "x", namespace="gone"),
    ]
    names = [c["function"]["name"] for c in build(*items, tools=tools)[0]["tool_calls"]]
    assert names == ["mcp__shop__buy", "look_up_" + names[1][-8:], "gone__x"]


@pytest.mark.parametrize(("text", "arguments"), [
    ('say "hi"\n', '{"input":"say \\"hi\\"\\n"}'), ("", '{"input":""}'), (None, '{"input":""}'), ({"a": 1}, '{"input":"{\\"a\\":1}"}'),
])  # fmt: skip
def test_R33_a_custom_call_is_one_string(text, arguments):
    items = [
        {"type": "custom_tool_call", "call_id": "1", "name": "exec", "namespace": "functions", "input": text},
        {"type": "custom_tool_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "ran"}]},
    ]
    assert shape(build(*items)) == [("assistant", "", ("1", "exec", arguments)), ("tool", "1", "ran")]


def test_codex_tool_search_and_what_it_found():
    found = [
        {
            "type": "namespace",
            "name": "mcp__shop",
            "tools": [{"type": "function", "name": "buy", "description": "Buys."}, {"type": "x"}],
        },
        {"type": "function", "name": "plain"},
        {"type": "web_search"},
    ]
    items = [
        {"type": "tool_search_call", "call_id": "1", "execution": "client", "arguments": {"query": "buy", "limit": 3}},
        {"type": "tool_search_output", "call_id": "1", "execution": "client", "tools": found},
    ]
    names = [{"name": "mcp__shop__buy", "description": "Buys."}, {"name": "plain", "description": ""}]
    assert shape(build(*items, tools=found)) == [
        ("assistant", "", ("1", "tool_search", '{"query":"buy","limit":3}')),
        ("tool", "1", json.dumps({"tools": names}, separators=(",", ":"))),
    ]


def test_a_tool_search_of_another_server_is_left_out_with_a_note():
    items = [
        {"type": "tool_search_call", "call_id": None, "arguments": {}},
        {"type": "tool_search_output", "call_id": None, "tools": []},
    ]
    assert build(*items) == []
    assert noted(*items) == ["item:hosted tool_search_call"]


def test_local_shell_calls_pair_by_call_id_or_id():
    items = [
        {"type": "local_shell_call", "id": "x", "call_id": "1", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "local_shell_call", "id": "2", "action": {"type": "exec", "command": ["pwd"]}},
        {"type": "local_shell_call_output", "id": "y", "call_id": "1", "output": "one"},
        {"type": "local_shell_call_output", "id": "2", "output": "two"},
    ]
    assert [found[:3] for found in shape(build(*items))] == [
        ("assistant", "", ("1", "local_shell", '{"type":"exec","command":["ls"]}')), ("tool", "1", "one"), ("tool", "2", "two"),
    ]  # fmt: skip


@pytest.mark.parametrize(("fields", "text"), [
    ({"output": "ok"}, "ok"), ({"error": {"code": 1}}, '{"code":1}'), ({"output": None}, ""), ({"output": ["a"]}, '["a"]'),
])  # fmt: skip
def test_a_call_that_another_server_made_is_a_call_with_its_result(fields, text):
    item = {"type": "mcp_call", "id": "1", "name": "buy", "server_label": "shop", "arguments": '{"n":1}', **fields}
    assert shape(build(item)) == [("assistant", "", ("1", "mcp__shop__buy", '{"n":1}')), ("tool", "1", text)]


def test_calls_of_other_servers_without_ids_are_told_apart():
    item = {"type": "mcp_call", "name": "buy", "output": "ok"}
    ids = [c["id"] for found in build(item, item) for c in found.get("tool_calls", ())]
    assert ids == ["mcp_0", "mcp_1"]


@pytest.mark.parametrize(("output", "text"), [
    ("text", "text"), ("", ""), (None, ""), ([], ""), ({"a": 1}, '{"a":1}'), (5, "5"), (True, "true"),
    ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}, "c"], "a\nb\nc"),
])  # fmt: skip
def test_R20_a_result_is_always_text(output, text):
    assert build(call("1"), result("1", output))[1]["content"] == text


# --- images, files, other parts


def test_R21_images_of_results_follow_behind_the_whole_run():
    shot = [{"type": "input_text", "text": "here"}, image(detail="high")]
    messages = build(call("1"), call("2", "g"), result("1", shot), result("2", [image()]), message("user", "so?"))
    assert [found["role"] for found in messages] == ["assistant", "tool", "tool", "user", "user"]
    assert messages[1]["content"] == f"here\n{SEE_NEXT}"
    assert messages[2]["content"] == SEE_NEXT
    assert messages[3]["content"] == [
        {"type": "text", "text": "From the result of call 1 (f):"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"type": "text", "text": "From the result of call 2 (g):"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ]


def test_R21_an_image_of_a_result_without_a_call():
    [found] = build(result("9", [image()]))
    assert [part["type"] for part in found["content"]] == ["text", "image_url"]


@pytest.mark.parametrize("profile", [Profile(), ANYWHERE])
@pytest.mark.parametrize("role", ["assistant", "developer", "system"])
def test_R21_images_in_messages_that_take_text_only_move_to_a_user_message(role, profile):
    messages = build(message("user", "hi"), message(role, "a", image()), message(role, image()), profile=profile)
    assert [part for found in messages for part in found["content"] if isinstance(part, dict)] == [
        {"type": "image_url", "image_url": {"url": PNG}}
    ] * 2
    assert {found["role"] for found in messages if not isinstance(found["content"], str)} == {"user"}


@pytest.mark.parametrize(("detail", "sent"), [
    ("low", {"detail": "low"}), ("high", {"detail": "high"}), ("auto", {"detail": "auto"}), ("original", {"detail": "high"}), (None, {}),
])  # fmt: skip
@pytest.mark.parametrize("form", ["input_image", "image_url"])
def test_image_details(form, detail, sent):
    part = (
        image(detail=detail) if form == "input_image" else {"type": form, "image_url": {"url": PNG, "detail": detail}}
    )
    assert build(message("user", part))[0]["content"] == [{"type": "image_url", "image_url": {"url": PNG, **sent}}]


@pytest.mark.parametrize(("part", "sent"), [
    ({"type": "input_text", "text": "a"}, "a"),
    ({"type": "output_text", "text": "a", "annotations": []}, "a"),
    ({"type": "text", "text": "a"}, "a"),
    ({"type": "summary_text", "text": "a"}, "a"),
    ({"type": "reasoning_text", "text": "a"}, "a"),
    ({"type": "refusal", "refusal": "a"}, "a"),
    ({"type": "encrypted_content", "encrypted_content": "a"}, "a"),
    ("a", "a"),
    ({"type": "image_url", "image_url": PNG}, [{"type": "image_url", "image_url": {"url": PNG}}]),
    ({"type": "input_file", "file_data": "data:x"}, [{"type": "file", "file": {"filename": "file", "file_data": "data:x"}}]),
    ({"type": "input_file", "filename": "a.pdf", "file_data": "d"}, [{"type": "file", "file": {"filename": "a.pdf", "file_data": "d"}}]),
    ({"type": "file", "file": {"filename": "a", "file_data": "d"}}, [{"type": "file", "file": {"filename": "a", "file_data": "d"}}]),
    ({"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}, [{"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}]),
])  # fmt: skip
def test_content_parts(part, sent):
    assert (
        build(message("user", part) if isinstance(part, dict) else {"role": "user", "content": [part]})[0]["content"]
        == sent
    )


def test_an_unknown_part_is_replaced_by_a_remark_and_noted():
    item = message("user", {"type": "computer_screenshot"}, "a")
    assert build(item)[0]["content"] == "[content of type computer_screenshot left out]\na"
    assert noted(item) == ["part:computer_screenshot"]


# --- items of Codex


def test_a_message_between_agents_is_user_text_with_the_task_in_it():
    item = {
        "type": "agent_message",
        "author": "/root",
        "recipient": "/root/scout",
        "content": [
            {"type": "input_text", "text": "Payload:\n"},
            {"type": "encrypted_content", "encrypted_content": "count the files"},
        ],
    }
    assert shape(build(item)) == [("user", "Payload:\n\ncount the files")]
    assert build({"type": "agent_message", "content": []}) == []


def test_reasoning_and_tool_lists_leave_no_message():
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": None}
    items = [{"type": "additional_tools", "role": "developer", "tools": []}, reasoning, message("user", "hi")]
    assert shape(build(*items)) == [("user", "hi")]
    assert noted(*items) == []


def test_reasoning_does_not_part_a_turn():
    assert len(build(message("assistant", "a"), {"type": "reasoning", "summary": []}, call("1"), result("1"))) == 2


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary"])
def test_a_summary_comes_back_as_user_text(kind):
    item = {"type": kind, "encrypted_content": compaction.seal("they like tea")}
    [(role, text)] = shape(build(item))
    assert (role, text.endswith("they like tea")) == ("user", True)
    assert noted(item) == []
    assert noted({"type": kind, "encrypted_content": "gAAAA"}) == ["item:foreign compaction"]


@pytest.mark.parametrize(
    "kind", ["web_search_call", "image_generation_call", "mcp_list_tools", "compaction_trigger", "news"]
)
def test_other_items_are_left_out_and_noted_once(kind):
    assert shape(build({"type": kind, "x": 1}, message("user", "hi"))) == [("user", "hi")]
    assert noted({"type": kind}, {"type": kind}) == [f"item:{kind}"]


# --- what cannot be read


@pytest.mark.parametrize(("item", "param"), [
    (None, ""), ("text", ""), (5, ""), ([], ""),
    ({}, ".type"), ({"type": None, "role": "user"}, ".type"), ({"type": 5}, ".type"), ({"type": ["message"]}, ".type"),
    ({"type": "message"}, ".role"), (message("tool", "a"), ".role"), ({"role": ["user"]}, ".role"), ({"role": None, "content": "a"}, ".role"),
    ({"role": "user", "content": 5}, ".content"), ({"role": "user", "content": {}}, ".content"),
    ({"role": "user", "content": ["a", 5]}, ".content[1]"), ({"role": "user", "content": [None]}, ".content[0]"),
    (message("user", {"type": "input_text"}), ".content[0].text"), (message("user", {"type": "refusal", "refusal": 5}), ".content[0].refusal"),
    (message("user", {"type": "encrypted_content"}), ".content[0].encrypted_content"),
    (message("user", {"type": "input_image"}), ".content[0].image_url"), (message("user", {"type": "input_image", "file_id": "f"}), ".content[0].file_id"),
    (message("user", {"type": "input_image", "image_url": ""}), ".content[0].image_url"),
    (message("user", {"type": "image_url"}), ".content[0].image_url"), (message("user", {"type": "image_url", "image_url": {}}), ".content[0].image_url"),
    (message("user", {"type": "input_file", "file_id": "f"}), ".content[0].file_id"), (message("user", {"type": "file", "file": {}}), ".content[0].file_data"),
    (message("user", {"type": "input_audio"}), ".content[0].input_audio"), (message("user", {"type": "input_audio", "input_audio": "x"}), ".content[0].input_audio"),
    ({"type": "agent_message", "content": 5}, ".content"),
    (call("1", ""), ".name"), (call("1", 5), ".name"), (call(""), ".call_id"), (call(None), ".call_id"), (call(5), ".call_id"),  # type: ignore[arg-type]
    (result(""), ".call_id"), (result({}), ".call_id"), (result("1", [5]), ".output[0]"),  # type: ignore[arg-type]
    ({"type": "custom_tool_call", "call_id": "1"}, ".name"), ({"type": "custom_tool_call", "name": "x"}, ".call_id"),
    ({"type": "tool_search_call", "call_id": 5}, ".call_id"), ({"type": "tool_search_output", "call_id": 5}, ".call_id"),
    ({"type": "local_shell_call", "action": {}}, ".call_id"), ({"type": "mcp_call", "name": None}, ".name"),
])  # fmt: skip
def test_a_malformed_item_is_refused_with_its_path(item, param):
    assert refusal(item).param == f"input[1]{param}"


KINDS = [
    "message", "agent_message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
    "tool_search_call", "tool_search_output", "local_shell_call", "local_shell_call_output", "mcp_call", "compaction", "reasoning", "x",
]  # fmt: skip
KEYS = [
    "role", "content", "call_id", "id", "name", "namespace", "arguments", "input", "output", "tools", "action", "error", "server_label",
    "encrypted_content", "summary",
]  # fmt: skip
PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["input_text", "refusal", "input_image", "image_url", "input_file", "input_audio", "x"])
        | json_values
    },
    optional=dict.fromkeys(
        ("text", "refusal", "image_url", "detail", "file_data", "file", "filename", "input_audio"), json_values
    ),
)
STRANGE = json_values | st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        key: json_values | st.lists(PARTS | json_values, max_size=2) | st.sampled_from(["user", "c1"]) for key in KEYS
    },
)


@given(st.lists(STRANGE, max_size=3))
@example([{"type": "compaction", "encrypted_content": "chatbridge.compaction.1:é"}])
@example([{"type": "mcp_call", "name": "x", "id": {}, "server_label": []}])
def test_items_of_any_json_are_read_or_refused_with_their_path(items):
    try:
        build(*items)
    except ApiError as error:
        assert error.status == 400
        assert error.param.startswith("input[")


# --- nothing lost, whatever the order

numbers = itertools.count()
texts = st.text(max_size=5).map(lambda text: f"⟦{next(numbers)}⟧{text}")
ids = st.sampled_from(["a", "b", "a_2", "call:1", "č", "x" * 80])
parts = texts.map(lambda text: {"type": "input_text", "text": text}) | st.builds(image)
contents = texts | st.lists(parts, max_size=3)
broken = texts.map(lambda text: '{"cmd": "' + text)
arguments = st.dictionaries(st.just("cmd"), texts).map(lambda value: json.dumps(value)) | broken | texts | st.just("")
ITEMS = st.one_of(
    st.builds(lambda role, content: {"type": "message", "role": role, "content": content}, st.sampled_from(["user", "assistant", "system", "developer"]), contents),
    st.builds(call, ids, st.sampled_from(["f", "g.h"]), arguments, namespace=st.sampled_from([None, "mcp__shop", "functions"])),
    st.builds(lambda id_, text: {"type": "custom_tool_call", "call_id": id_, "name": "exec", "input": text}, ids, texts),
    st.builds(result, ids, contents),
    st.builds(lambda id_, text: {"type": "tool_search_call", "call_id": id_, "execution": "client", "arguments": {"query": text}}, ids, texts),
    st.builds(lambda id_: {"type": "tool_search_output", "call_id": id_, "tools": []}, ids),
    st.builds(lambda id_, text: {"type": "local_shell_call", "id": id_, "action": {"command": text}}, ids, texts),
    st.builds(lambda id_, one, two: {"type": "mcp_call", "id": id_, "name": "m", "arguments": one, "output": two}, ids, arguments, texts),
    st.builds(lambda content: {"type": "agent_message", "content": content}, contents),
    st.builds(lambda text: {"type": "compaction", "encrypted_content": compaction.seal(text)}, texts),
    st.just({"type": "reasoning", "summary": []}),
)  # fmt: skip


def strings(value: Any) -> Iterator[str]:
    """All text in *value*, also inside arguments."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(json.loads(inner) if key == "arguments" else inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def sent_texts(item: Item) -> Iterator[str]:
    if item["type"] == "compaction":
        yield compaction.unseal(item["encrypted_content"]) or ""
    for key in ("content", "output", "input", "action"):
        yield from (text for text in strings(item.get(key, [])) if "⟦" in text)
    given_ = item.get("arguments", "")
    try:
        yield from strings(json.loads(given_) if isinstance(given_, str) else given_)
    except ValueError:
        yield given_


@given(st.lists(ITEMS, max_size=9), st.sampled_from([Profile(), ANYWHERE]))
def test_R22_any_history_is_one_that_a_strict_server_takes_and_holds_every_text(items, profile):
    messages = build(*items, profile=profile)
    everything = "\0".join(strings(messages))
    for item in items:
        for text in sent_texts(item):
            assert text in everything
    images = sum(
        part["type"] == "input_image"
        for item in items
        for key in ("content", "output")
        for part in item.get(key, ())
        if isinstance(part, dict)
    )
    assert images == sum(
        part.get("type") == "image_url" for found in messages for part in found["content"] if isinstance(part, dict)
    )


NEXT = st.one_of(
    st.builds(message, st.sampled_from(["user", "assistant", "developer"]), texts),
    st.builds(call, st.just("new"), st.just("f"), arguments),
)


@given(st.lists(ITEMS, max_size=6), NEXT)
def test_a_history_that_grows_keeps_the_messages_of_turns_that_are_over(items, last):
    """Upstream prompt caches live from this."""
    over = [*items, message("user", "next")]
    before = build(*over, profile=ANYWHERE)
    assert build(*over, last, profile=ANYWHERE)[: len(before)] == before


@given(any_text)
def test_S57_half_characters_anywhere_can_be_sent(text):
    items = [
        message("user", text + "."),
        call("1", "f", json.dumps({"a": text})),
        result("1", text),
        {"type": "custom_tool_call", "call_id": text + "c", "name": text + "n", "input": text},
    ]
    dumps(build(*items))


def test_long_histories():
    # With work that grows by the square this would take minutes.
    calls = [call(str(n % 7)) for n in range(20_000)]
    results = [result(str(n % 7), str(n)) for n in range(20_000)]
    messages = build(*calls, *results)
    assert len(messages) == 20_001
    assert messages[-1]["content"] == "19999"
