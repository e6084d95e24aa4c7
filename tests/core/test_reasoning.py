"""Reasoning details merged, and reasoning in each vendor's own form."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts, json_values

from chatbridge.translate.envelope import Envelope
from chatbridge.translate.reasoning import Kept, merge_details, replay, sign_calls, signature
from chatbridge.vendors.profile import Profile

Detail = dict[str, Any]


def text(words: str, **fields: Any) -> Detail:
    return {"type": "reasoning.text", "text": words, "index": 0, **fields}


def data(words: str, **fields: Any) -> Detail:
    return {"type": "reasoning.encrypted", "data": words, "index": 0, **fields}


MERGES: dict[str, tuple[list[Detail], list[Detail]]] = {
    "OpenRouter, Claude: the signature last": (
        [text("", signature="", format="c"), text("This", format="c"), text(" is.", format="c"), {"type": "reasoning.text", "signature": "S", "index": 0}],
        [text("This is.", signature="S", format="c")],
    ),
    "a signature is not taken back by an empty one": (
        [text("a", signature="S"), text("", signature="")],
        [text("a", signature="S")],
    ),
    "OpenRouter, OpenAI: summary and data, both at 0": (
        [{"type": "reasoning.summary", "summary": "**A", "index": 0}, {"type": "reasoning.summary", "summary": "**", "index": 0}, data("x", id="rs_1")],
        [{"type": "reasoning.summary", "summary": "**A**", "index": 0}, data("x", id="rs_1")],
    ),
    "Snowflake: details only, with ids": (
        [text("15", id="reasoning-text-1", format="c"), text(" * 27 = 405", id="reasoning-text-1", format="c")],
        [text("15 * 27 = 405", id="reasoning-text-1", format="c")],
    ),
    "MiniMax: all of it each time": (
        [text("The", id="t"), text("The user", id="t"), text("The user asks", id="t"), text("The user asks.", id="t")],
        [text("The user asks.", id="t")],
    ),
    "all of it each time, in two pieces": (
        [text("The user wants a file"), text("The user wants a file, so I look.")], [text("The user wants a file, so I look.")],
    ),
    "a small word twice is no snapshot": ([text("ha"), text("haha")], [text("hahaha")]),
    "the same word three times": ([text("no"), text("no"), text("no")], [text("nonono")]),
    "two blocks, each signed, under one index": (
        [text("a"), text("", signature="S"), text("b"), text("", signature="T")], [text("a", signature="S"), text("b", signature="T")],
    ),
    "two blocks under two indices, mixed": (
        [text("a"), text("x", index=1), text("b"), text("y", index=1)], [text("ab"), text("xy", index=1)],
    ),
    "two items of one type told apart by ids": (
        [{"type": "reasoning.summary", "summary": "A", "index": 0, "id": "rs_1"}, {"type": "reasoning.summary", "summary": "B", "index": 0, "id": "rs_2"}],
        [{"type": "reasoning.summary", "summary": "A", "index": 0, "id": "rs_1"}, {"type": "reasoning.summary", "summary": "B", "index": 0, "id": "rs_2"}],
    ),
    "an id that comes late": ([text("a", id=None), text("b", id="t")], [text("ab", id="t")]),
    "data is never joined": ([data("x"), data("y")], [data("x"), data("y")]),
    "data said twice is one": ([data("x"), data("x")], [data("x")]),
    "without an index, only the last goes on": (
        [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}, {"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.text", "text": "c"}],
        [{"type": "reasoning.text", "text": "ab"}, {"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.text", "text": "c"}],
    ),
    "redacted blocks of Anthropic": (
        [text("a", signature="S"), {"type": "reasoning.encrypted", "data": "x", "index": 1}, text("b", index=2)],
        [text("a", signature="S"), {"type": "reasoning.encrypted", "data": "x", "index": 1}, text("b", index=2)],
    ),
    "null and then a value": ([text("a", format=None), text("b", format="c")], [text("ab", format="c")]),
    "keys nobody knows": ([text("a", x={"y": [1]}), text("b", x={"y": [2]})], [text("ab", x={"y": [1]})]),
    "nothing": ([], []),
}  # fmt: skip


@pytest.mark.parametrize("name", MERGES)
def test_S33_pieces_are_joined_in_order(name):
    pieces, whole = MERGES[name]
    before = [dict(piece) for piece in pieces]
    assert merge_details(pieces) == whole
    assert pieces == before
    assert merge_details(merge_details(pieces)) == whole


WORDS = st.text("abc .č🐎\n", min_size=1, max_size=60)
BLOCKS = st.lists(st.tuples(WORDS, st.booleans(), WORDS), max_size=4)


@given(BLOCKS, st.data())
def test_S33_details_in_any_pieces_are_what_they_were(blocks, draw):
    whole, pieces = [], []
    for index, (words, secret, sign) in enumerate(blocks):
        if secret:
            whole.append(data(words, index=index))
            pieces.append(whole[-1])
            continue
        whole.append(text(words, index=index, signature=sign))
        parts = [part for part in draw.draw(cuts(words)) if part]
        if any(later.startswith(earlier) for earlier, later in pairwise(parts)):
            parts = [words]  # as a vendor that sends all of it each time would
        pieces += [text(part, index=index) for part in parts]
        pieces.append({"type": "reasoning.text", "index": index, "signature": sign})
    assert merge_details(pieces) == whole


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "index", "id", "text", "summary", "data", "signature", "x"]),
            json_values,
            max_size=6,
        ),
        max_size=6,
    )
)
def test_S33_details_of_any_json_are_merged_without_an_error(pieces):
    merged = merge_details(pieces)
    assert len(merged) <= len(pieces)
    assert all(isinstance(detail, dict) for detail in merged)


def test_S33_long_reasoning_is_merged_in_no_time():
    # With work that grows by the square this would take minutes.
    [whole] = merge_details([text(f"{number} ") for number in range(100_000)])
    assert whole["text"].endswith("99999 ")


@pytest.mark.parametrize(("extra", "found"), [
    ({"google": {"thought_signature": "S"}}, "S"), ({"google": {"thought": True}}, ""), ({"google": 5}, ""), ({"google": {"thought_signature": 5}}, ""),
    (None, ""), ("S", ""), ({}, ""),
])  # fmt: skip
def test_S41_the_signature_in_extra_content(extra, found):
    assert signature(extra) == found


# --- back to the vendor


def messages() -> list[dict[str, Any]]:
    """Two turns: an answer with a call and its result, and one being in the middle of a loop."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "", "tool_calls": [dict(call)]},
        {"role": "tool", "tool_call_id": "c", "content": "out"},
        {"role": "assistant", "content": "said"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "", "tool_calls": [dict(call)]},
        {"role": "tool", "tool_call_id": "c", "content": "out"},
        {"role": "assistant", "content": "now"},
    ]


