from __future__ import annotations

import pytest
from support import call_delta, delta, new_turn, text_of

from chatbridge.translate.markup import holds_calls

TOOL = {"type": "function", "name": "f"}


@pytest.mark.parametrize("text", [
    '<\uff5cDSML\uff5ctool_calls><\uff5cDSML\uff5cinvoke name="f">', "<\uff5ctool\u2581calls\u2581begin\uff5c>", '<tool_call>\n{"name": "f"}', "<minimax:tool_call>", "<function=f>",
    '[TOOL_CALLS] [{"name": "f"}]', "<|python_tag|>f()", "<|tool_calls_section_begin|>",
])  # fmt: skip
def test_S25_marks_of_calls(text):
    assert holds_calls(f"I look.\n{text}")


@pytest.mark.parametrize("text", ["", "I call the tool.", "<think>", "function f()", "tool_calls: []", "a < b"])
def test_S25_texts_without_them(text):
    assert not holds_calls(text)


@pytest.mark.parametrize(("field", "tools", "calls", "noted"), [
    ("content", True, False, True), ("reasoning", True, False, True), ("content", False, False, False), ("content", True, True, False),
])  # fmt: skip
def test_S25_a_call_that_came_as_text_is_noted_and_stays_text(field, tools, calls, noted):
    turn = new_turn(tools=[TOOL] if tools else [])
    turn.chunk(delta(**{field: "<tool_call>{}"}))
    turn.chunk(delta(content="."))
    if calls:
        turn.chunk(call_delta("{}", id="c", name="f"))
    turn.chunk(delta(finish_reason="stop"))
    turn.end(done=True)
    assert turn.response["status"] == "completed"
    assert field != "content" or text_of(turn) == "<tool_call>{}."
    assert ("upstream:markup" in turn._notes) is noted
