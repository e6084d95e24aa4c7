from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import call_delta, calls_of, check_stream, delta, new_turn, text_of, translate

from chatbridge.translate.markup import holds_calls
from chatbridge.vendors.profile import Profile

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


# --- read, where the profile says so

TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string"}}}},
    {"type": "function", "name": "g"},
]  # fmt: skip
BAR = "\uff5c"
MARKED = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
    "hermes, not closed": '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call><tool_call>{"name": "g", "parameters": {}}',
    "a list": '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]',
    "mistral": '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}', "mistral, glued": '[TOOL_CALLS]f{"a": 1}g{}',
    "qwen coder": "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>",
    "qwen coder, bare": "<function=f>\n<parameter=a>1</parameter>\n</function>\n<function=g></function>",
    "minimax": '<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">1</parameter>\n</invoke>\n<invoke name="g">\n</invoke>\n</minimax:tool_call>',
    "dsml": f'<{BAR}DSML{BAR}tool_calls>\n<{BAR}DSML{BAR}invoke name="f">\n<{BAR}DSML{BAR}parameter name="a" string="false">1</{BAR}DSML{BAR}parameter>\n</{BAR}DSML{BAR}invoke>\n'
            f'<{BAR}DSML{BAR}invoke name="g">\n</{BAR}DSML{BAR}invoke>\n</{BAR}DSML{BAR}tool_calls>',
    "deepseek": f'<{BAR}tool\u2581calls\u2581begin{BAR}><{BAR}tool\u2581call\u2581begin{BAR}>function<{BAR}tool\u2581sep{BAR}>f\n```json\n{{"a": 1}}\n```<{BAR}tool\u2581call\u2581end{BAR}>'
                f"<{BAR}tool\u2581call\u2581begin{BAR}>g<{BAR}tool\u2581sep{BAR}>{{}}<{BAR}tool\u2581call\u2581end{BAR}><{BAR}tool\u2581calls\u2581end{BAR}>",
    "kimi": '<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'
            "<|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
    "llama": '<|python_tag|>[{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {}}]',
}  # fmt: skip


def answer(text, *, reads=True, size=0, finish="stop", tools=TOOLS, more=()):
    turn = new_turn(tools=tools)
    turn.retranslate(replace(turn.translation, read_markup=reads and bool(tools)))
    events = turn.start()
    for at in range(0, len(text), size or len(text)):
        events += turn.chunk(delta(content=text[at : at + (size or len(text))]))
    for chunk in more:
        events += turn.chunk(chunk)
    events += [*turn.chunk(delta(finish_reason=finish)), *turn.end(done=True)]
    check_stream(events)
    return turn


@pytest.mark.parametrize("form", MARKED)
@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("before", ["", "I look.\n\n"])
def test_S25_calls_that_came_as_text_are_read_where_the_profile_says_so(form, size, before):
    turn = answer(before + MARKED[form], size=size)
    assert calls_of(turn) == [("f", '{"a":1}'), ("g", "{}")]
    assert text_of(turn).strip() == before.strip()
    assert "upstream:markup calls" in turn._notes
    assert answer(before + MARKED[form], reads=False, size=size).response["output"][-1]["type"] == "message"


@pytest.mark.parametrize("text", [
    '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', '<tool_call>{"name": "f", "arguments": {"a": </tool_call>', "<tool_call> is a mark of Qwen's.",
    "<function=f><parameter=a>1</parameter>", '<invoke name="f">', "[TOOL_CALLS] f(1)", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "a < b and [c",
    '<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{"name": "h", "arguments": {}}</tool_call>', "<|python_tag|>f()", "[TOOL_CALLS]", "<tool_call>[1]",
])  # fmt: skip
@pytest.mark.parametrize("size", [0, 1])
def test_S25_what_cannot_be_read_stays_text(text, size):
    turn = answer(text, size=size)
    assert (text_of(turn), calls_of(turn)) == (text, [])


def test_S25_a_call_of_the_usual_form_makes_the_rest_text():
    turn = answer(MARKED["hermes"], more=[call_delta("{}", id="c", name="g")])
    assert calls_of(turn) == [("g", "{}")]
    assert text_of(turn) == MARKED["hermes"]


def test_S25_without_tools_and_in_a_cut_answer_nothing_is_read():
    assert text_of(answer(MARKED["hermes"], tools=[])) == MARKED["hermes"]
    assert text_of(answer(MARKED["hermes"], finish="length")) == MARKED["hermes"]


def test_S25_values_have_the_types_that_the_tool_wants():
    text = "<function=f><parameter=a>[1]</parameter><parameter=s>\n007\n</parameter><parameter=new>x\ny</parameter></function>"
    assert calls_of(answer(text)) == [("f", '{"a":[1],"s":"007","new":"x\\ny"}')]
    text = '<invoke name="f"><parameter name="s">{"a":1}</parameter></invoke>'
    assert calls_of(answer(f"<minimax:tool_call>{text}")) == [("f", '{"s":"{\\"a\\":1}"}')]


def test_S25_the_profile_says_so():
    assert translate(Profile(tool_markup="calls"), tools=TOOLS)[0].read_markup
    assert not translate(Profile(tool_markup="calls"))[0].read_markup
    assert not translate(tools=TOOLS)[0].read_markup


@given(st.text('<>[]tool_cal|f{}"=: \n', max_size=60))
def test_S25_any_text_is_told_whole_or_read(text):
    turn = answer(f"x{text}", size=3)
    assert calls_of(turn) or text_of(turn) == f"x{text}"
