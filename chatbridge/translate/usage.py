"""Token counts: from any vendor's shape to the Responses one (quirks U01-U07), or an estimate."""

from __future__ import annotations

from typing import Any

from chatbridge.translate.notes import Notes

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb, for the estimate when an upstream reports nothing."""
_FEW = 2 * CHARACTERS_PER_TOKEN
_DIGITS = 16
_LARGEST = 2**53
_DETAILED = frozenset(
    {
        "prompt_tokens_details",
        "input_tokens_details",
        "prompt_token_details",
        "completion_tokens_details",
        "output_tokens_details",
        "prompt_cache_hit_tokens",
        "cached_tokens",
        "num_cached_tokens",
        "reasoning_tokens",
    }
)
"""All that tells more than the three counts."""
_ENOUGH = 10_000
"""Characters of a prompt that is long enough to be cut, and for the rule to hold."""


def read_usage(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return the Responses usage object for a chat usage object, or None when it holds no counts."""
    given, made = _count(raw, "prompt_tokens", "input_tokens"), _count(raw, "completion_tokens", "output_tokens")
    total = _count(raw, "total_tokens")
    if not given and not made and not total:
        return None  # zeros stand for "not counted": no answer costs nothing
    if given is None:
        given = max((total or 0) - (made or 0), 0)
    if made is None:
        made = max((total or 0) - given, 0)
    if _DETAILED.isdisjoint(raw):
        return _usage(given, made, 0, 0)
    reasoning = _reasoning(raw)
    if total is not None and total == given + made + reasoning:
        made += reasoning  # xAI and others leave reasoning out of the completion count (quirk U05)
    made = max(made, reasoning)
    cached = min(_cached(raw), given)
    return _usage(given, made, cached, reasoning)


def estimate_usage(input_characters: int, output_characters: int) -> dict[str, Any]:
    """Return a usage object guessed from text lengths: Codex needs a total to compact in time."""
    return _usage(_tokens(input_characters), _tokens(output_characters), 0, 0)


def final_usage(
    raw: dict[str, Any] | None, characters: tuple[int, int], *, context_window: int, whole: bool, notes: Notes
) -> dict[str, Any] | None:
    """Return the Responses usage object of an answer, an estimate where the upstream sent none with a *whole* one.

    *raw* is the upstream's usage object, *characters* the lengths of the request's and the answer's text.
    """
    usage = read_usage(raw) if raw else None
    if usage is not None:
        doubt = doubt_usage(usage, characters[0], context_window)
        if doubt:
            notes.add("usage:doubt", doubt)
    elif whole:
        notes.add("usage:none", "the upstream reports no token counts; they are estimated from text lengths")
        usage = estimate_usage(*characters)
    return usage


def add_usage(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the sum of two Responses usage objects."""
    return {
        key: add_usage(value, other[key]) if isinstance(value, dict) else value + other[key]
        for key, value in one.items()
    }


def doubt_usage(usage: dict[str, Any], input_characters: int, context_window: int) -> str:
    """Return what is odd about the tokens of a prompt of so many characters, if anything is (quirk E05)."""
    given = usage["input_tokens"]
    if given and given * _FEW < input_characters and input_characters > _ENOUGH:
        return (
            "the upstream counts far fewer tokens than were sent: it may cut prompts without a word (Ollama: num_ctx)"
        )
    if context_window and given > context_window:
        return "the upstream counts more tokens than the model's context window has, and does not mind"
    return ""


def _usage(given: int, made: int, cached: int, reasoning: int) -> dict[str, Any]:
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": given + made,
    }


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _count(raw: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = raw.get(name)
        if type(value) is int and 0 <= value < _LARGEST:
            return value
        if isinstance(value, str) and value.isdecimal() and len(value) < _DIGITS:
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LARGEST:
            return int(value)
    return None


def _part(raw: dict[str, Any], name: str) -> dict[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, dict) else {}


def _reasoning(raw: dict[str, Any]) -> int:
    for part in ("completion_tokens_details", "output_tokens_details"):
        found = _count(_part(raw, part), "reasoning_tokens")
        if found is not None:
            return found
    return _count(raw, "reasoning_tokens") or 0


def _cached(raw: dict[str, Any]) -> int:
    # The names vary by vendor, one of them with a slip of the pen (quirk U06).
    for part in ("prompt_tokens_details", "input_tokens_details", "prompt_token_details"):
        found = _count(_part(raw, part), "cached_tokens")
        if found:
            return found
    return _count(raw, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens") or 0
