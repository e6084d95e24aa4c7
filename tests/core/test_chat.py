from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import chunks
from support import call_delta, delta

from chatbridge.protocol.chat import CallPiece, Chunk, is_completion, read_chunk


def choice(**fields: object) -> dict[str, object]:
    return {"choices": [fields]}


def piece(**call: object) -> CallPiece:
    [found] = read_chunk(delta(tool_calls=[call])).calls
    return found


@pytest.mark.parametrize("value", [
    None, 5, "text", [], {}, {"choices": None}, {"choices": []}, {"choices": {}}, {"choices": [None, 5, []]},
    choice(), choice(delta=None), choice(index=0, content_filter_results={}), choice(delta=[]), choice(delta={"role": "assistant"}),
    choice(delta={"content": None, "refusal": None, "tool_calls": None, "reasoning_content": None}),
    choice(delta={"content": "", "refusal": "", "tool_calls": [], "reasoning": ""}),
    choice(delta={"content": 5, "refusal": [], "tool_calls": "x", "reasoning": [], "function_call": "f"}),
])  # fmt: skip
def test_S20_S21_S23_what_says_nothing_says_nothing(value):
    assert read_chunk(value) == Chunk()


def test_a_chunk_may_hold_everything_at_once():
    value = {
        "choices": [
            {
                "delta": {"content": "t", "reasoning": "r", "refusal": "f", "tool_calls": [{"id": "c", "function": {"name": "n"}}]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1},
        "error": {"message": "m"},
    }  # fmt: skip
    chunk = read_chunk(value)
    assert chunk.pieces == [("reasoning", "r"), ("text", "t"), ("refusal", "f")]
    assert [call.name for call in chunk.calls] == ["n"]
    assert (chunk.finish, chunk.usage, chunk.error) == ("stop", {"prompt_tokens": 1}, {"message": "m"})


@pytest.mark.parametrize(("fields", "text"), [
    ({"reasoning_content": "a"}, "a"),
    ({"reasoning": "a"}, "a"),
    ({"reasoning_text": "a"}, "a"),
    ({"reasoning_content": "", "reasoning": "a"}, "a"),
    ({"reasoning_content": None, "reasoning_text": "a"}, "a"),
])  # fmt: skip
def test_S30_reasoning_under_each_of_its_names(fields, text):
    assert read_chunk(delta(**fields)).pieces == [("reasoning", text)]


@pytest.mark.parametrize("value", [{"text": "a"}, {"content": "a"}, {"text": "", "content": "a"}])
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_S31_reasoning_as_an_object(name, value):
    assert read_chunk(delta(**{name: value})).pieces == [("reasoning", "a")]


@pytest.mark.parametrize("value", [{}, {"text": 5}, {"text": ["a"]}, {"other": "a"}])
def test_S31_an_object_without_text(value):
    assert read_chunk(delta(reasoning=value)).pieces == []


def test_S32_the_same_text_in_three_fields_counts_once():
    details = [{"type": "reasoning.text", "text": "a"}]
    chunk = read_chunk(delta(reasoning_content="a", reasoning="a", reasoning_details=details))
    assert chunk.pieces == [("reasoning", "a")]


def test_S33_reasoning_details_alone():
    details = [
        {"type": "reasoning.text", "text": "a", "signature": "s"},
        {"type": "reasoning.summary", "summary": "b"},
        {"type": "reasoning.encrypted", "data": "c"},
        {"type": "reasoning.text", "text": None},
        "junk",
        5,
    ]
    assert read_chunk(delta(reasoning_details=details)).pieces == [("reasoning", "abjunk")]
    assert read_chunk(delta(reasoning_details={"text": "a"})).pieces == [("reasoning", "a")]


@pytest.mark.parametrize(("part", "pieces"), [
    ("a", [("text", "a")]),
    ({"type": "text", "text": "a"}, [("text", "a")]),
    ({"type": "text", "text": ""}, []),
    ({"type": "thinking", "thinking": [{"type": "text", "text": "a"}, {"text": "b"}, 5]}, [("reasoning", "ab")]),
    ({"type": "thinking", "thinking": "a"}, [("reasoning", "a")]),
    ({"type": "thinking", "thinking": []}, []),
    ({"type": "reference", "reference_ids": [1]}, []),
    ({"type": "image_url", "image_url": "data:"}, []),
    (None, []),
    (5, []),
])  # fmt: skip
def test_S37_content_as_a_list(part, pieces):
    assert read_chunk(delta(content=[part])).pieces == pieces


def test_S37_the_parts_keep_their_order():
    content = [
        {"type": "thinking", "thinking": "a"},
        {"type": "text", "text": "b"},
        {"type": "thinking", "thinking": "c"},
    ]
    assert read_chunk(delta(content=content)).pieces == [("reasoning", "a"), ("text", "b"), ("reasoning", "c")]


def test_S39_refusals():
    assert read_chunk(delta(refusal="no")).pieces == [("refusal", "no")]


def test_S40_citations_break_nothing():
    value = {**delta(content="a", annotations=[{"type": "url_citation"}]), "citations": ["u"], "search_results": [{}]}
    assert read_chunk(value).pieces == [("text", "a")]


def test_S41_extra_content_breaks_nothing():
    value = delta(
        extra_content={"g": 1},
        tool_calls=[{"id": "c", "extra_content": {"g": {"sig": "x"}}, "function": {"name": "f"}}],
    )
    assert [call.id for call in read_chunk(value).calls] == ["c"]


def test_S42_a_message_counts_only_where_nothing_was_streamed():
    whole = choice(message={"content": "a"}, finish_reason="stop")
    assert read_chunk(whole).pieces == [("text", "a")]
    assert read_chunk(whole, streamed=True) == Chunk(finish="stop")
    assert read_chunk(choice(delta={}, message={"content": "a"})).pieces == [("text", "a")]
    assert read_chunk(choice(delta={"content": "b"}, message={"content": "ab"})).pieces == [("text", "b")]


@pytest.mark.parametrize(
    ("index", "key"), [(0, (0, 0)), (7, (0, 7)), ("1", (0, "1")), (None, None), (1.0, (0, 1)), ([], None)]
)
def test_S01_S03_an_index_is_a_key_or_missing(index, key):
    assert piece(index=index, id="c").index == key


def test_S01_no_index_at_all():
    assert piece(id="c").index is None


@pytest.mark.parametrize(
    ("value", "found"), [("c", "c"), ("", ""), (None, ""), (5, "5"), (True, ""), (1.5, ""), ({}, "")]
)
def test_S04_S06_ids(value, found):
    assert piece(id=value).id == found


@pytest.mark.parametrize(("value", "found"), [("f", "f"), (" f\n", "f"), ("", ""), (None, ""), (5, ""), (["f"], "")])
def test_S08_names(value, found):
    assert piece(function={"name": value}).name == found


@pytest.mark.parametrize(("value", "text", "whole"), [
    ('{"a":', '{"a":', False),
    ("", "", False),
    (None, "", False),
    ({"a": "č"}, '{"a":"č"}', True),
    ({}, "{}", True),
    ([1], "[1]", True),
])  # fmt: skip
def test_S11_S12_arguments_as_text_or_value(value, text, whole):
    found = piece(function={"name": "f", "arguments": value})
    assert (found.arguments, found.whole) == (text, whole)


@pytest.mark.parametrize("function", [None, "f", [], 5])
def test_a_call_without_a_function(function):
    assert piece(id="c", function=function) == CallPiece(None, "c", "", "")


def test_entries_that_are_no_calls_are_left_out():
    assert [call.id for call in read_chunk(delta(tool_calls=[None, 5, {"id": "c"}, []])).calls] == ["c"]


@pytest.mark.parametrize("value", ["stop", "length", "whatever"])
def test_S15_S16_S18_finish_reasons(value):
    assert read_chunk(delta(finish_reason=value)).finish == value


@pytest.mark.parametrize("value", [None, "", 5, [], {}])
def test_S16_S18_no_finish_reason(value):
    assert read_chunk(choice(delta={}, finish_reason=value)).finish == ""


def test_S22_all_choices_are_read_and_keep_their_calls_apart():
    call = {"index": 0, "function": {"name": "f"}}
    value = {
        "choices": [
            {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"},
            {"index": True, "delta": {"tool_calls": [call]}},
        ]
    }
    chunk = read_chunk(value)
    assert chunk.pieces == [("text", "a")]
    assert [call.index for call in chunk.calls] == [(1, 0), (0, 0)]
    assert chunk.finish == "tool_calls"


@pytest.mark.parametrize("fields", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_S24_the_function_call_of_old(fields):
    chunk = read_chunk(delta(function_call={"name": "f", "arguments": "{}"}, **fields))
    assert chunk.calls == [CallPiece((0, 0), "", "f", "{}")]


def test_S24_the_new_form_wins():
    call = {"index": 0, "function": {"name": "g"}}
    assert [c.name for c in read_chunk(delta(tool_calls=[call], function_call={"name": "f"})).calls] == ["g"]


COUNTS = {"prompt_tokens": 3}


@pytest.mark.parametrize("value", [
    {"usage": COUNTS},
    {"usage": COUNTS, "choices": []},
    {"usage": None, "x_groq": {"usage": COUNTS}},
    {"x_groq": {"id": "r", "usage": COUNTS}},
    {"choices": [{"usage": COUNTS, "delta": {}}]},
    {"usage": {}, "choices": [{"delta": {}}, {"usage": COUNTS}]},
    {"usage": COUNTS, "choices": [{"usage": {"prompt_tokens": 9}}]},
])  # fmt: skip
def test_U01_U04_usage_wherever_it_stands(value):
    assert read_chunk(value).usage == COUNTS


@pytest.mark.parametrize("usage", [None, {}, 5, "many", []])
def test_U07_no_usage(usage):
    assert read_chunk({"usage": usage, "x_groq": usage, "choices": [{"usage": usage}]}).usage is None


ERRORS = [
    {"error": {"message": "m"}},
    {"error": "m"},
    {"error": ["m"]},
    {"error": True},
    {"error": {"message": "m"}, "choices": [{"delta": {"content": "a"}}], "usage": COUNTS},
    {"type": "error", "message": "m"},
    {"object": "error", "message": "m"},
    {"base_resp": {"status_code": 1000, "status_msg": "m"}},
]


@pytest.mark.parametrize("value", ERRORS)
def test_S51_S52_errors_in_all_forms(value):
    assert read_chunk(value).error is not None
    assert not is_completion({"choices": [], **value})


@pytest.mark.parametrize("value", [
    {"error": None}, {"error": {}}, {"error": ""}, {"base_resp": {"status_code": 0}}, {"base_resp": "x"}, {"type": "chunk"},
])  # fmt: skip
def test_S52_what_is_no_error(value):
    assert read_chunk(value).error is None
    assert is_completion({"choices": [], **value})


@pytest.mark.parametrize(
    "value", [None, [], {}, {"choices": {}}, {"text": "a"}, {"data": {"choices": []}, "success": True}]
)
def test_S58_what_is_no_completion(value):
    assert not is_completion(value)


@given(chunks, st.booleans())
@example(
    {
        "choices": [
            {"usage": 5},
            {"index": [], "delta": {"tool_calls": [{"index": {}, "id": [], "function": {"arguments": 0}}]}},
        ]
    },
    False,
)
@example(call_delta({"a": [{}]}, index=True, id="x", name="y"), True)
def test_a_field_of_any_type_never_raises(value, streamed):
    chunk = read_chunk(value, streamed=streamed)
    assert all(text for _, text in chunk.pieces)
    assert chunk.usage is None or isinstance(chunk.usage, dict)
