"""What hypothesis draws from, in one place."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T", str, bytes)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value."""

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.integers(-(10**6), 10**6).map(lambda n: n / 64)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value without floats that JSON libraries spell in two ways (1e16 and 1e+16)."""

# Not st.text: that leaves surrogates out, also where its alphabet has them.
any_text = st.lists(st.characters() | st.sampled_from('\ud83d\udbff\ude00\udc00"\\{}<'), max_size=30).map("".join)
"""Text with surrogate halves in it, as byte-level detokenisers send."""


@st.composite
def cuts(draw: Any, whole: T) -> list[T]:
    """Draw a way to cut *whole* into pieces, empty ones among them."""
    at = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[begin:end] for begin, end in zip([0, *at], [*at, len(whole)], strict=True)]


_FIELDS = [
    "content",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "refusal",
    "tool_calls",
    "function_call",
    "role",
    "annotations",
    "executed_tools",
]
_calls = st.fixed_dictionaries({}, optional={
    "index": json_values, "id": json_values, "type": json_values | st.sampled_from(["function", "web_search", "builtin_function"]),
    "function": json_values | st.fixed_dictionaries({}, optional={"name": json_values, "arguments": json_values}),
})  # fmt: skip
_deltas = st.dictionaries(
    st.sampled_from(_FIELDS), json_values | st.lists(_calls | json_values, max_size=2), max_size=4
)
_choices = st.fixed_dictionaries({}, optional={
    "index": json_values, "delta": json_values | _deltas, "message": json_values | _deltas, "finish_reason": json_values, "usage": json_values,
    "messages": json_values | st.lists(json_values | _deltas, max_size=2),
})  # fmt: skip
chunks = json_values | st.fixed_dictionaries({}, optional={
    "choices": json_values | st.lists(_choices | json_values, max_size=3), "usage": json_values, "error": json_values,
    "x_groq": json_values, "base_resp": json_values, "type": json_values, "object": json_values,
    "citations": json_values, "search_results": json_values, "web_search": json_values, "search_info": json_values,
})  # fmt: skip
"""Chunks with fields of any JSON type, and what is no chunk."""