def replayed(profile: Profile, *, thought: bool = True, **fields: Any) -> list[dict[str, Any]]:
    """What is new on the assistant messages at 1, 3, 5 and 7."""
    found, before = messages(), messages()
    kept = {
        id(message): Kept([f"t{at}"], [Envelope("generic", "m", str(at), **fields)]) for at, message in enumerate(found)
    }
    replay(found, kept if thought else {}, profile, "m", loop=4)
    assert [found[at] for at in (0, 2, 4, 6)] == [before[at] for at in (0, 2, 4, 6)]
    return [{key: value for key, value in found[at].items() if before[at].get(key) != value} for at in (1, 3, 5, 7)]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_text"])
@pytest.mark.parametrize(("where", "on"), [("all", [1, 3, 5, 7]), ("calls", [1, 5]), ("loop", [5, 7])])
def test_R06_R07_a_field_on_the_messages_that_want_it(field, where, on):
    profile = Profile(replay=field, replay_on=where)
    assert replayed(profile) == [{field: f"t{at}"} if at in on else {} for at in (1, 3, 5, 7)]
    assert replayed(profile, thought=False) == [{}] * 4


@pytest.mark.parametrize("placeholder", ["", " ", "."])
def test_R06_reasoning_that_is_lost_has_a_placeholder(placeholder):
    profile = Profile(replay="reasoning_content", replay_on="all", replay_placeholder=placeholder)
    assert replayed(profile, thought=False) == [{"reasoning_content": placeholder}] * 4


