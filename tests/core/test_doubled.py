from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support import delta, reasoning_of, run, text_of

from chatbridge.translate.doubled import Doubled


def told(*pieces: tuple[str, str]) -> str:
    doubled = Doubled()
    return "".join(doubled.tagged(text) if source == "tag" else doubled.field(text) for source, text in pieces)


def test_S35_a_field_first_makes_the_tags_a_repetition():
    assert told(("field", "ab"), ("tag", "ab"), ("field", "c"), ("tag", "c")) == "abc"


def test_S35_tags_first_make_the_field_a_repetition():
    assert told(("tag", "ab cd"), ("field", "ab cd")) == "ab cd"
    assert told(("tag", "\nab cd\n"), ("field", "ab"), ("field", " cd"), ("field", "\n")) == "\nab cd\n"
    assert told(("tag", "ab"), ("field", "ab"), ("tag", " cd"), ("field", " cd")) == "ab cd"


def test_S35_what_goes_beyond_the_tags_is_told():
    assert told(("tag", "ab\n"), ("field", "ab"), ("field", " cd"), ("tag", "x"), ("field", "!")) == "ab\n cd!"
    assert told(("tag", "ab"), ("field", "abc")) == "abc"


def test_S35_a_field_that_differs_is_told_whole():
    assert told(("tag", "ab"), ("field", "a"), ("field", "x")) == "abax"


def test_S35_either_alone_is_told_as_it_comes():
    assert told(("tag", "a"), ("tag", "b")) == "ab"
    assert told(("field", " a"), ("field", "b ")) == " ab "
    assert told(("tag", " "), ("field", " a")) == "  a"


@given(st.text("ab \n", max_size=12), st.data())
def test_S35_the_same_text_in_both_in_any_order_and_pieces_counts_once(text, data):
    text = f"x{text}y"
    pieces = []
    left = {"tag": text, "field": text}
    while any(left.values()):
        source = data.draw(st.sampled_from(sorted(name for name, rest in left.items() if rest)))
        size = data.draw(st.integers(1, len(left[source])))
        pieces.append((source, left[source][:size]))
        left[source] = left[source][size:]
    assert told(*pieces) == text


def test_S35_tagged_reasoning_before_the_same_in_its_field_counts_once():
    chunks = [delta(content="<think>ab cd</think>"), delta(reasoning_content="ab"), delta(reasoning_content=" cd")]
    turn, _ = run([*chunks, delta(content="x"), delta(finish_reason="stop")])
    assert (reasoning_of(turn), text_of(turn)) == ("ab cd", "x")


def test_S35_details_that_repeat_the_tags_count_once():
    details = [{"type": "reasoning.text", "text": "ab", "index": 0}]
    turn, _ = run([delta(content="<think>ab</think>x"), delta(reasoning_details=details), delta(finish_reason="stop")])
    assert (reasoning_of(turn), text_of(turn)) == ("ab", "x")
