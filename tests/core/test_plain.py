"""The short way to read a chunk against the full one: the same facts, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chunks, json_values
from support import call_delta, delta

from chatbridge.protocol.chat import read_chunk
from chatbridge.protocol.plain import read_plain

_text = st.none() | st.text(max_size=4)
_odd = st.none() | json_values
_call = st.fixed_dictionaries({}, optional={
    "index": st.integers(0, 3) | _odd, "id": _text, "type": st.sampled_from(["function", "web_search", None]), "extra_content": _odd,
    "function": st.fixed_dictionaries({}, optional={"name": _text, "arguments": _text | json_values}), "name": _text, "results": _odd,
})  # fmt: skip


def _mostly(usual: dict[str, st.SearchStrategy], odd: list[str]) -> st.SearchStrategy:
    """An object with the *usual* keys, and now and then with one of the *odd* ones, whatever it holds."""
    some = st.just({}) | st.dictionaries(st.sampled_from(odd), st.none(), max_size=4)
    return st.builds(
        lambda *parts: {key: value for part in parts for key, value in part.items()},
        st.fixed_dictionaries({}, optional=usual),
        some | some | st.dictionaries(st.sampled_from(odd), _odd, max_size=1),
    )


_delta = _mostly(
    {"role": st.sampled_from(["assistant", "tool", None, 3]), "content": _text, "reasoning_content": _text, "reasoning": _text,
     "tool_calls": st.none() | st.lists(_call, max_size=2)},
    ["content", "reasoning", "reasoning_content", "reasoning_details", "reasoning_text", "thinking", "refusal", "function_call",
     "extra_content", "tool_calls", "usage", "annotations", "messages", "citations", "audio"],
)  # fmt: skip
_choice = _mostly(
    {
        "index": st.integers(0, 2) | st.booleans(),
        "delta": st.none() | _delta,
        "finish_reason": _text,
        "logprobs": st.none(),
    },
    ["message", "text", "error", "usage", "messages", "references", "delta", "finish_reason", "index"],
)
_near = _mostly(
    {"id": _text, "object": st.sampled_from(["chat.completion.chunk", "error"]), "choices": st.lists(_choice, max_size=2),
     "usage": st.none() | st.just({}) | st.just({"prompt_tokens": 1})},
    ["error", "base_resp", "type", "success", "message", "msg", "detail", "errors", "error_msg", "code", "x_groq", "search_results",
     "messages", "choices", "usage", "obfuscation"],
)  # fmt: skip


@given(_near | chunks, st.booleans(), st.booleans())
def test_what_is_read_the_short_way_is_what_is_read(value, streamed, called):
    found = read_plain(value)
    assert found is None or found == read_chunk(value, streamed=streamed, called=called)


@pytest.mark.parametrize("value", [
    delta(role="assistant", content="", refusal=None, annotations=None),
    delta(content="a", reasoning=None, reasoning_details=None, function_call=None),
    delta(content="a", reasoning_content="b", reasoning="b", tool_calls=[]),
    delta(finish_reason="stop", usage={"prompt_tokens": 1}),
    {"choices": [], "usage": {"prompt_tokens": 1}, "error": None, "obfuscation": "x"},
    call_delta('{"a":1}', id="c", name="f"),
])  # fmt: skip
def test_what_vendors_send_most_is_read_the_short_way(value):
    found = read_plain(value)
    assert found is not None
    assert found == read_chunk(value)