def test_R07_a_vendor_that_refuses_it_gets_none():
    assert replayed(Profile(replay="none")) == [{}] * 4


def test_R07_content_parts_and_think_tags():
    parts = replayed(Profile(replay="content_parts", replay_on="all", replay_placeholder="x"))
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "t1"}], "closed": True}
    assert parts[0] == {"content": [thinking]}
    assert parts[1]["content"][1:] == [{"type": "text", "text": "said"}]
    tags = replayed(Profile(replay="think_tags", replay_on="all"))
    assert [found["content"] for found in tags[:2]] == ["<think>\nt1\n</think>\n\n", "<think>\nt3\n</think>\n\nsaid"]
    for form in ("content_parts", "think_tags"):
        assert replayed(Profile(replay=form, replay_on="all"), thought=False) == [{}] * 4


def test_R09_details_go_back_to_the_vendor_and_model_that_made_them():
    whole = [text("a", signature="S")]
    profile = Profile(replay="reasoning_details", replay_on="all")
    assert replayed(profile, details=whole) == [{"reasoning_details": whole}] * 4
    assert replayed(Profile(replay="reasoning_details", replay_on="all", name="other"), details=whole)[0] == {
        "reasoning": "t1"
    }
    assert replayed(profile)[0] == {"reasoning": "t1"}
    assert replayed(profile, thought=False)[0] == {}


def test_R09_what_came_late_joins_its_own_answer_only():
    first = [
        Envelope("v", "m", "1", details=[text("a")]),
        Envelope("v", "m", "1", details=[{"type": "reasoning.text", "index": 0, "signature": "S"}]),
    ]
    second = Envelope("v", "m", "2", details=[text("b", signature="T")])
    kept = Kept(
        envelopes=[
            first[0],
            second,
            first[1],
            Envelope("v", "other", "3", details=[text("c")]),
            Envelope("v", "m", "4", details=["x", 5]),
        ]
    )
    assert kept.details("v", "m") == [text("a", signature="S"), text("b", signature="T")]


# --- signatures


def signed(
    profile: Profile, extras: dict[str, Any], envelopes: list[Envelope] | None = None, *, calls: int = 2
) -> list[Any]:
    made = [{"id": f"c{number}", "function": {"name": "f", "arguments": "{}"}} for number in range(calls)]
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": made}
    kept = {id(message): Kept(envelopes=envelopes or [])}
    sign_calls([{"role": "user", "content": "x"}, message], extras, kept, profile, "m")
    return [call.get("extra_content") for call in made]


def google(word: str) -> dict[str, Any]:
    return {"google": {"thought_signature": word}}


GEMINI = Profile(name="gemini", signature_placeholder="skip")
WHOLE = [Envelope("gemini", "m", "1", extra={"google": {"thought": True, "thought_signature": "M"}})]


@pytest.mark.parametrize(("profile", "extras", "envelopes", "found"), [
    (GEMINI, {"c0": google("S")}, [], [google("S"), None]),
    (GEMINI, {"c0": google("S"), "c1": google("T")}, WHOLE, [google("S"), google("T")]),
    (GEMINI, {"c1": google("T")}, [], [google("skip"), google("T")]),
    (GEMINI, {}, WHOLE, [google("M"), None]),
    (GEMINI, {}, [], [google("skip"), None]),
    (GEMINI, {}, [Envelope("gemini", "other", "1", extra=google("M"))], [google("skip"), None]),
    (Profile(), {"c0": {"x": 1}}, [], [{"x": 1}, None]),
    (Profile(), {}, WHOLE, [None, None]),
    (Profile(), {}, [], [None, None]),
])  # fmt: skip
def test_R08_S41_signatures_stand_on_the_calls_that_they_came_with(profile, extras, envelopes, found):
    assert signed(profile, extras, envelopes) == found
