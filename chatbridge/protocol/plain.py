"""Plain chunks: one choice with text, reasoning or pieces of calls where OpenAI puts them, and nothing of note beside.

Nearly all chunks of all vendors are such. The full reader (:mod:`chatbridge.protocol.chat`) looks into some thirty
places for what vendors put elsewhere; here one look at the keys of each object tells that there is nothing. What is
read is the same.
"""

from __future__ import annotations

from typing import Any

from chatbridge.protocol.chat import ERROR_TEXTS, CallPiece, Chunk, Piece, read_call
from chatbridge.protocol.citations import KEYS

_BESIDE = {*KEYS, "messages"}
_ODD_CHUNK = frozenset({*_BESIDE, *ERROR_TEXTS, "error", "base_resp", "type", "success", "x_groq"})
_ODD_CHOICE = frozenset({*_BESIDE, "message", "text", "error", "usage"})
_ODD_DELTA = frozenset(
    {*_BESIDE, "reasoning_details", "reasoning_text", "thinking", "extra_content", "refusal", "function_call", "usage"}
)
_REASONING = frozenset({"reasoning_content", "reasoning"})


def read_plain(value: Any) -> Chunk | None:
    """Return what :func:`chat.read_chunk` reads from a decoded chunk, None where that must be asked."""
    if type(value) is not dict or not (_ODD_CHUNK.isdisjoint(value) or _nulls(value, _ODD_CHUNK)):
        return None
    choices, usage = value.get("choices"), value.get("usage")
    if type(choices) is not list or len(choices) > 1 or value.get("object") == "error":
        return None
    if usage is not None and type(usage) is not dict:
        return None
    if not choices:
        return Chunk([], [], "", usage or None)
    choice = choices[0]
    if type(choice) is not dict or not (_ODD_CHOICE.isdisjoint(choice) or _nulls(choice, _ODD_CHOICE)):
        return None
    delta, finish = choice.get("delta"), choice.get("finish_reason")
    pieces: list[Piece] = []
    calls: list[CallPiece] = []
    if delta and type(delta) is dict and not _read_delta(delta, choice.get("index"), pieces, calls):
        return None
    return Chunk(pieces, calls, finish if type(finish) is str else "", usage or None)


def _nulls(value: dict[str, Any], odd: frozenset[str]) -> bool:
    """Tell whether all that *value* has of *odd* is null, which is as good as not there."""
    return all(value[key] is None for key in odd.intersection(value))


def _read_delta(delta: dict[str, Any], index: Any, pieces: list[Piece], calls: list[CallPiece]) -> bool:
    """Read *delta* into *pieces* and *calls*; return whether it is plain."""
    if not (_ODD_DELTA.isdisjoint(delta) or _nulls(delta, _ODD_DELTA)) or delta.get("role") == "tool":
        return False
    if not _REASONING.isdisjoint(delta):
        reasoning, other = delta.get("reasoning_content"), delta.get("reasoning")
        if not (reasoning is None or type(reasoning) is str) or not (other is None or type(other) is str):
            return False
        if reasoning := reasoning or other:  # the same text stands in both
            pieces.append(("reasoning", reasoning))
    content, entries = delta.get("content"), delta.get("tool_calls")
    if type(content) is str:
        if content:
            pieces.append(("text", content))
    elif content is not None:
        return False
    if entries is None:
        return True
    if type(entries) is not list:
        return False
    choice = index if type(index) is int else 0
    calls += [read_call(entry, choice) for entry in entries if isinstance(entry, dict)]
    return True
