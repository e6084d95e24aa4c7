"""What only Codex CLI says (measured with 0.169).

Codex repeats a request that fails: 30 times after an HTTP 5xx, 6 times after most 4xx, and it shows the text of few.
Told inside a stream, by ``ApiError.response_error``, the same failures cost one request, or six where a retry makes
sense, and the text is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

TURN_METADATA = "x-codex-turn-metadata"
"""Holds local paths: read here, never sent upstream."""
TURN_STATE = "x-codex-turn-state"
"""Opaque to us: what the upstream answers is handed to Codex, and what Codex echoes goes back upstream."""


def is_codex(headers: Mapping[str, str]) -> bool:
    """Tell whether a request (header names in lower case) comes from Codex."""
    return headers.get("originator", "").startswith("codex") or headers.get("user-agent", "").startswith("codex")


def is_compaction(headers: Mapping[str, str]) -> bool:
    """Tell whether Codex asks for its own summary of the conversation, where a tool call would spoil the answer.

    The default model's request holds tools even then, among its input items.
    """
    return '"request_kind":"compaction"' in headers.get(TURN_METADATA, "").replace(" ", "")
