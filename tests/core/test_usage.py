from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values
from support import delta, new_turn

from chatbridge.translate.usage import doubt_usage, estimate_usage, read_usage


def counts(raw: dict[str, object]) -> tuple[int, int, int, int] | None:
    """Return input, output, cached and reasoning tokens."""
    usage = read_usage(raw)
    if usage is None:
        return None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens_details"]["cache_write_tokens"] == 0
    return (
        usage["input_tokens"],
        usage["output_tokens"],
        usage["input_tokens_details"]["cached_tokens"],
        usage["output_tokens_details"]["reasoning_tokens"],
    )


@pytest.mark.parametrize(("raw", "found"), [
    ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}, (10, 4, 0, 0)),
    ({"input_tokens": 10, "output_tokens": 4}, (10, 4, 0, 0)),
    ({"prompt_tokens": 10, "total_tokens": 14}, (10, 4, 0, 0)),
    ({"completion_tokens": 4, "total_tokens": 14}, (10, 4, 0, 0)),
    ({"total_tokens": 14}, (14, 0, 0, 0)),
    ({"prompt_tokens": 10}, (10, 0, 0, 0)),
    ({"completion_tokens": 4}, (0, 4, 0, 0)),
    ({"prompt_tokens": 10.0, "completion_tokens": 4.0}, (10, 4, 0, 0)),
    ({"prompt_tokens": None, "input_tokens": 10}, (10, 0, 0, 0)),
    ({"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}}, (10, 4, 0, 3)),
    ({"prompt_tokens": 10, "completion_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}}, (10, 4, 0, 3)),
    ({"prompt_tokens": 10, "completion_tokens": 4, "reasoning_tokens": 3}, (10, 4, 0, 3)),
    ({"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": None, "reasoning_tokens": None}, (10, 4, 0, 0)),
])  # fmt: skip
def test_U02_counts_under_their_names(raw, found):
    assert counts(raw) == found


@pytest.mark.parametrize(("raw", "found"), [
    # Reasoning beside the completion, and the total knows it:
    ({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 125, "completion_tokens_details": {"reasoning_tokens": 20}}, (100, 25, 0, 20)),
    # Reasoning within the completion:
    ({"prompt_tokens": 100, "completion_tokens": 25, "total_tokens": 125, "completion_tokens_details": {"reasoning_tokens": 20}}, (100, 25, 0, 20)),
    # More reasoning than completion, and a total that does not know it:
    ({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "completion_tokens_details": {"reasoning_tokens": 11}}, (100, 11, 0, 11)),
    # A total that fits nothing:
    ({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 999}, (100, 10, 0, 0)),
    ({"prompt_tokens": 100, "total_tokens": 50}, (100, 0, 0, 0)),
])  # fmt: skip
def test_U05_sums_that_lie(raw, found):
    assert counts(raw) == found


@pytest.mark.parametrize("cached", [
    {"prompt_tokens_details": {"cached_tokens": 8}},
    {"input_tokens_details": {"cached_tokens": 8}},
    {"prompt_token_details": {"cached_tokens": 8}},
    {"prompt_cache_hit_tokens": 8},
    {"cached_tokens": 8},
    {"num_cached_tokens": 8},
    {"prompt_tokens_details": None, "cached_tokens": 8},
    {"prompt_tokens_details": {"cached_tokens": 8}, "prompt_cache_hit_tokens": 2},
])  # fmt: skip
def test_U06_cached_tokens_under_their_names(cached):
    assert counts({"prompt_tokens": 10, "completion_tokens": 1, **cached}) == (10, 1, 8, 0)


def test_U06_never_more_cached_than_sent():
    assert counts({"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 80}) == (10, 1, 10, 0)


@pytest.mark.parametrize("raw", [
    {}, {"prompt_tokens": "ten"}, {"prompt_tokens": -1}, {"total_tokens": True}, {"total_tokens": 2**60}, {"total_tokens": 1e300},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, {"cost": 0.1},
])  # fmt: skip
def test_U07_what_holds_no_counts(raw):
    assert read_usage(raw) is None


@pytest.mark.parametrize(("given_", "made", "tokens"), [(0, 0, (0, 0)), (1, 4, (1, 1)), (400, 5, (100, 2))])
def test_U07_an_estimate_is_rounded_up(given_, made, tokens):
    usage = estimate_usage(given_, made)
    assert (usage["input_tokens"], usage["output_tokens"]) == tokens
    assert usage["total_tokens"] == sum(tokens)


KEYS = [
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens",
    "prompt_tokens_details", "completion_tokens_details",
]  # fmt: skip


@given(st.dictionaries(
    st.sampled_from(KEYS), json_values | st.integers(0, 99) | st.dictionaries(st.sampled_from(KEYS), st.integers(0, 99) | json_values)
))  # fmt: skip
def test_any_counts_give_usage_that_adds_up(raw):
    found = counts(raw)
    assert found is None or (found[2] <= found[0] and found[3] <= found[1])


@pytest.mark.parametrize(("given", "characters", "window", "words"), [
    (4096, 60_000, 0, "num_ctx"), (4096, 60_000, 8192, "num_ctx"), (9000, 36_000, 8192, "context window"), (9000, 36_000, 0, ""), (9000, 36_000, 9000, ""),
    (100, 5_000, 0, ""), (0, 60_000, 0, ""), (9000, 60_000, 0, ""),
])  # fmt: skip
def test_E05_prompts_that_are_cut_or_too_long_without_a_word(given, characters, window, words):
    doubt = doubt_usage(estimate_usage(given * 4, 0), characters, window)
    assert words in doubt
    assert bool(doubt) is bool(words)


@pytest.mark.parametrize(("tokens", "noted"), [(4096, True), (20_000, False)])
def test_E05_a_cut_prompt_is_noted(tokens, noted):
    turn = new_turn(input="x" * 60_000)
    turn.chunk(delta(content="hi", finish_reason="stop", usage={"prompt_tokens": tokens, "completion_tokens": 1}))
    turn.end(done=True)
    assert ("usage:doubt" in turn._notes) is noted


def test_U05_counts_as_text():
    usage = read_usage({"prompt_tokens": "10", "completion_tokens": "5", "total_tokens": "15"})
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (10, 5, 15)


def test_U06_a_zero_does_not_hide_another_name():
    usage = read_usage(
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 3}
    )
    assert usage is not None
    assert usage["input_tokens_details"]["cached_tokens"] == 3
