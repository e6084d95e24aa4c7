from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cuts

from chatbridge.translate.think import ThinkTags


def split(*pieces: str) -> tuple[str, str]:
    """Feed the pieces; return all reasoning and all text."""
    tags = ThinkTags()
    out = [found for piece in pieces for found in tags.feed(piece)] + tags.flush()
    reasoning, text = ("".join(text for channel, text in out if channel == wanted) for wanted in ("reasoning", "text"))
    return reasoning, text


@pytest.mark.parametrize(("content", "reasoning", "text"), [
    ("<think>a</think>b", "a", "b"),
    ("<thinking>a</thinking>b", "a", "b"),
    ("<thought>a</thought>b", "a", "b"),
    ("\n <think>\na\n</think>\n\nb", "\na\n", "\n\nb"),
    ("<think></think>b", "", "b"),
    ("<think>a<b></thin></think>c", "a<b></thin>", "c"),
    ("<think>a</thinking></think>c", "a</thinking>", "c"),
    ("<think>never closed", "never closed", ""),
    ("<think>cut </thi", "cut </thi", ""),
    ("plain", "", "plain"),
    ("", "", ""),
    ("  \n", "", "  \n"),
    ("<", "", "<"),
    ("<thi", "", "<thi"),
    ("<thin ice", "", "<thin ice"),
    ("<Think>a</Think>", "", "<Think>a</Think>"),
    ("b <think>a</think>", "", "b <think>a</think>"),
    ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
])  # fmt: skip
def test_S34_tags_at_the_start_and_nowhere_else(content, reasoning, text):
    assert split(content) == (reasoning, text)


@given(st.sampled_from(["think", "thinking", "thought"]), st.data())
def test_S34_tags_cut_anywhere_give_the_same_texts(tag, data):
    inner = data.draw(st.text("<>/think a", max_size=12).filter(lambda text: f"</{tag}>" not in text))
    after = data.draw(st.text("<>/think a", max_size=12))
    content = f"<{tag}>x{inner}</{tag}>x{after}"
    assert split(*data.draw(cuts(content))) == split(content) == (f"x{inner}", f"x{after}")


@given(
    st.text("<>/think \n", max_size=20).filter(lambda text: not text.lstrip().startswith(("<think>", "<thinking>"))),
    st.data(),
)
def test_S34_what_is_no_tag_is_text_unchanged(content, data):
    assert split(*data.draw(cuts(content))) == ("", content)


def test_text_flows_at_once_where_no_tag_can_come():
    tags = ThinkTags()
    assert tags.feed("<th") == []
    assert tags.feed("e text") == [("text", "<the text")]
    assert tags.plain
    assert tags.feed("<think>") == [("text", "<think>")]


def test_reasoning_flows_while_the_tag_is_open():
    tags = ThinkTags()
    assert tags.feed("<think>a") == [("reasoning", "a")]
    assert tags.feed("b</") == [("reasoning", "b")]
    assert tags.feed("c") == [("reasoning", "</c")]
    assert tags.feed("</think>") == []
    assert tags.feed("d") == [("text", "d")]


def test_a_flush_in_the_middle_gives_what_was_held_back():
    tags = ThinkTags()
    tags.feed("<think>a")
    tags.feed("</th")
    assert tags.flush() == [("reasoning", "</th")]
    assert tags.feed("b</think>c") == [("reasoning", "b"), ("text", "c")]
    assert tags.flush() == []


def test_endless_white_space_is_not_held_back_for_ever():
    tags = ThinkTags()
    out = [found for _ in range(400_000) for found in tags.feed("\n")]
    assert tags.plain
    assert sum(len(text) for _, text in out) == 400_000
