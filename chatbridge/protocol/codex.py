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

SUBAGENT = "x-openai-subagent"


def message_headers(handshake: Mapping[str, str], metadata: object) -> dict[str, str]:
    """Return the headers that a WebSocket message would have as a request of its own.

    *handshake* are those that came when the WebSocket was opened; what changes from turn to turn stands in the
    message's ``client_metadata``.
    """
    said = metadata if isinstance(metadata, dict) else {}
    each = {name: said[name] for name in (TURN_METADATA, TURN_STATE, SUBAGENT) if isinstance(said.get(name), str)}
    kept = {name: value for name, value in handshake.items() if name not in (TURN_METADATA, TURN_STATE)}
    return {**kept, **each}


def is_codex(headers: Mapping[str, str]) -> bool:
    """Tell whether a request (header names in lower case) comes from Codex."""
    return headers.get("originator", "").startswith("codex") or headers.get("user-agent", "").startswith("codex")


def is_compaction(headers: Mapping[str, str]) -> bool:
    """Tell whether Codex asks for its own summary of the conversation, where a tool call would spoil the answer.

    The default model's request holds tools even then, among its input items.
    """
    return '"request_kind":"compaction"' in headers.get(TURN_METADATA, "").replace(" ", "")
