"""The fields of a Responses request, and what each must be: OpenAI's specification and Open Responses 2026-04-24.

docs/carried.md says what becomes of each. Names that are not here are let through and noted; null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatbridge.protocol.checks import Check, array, either, integer, missing, number, of, string, table, words, wrong

METADATA_KEYS = 16
METADATA_KEY = 64
METADATA_VALUE = 512
"""How many, and how many characters each."""
LOGPROBS = "message.output_text.logprobs"
INCLUDES = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    LOGPROBS,
)
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
TIERS = ("auto", "default", "flex", "scale", "priority")
"""Those that strict clients know in a Response."""
_VENDORS_TIERS = ("fast", "ultrafast", "on_demand", "performance")
SUMMARIES = ("auto", "concise", "detailed")
_FORMAT_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _metadata(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise wrong(path, "must be an object", "invalid_type")
    if len(value) > METADATA_KEYS:
        raise wrong(path, f"must have at most {METADATA_KEYS} keys, not {len(value)}", "object_above_max_properties")
    for key, text in value.items():
        if len(key) > METADATA_KEY:
            raise wrong(path, f"must have keys of at most {METADATA_KEY} characters", "string_above_max_length")
        _metadata_value(text, f"{path}.{key}")


_metadata_value = string(METADATA_VALUE)


def _format(value: Any, path: str) -> None:
    _format_keys(value, path)
    if value.get("type") != "json_schema":
        return
    if value.get("schema") is None:
        raise missing(f"{path}.schema")
    name = value.get("name")
    if name is not None and not _FORMAT_NAME.fullmatch(name):
        raise wrong(f"{path}.name", "must be at most 64 letters, digits, underscores and dashes")


_format_keys = table(
    {
        "type": words("text", "json_object", "json_schema"),
        "name": string(),
        "description": string(),
        "schema": of(dict),
        "strict": of(bool),
    }
)

FIELDS: Mapping[str, Check] = {
    "access_programs": of(dict),
    "background": of(bool),
    "background_options": of(dict),
    "client_metadata": of(dict),
    "context_management": array(table({"type": string(), "compact_threshold": integer(0)}, required=("type",))),
    "conversation": either(str, dict, table({"id": string()}, required=("id",))),
    "frequency_penalty": number(-2, 2),
    "image": table({"context_compression": words("auto", "enabled", "disabled")}),
    "include": array(words(*INCLUDES)),
    "instructions": string(),
    "max_output_tokens": integer(1),
    "max_tool_calls": integer(1),
    "metadata": _metadata,
    "model": string(),
    "moderation": of(dict),
    "parallel_tool_calls": of(bool),
    "presence_penalty": number(-2, 2),
    "previous_response_id": string(),
    "prompt": table({"id": string(), "version": string(), "variables": of(dict)}),
    "prompt_cache_key": string(64),
    "prompt_cache_options": of(dict),
    "prompt_cache_retention": words("in_memory", "in-memory", "24h"),
    "reasoning": table(
        {
            "effort": words(*_EFFORTS),
            "summary": words(*SUMMARIES, "none"),
            "generate_summary": words(*SUMMARIES, "none"),
            "context": string(),
            "mode": string(),
        }
    ),
    "safety_identifier": string(64),
    "service_tier": words(*TIERS, *_VENDORS_TIERS),
    "store": of(bool),
    "stream": of(bool),
    "stream_options": table({"include_obfuscation": of(bool)}),
    "temperature": number(0, 2),
    "text": table({"format": _format, "verbosity": words("low", "medium", "high")}),
    "tool_choice": either(str, dict, of(dict)),
    "tools": array(of(dict)),
    "top_logprobs": integer(0, 20),
    "top_p": number(0, 1),
    "truncation": words("auto", "disabled"),
    "user": string(),
}
"""The request's fields beside ``input``."""
