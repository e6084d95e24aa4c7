"""What an upstream's finish reasons mean (quirk S18)."""

from __future__ import annotations

from typing import Literal

Meaning = Literal["stop", "max_output_tokens", "content_filter", "failed", "overflow"]

_MEANINGS: dict[str, Meaning] = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "model_length": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "error": "failed",
    "server_error": "failed",
    "network_error": "failed",
    "insufficient_system_resource": "failed",
    "malformed_function_call": "failed",
    "abort": "failed",
    "aborted": "failed",
    "model_context_window_exceeded": "overflow",
    "context_window_exceeded": "overflow",
    "context_length_exceeded": "overflow",
}


def meaning(reason: str) -> Meaning:
    """Return what *reason* means; letter case does not count, and one that nobody knows is a normal stop."""
    return _MEANINGS.get(reason.lower().replace("-", "_"), "stop")
