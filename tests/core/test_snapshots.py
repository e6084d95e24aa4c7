from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts
from support import call_delta, calls_of, delta, reasoning_of, run, text_of

from chatbridge.translate.snapshots import Snapshots


def told(*pieces: str, channel: str = "text") -> list[str]:
    """What each piece gives, and what the end gives."""
    snapshots = Snapshots()
    given_ = ["".join(text for _, text in snapshots.feed([(channel, piece)])) for piece in pieces]
    return [*given_, "".join(text for _, text in snapshots.rest())]


@pytest.mark.parametrize(("pieces", "new"), [
    # all of it each time
    (["The", "The user", "The user asks", "The user asks."], ["The", "", " user asks", ".", ""]),
    (["The user wants a file", "The user wants a file, so"], ["The user wants a file", ", so", ""]),
    (["The", "The user", "The user asks", "The user asks"], ["The", "", " user asks", "", ""]),
    (["\n\n", "\n\nHello", "\n\nHello you"], ["\n\n", "", "Hello you", ""]),
    # it begins anew
    (["The", "The user", "The user asks", "So", "So it is"], ["The", "", " user asks", "So", " it is", ""]),
    # what is new only
    (["The", " user", " asks"], ["The", " user", " asks", ""]),
    (["ha", "haha", "!"], ["ha", "", "haha!", ""]),
    (["ha", "haha"], ["ha", "", "haha"]),
    (["no", "no", "no"], ["no", "no", "no", ""]),
    (["a", "ab", "abc"], ["a", "", "ababc", ""]),
    (["", "a", "ab", "x", "xy", "xyz"], ["", "a", "", "abx", "xy", "xyz", ""]),
    ([], [""]),
])  # fmt: skip
def test_S35_what_is_new_in_each_piece(pieces, new):
    assert told(*pieces) == new


@given(st.text("abcdefgh \n<>č🐎", max_size=60).flatmap(cuts))
def test_S35_pieces_that_are_new_are_passed_on(pieces):
    assert "".join(told(*pieces)) == "".join(pieces)


@given(st.text("abcdefgh \nč🐎", min_size=6, max_size=60), st.data())
def test_S35_snapshots_give_the_text_once(text, data):
    at = sorted(data.draw(st.sets(st.integers(5, len(text)), max_size=6)) | {len(text)})
    if len(at) > 2 or at[0] >= 16:
        assert "".join(told(*(text[:end] for end in at))) == text


def test_S35_channels_are_told_apart():
    chunks = [
        delta(reasoning_content="The"), delta(reasoning_content="The user"), delta(reasoning_content="The user asks."),
        delta(content="Yes"), delta(content="Yes, it"), delta(content="Yes, it is."), delta(finish_reason="stop"),
    ]  # fmt: skip
    turn, _ = run(chunks)
    assert (reasoning_of(turn), text_of(turn)) == ("The user asks.", "Yes, it is.")


def test_S35_think_tags_inside_snapshots():
    words = ["<think>Hm", "<think>Hm, so", "<think>Hm, so.</think>Yes", "<think>Hm, so.</think>Yes."]
    turn, _ = run([*[delta(content=word) for word in words], delta(finish_reason="stop")])
    assert (reasoning_of(turn), text_of(turn)) == ("Hm, so.", "Yes.")


def test_S35_what_is_held_back_is_told_before_what_comes_next():
    held = [delta(content="I"), delta(content="I I ")]
    turn, _ = run([*held, call_delta("{}", id="c", name="f"), delta(finish_reason="tool_calls")])
    assert text_of(turn) == "II I "
    assert [item["type"] for item in turn.response["output"]] == ["message", "function_call"]
    assert calls_of(turn) == [("f", "{}")]
    turn, _ = run([*held, delta(reasoning="Hm"), delta(finish_reason="stop")])
    assert [item["type"] for item in turn.response["output"]] == ["message", "reasoning"]
    turn, _ = run([*held, delta(finish_reason="stop")])
    assert text_of(turn) == "II I "
