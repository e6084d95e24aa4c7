"""What a profile's keys may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
"""What clients ask for, in order."""
OPENAI_KEYS = (
    "verbosity",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
)
"""Keys of the request that other vendors hardly know (quirk R27)."""


class ProfileError(ValueError):
    """A profile is wrong; the text names file, key and what is allowed."""


_CHOICES = {
    "developer_role": ("system", "developer"),
    "system_placement": ("first", "anywhere", "user"),
    "calls_content": ("empty", "null", "omit"),
    "images": ("object", "string", "data", "none"),
    "max_tokens_field": ("max_tokens", "max_completion_tokens"),
    "strict": ("true", "always", "never"),
    "parallel_tool_calls": ("false", "always", "never"),
    "call_id": ("any", "40", "word", "alnum9"),
    "replay": (
        "none",
        "reasoning_content",
        "reasoning",
        "reasoning_text",
        "reasoning_details",
        "content_parts",
        "think_tags",
    ),
    "replay_on": ("calls", "loop", "all"),
    "effort_with_tools": ("", *EFFORTS),
    "tool_markup": ("text", "calls"),
    "think_tags": ("start", "open", "never"),
}
_EACH = {
    "openai_keys": OPENAI_KEYS,
    "efforts": EFFORTS,
    "parts": ("file", "file_id", "file_url", "input_audio"),
    "response_formats": ("json_object", "json_schema"),
    "schema": (
        "inline_refs",
        "drop:$schema",
        "drop:additionalProperties",
        "drop_false:additionalProperties",
        "drop:propertyNames",
        "drop:pattern",
        "drop:format",
        "drop:minItems",
        "nullable_from_type_list",
        "push_type_into_any_of",
        "tuple_to_prefix_items",
        "booleans_to_objects",
        "object_root",
    ),
}
_NAMES = {
    "effort": EFFORTS,
    "tool_choice": ("required", "named", "none"),
    "search": ("body", "tools"),
}
"""The keys that tables may have."""
_TEXTS = {
    "headers": None,
    "rename": None,
    "effort": None,
    "tool_choice": ("required", "any", "auto", "omit"),
}
"""Tables of texts, and the texts that are allowed; an effort may be a number too."""
_NEVER_DROPPED = ("model", "messages", "stream")
_TOML_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "an array of strings", dict: "a table"}


def check(where: str, key: str, value: Any, wanted: type) -> None:
    """Check a profile's *key*; *wanted* is its type in TOML. Raises :class:`ProfileError` that begins with *where*."""
    given = type(value)  # compared as they are: true is an int, too
    if given is not wanted or (wanted is list and not all(isinstance(item, str) for item in value)):
        raise ProfileError(f"{where} must be {_TOML_NAMES[wanted]}, not {value!r}")
    if wanted is int and value < 0:
        raise ProfileError(f"{where} must not be negative, not {value!r}")
    check_allowed(where, [value], _CHOICES.get(key))
    check_allowed(where, value, _EACH.get(key))
    check_allowed(where, value, _NAMES.get(key))
    if key in _TEXTS:
        _check_texts(where, value, _TEXTS[key], numbers=key == "effort")
    if key == "drop" and not set(value).isdisjoint(_NEVER_DROPPED):
        raise ProfileError(f"{where}: {', '.join(_NEVER_DROPPED)} cannot be dropped")
    if key == "overflow":
        _check_patterns(where, value)
    if key == "search":
        _check_search(where, value)


def check_allowed(where: str, given: Iterable[Any], allowed: tuple[str, ...] | None) -> None:
    """Raise :class:`ProfileError` where something of *given* is not in *allowed*; None allows anything."""
    wrong = [item for item in given if item not in allowed] if allowed is not None else []
    if allowed is not None and wrong:
        raise ProfileError(f"{where}: {wrong[0]!r} is none of {', '.join(map(repr, allowed))}")


def _check_texts(where: str, table: Mapping[str, Any], allowed: tuple[str, ...] | None, *, numbers: bool) -> None:
    for name, value in table.items():
        if numbers and type(value) is int and value > 0:
            continue
        if not isinstance(value, str):
            raise ProfileError(f"{where}.{name} must be {_TOML_NAMES[str]}, not {value!r}")
        check_allowed(f"{where}.{name}", [value], allowed)


def _check_patterns(where: str, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ProfileError(f"{where}: {pattern!r} is no regular expression: {error}") from None


def _check_search(where: str, search: Mapping[str, Any]) -> None:
    if not isinstance(search.get("body", {}), dict):
        raise ProfileError(f"{where}.body must be {_TOML_NAMES[dict]}, not {search['body']!r}")
    tools = search.get("tools", [])
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ProfileError(f"{where}.tools must be an array of tables, not {tools!r}")
