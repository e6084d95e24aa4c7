"""``truncation: auto``: the oldest turns go, whole, until the rest fits into the model's context window.

A turn begins at the user's words and ends before the next ones. System text stays wherever it stands, and the last turn
stays. Sizes are estimates: :data:`CHARACTERS_PER_TOKEN` and a fixed price for each image or file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatbridge.translate.usage import CHARACTERS_PER_TOKEN

BLOB_CHARACTERS = 1000 * CHARACTERS_PER_TOKEN
"""What an image, a file or a piece of audio counts, whatever its size."""
_BLOBS = ("input_image", "image_url", "input_file", "file", "input_audio")
# No text that the model reads, or not in this length.
_UNREAD = frozenset({"id", "type", "status", "role", "encrypted_content"})
_SYSTEM = ("system", "developer")
_CALLS = ("function_call", "custom_tool_call", "tool_search_call", "local_shell_call")


def kept(items: Sequence[Any], budget: int) -> list[int]:
    """Return the indexes of the items that stay so that their text has at most *budget* characters, or none can go."""
    turns = _turns(items)
    sizes = [sum(size(items[index]) for index in turn) for turn in turns]
    left = sum(size(item) for item in items)
    gone: set[int] = set()
    for turn, length in zip(turns[:-1], sizes[:-1], strict=True):
        if left <= budget:
            break
        left -= length
        gone.update(turn)
    calls = {_call_id(items[index]) for index in gone if items[index].get("type") in _CALLS} - {""}
    stay = [index for index in range(len(items)) if index not in gone]
    # A result that came after later words of the user goes with its call.
    return [index for index in stay if not (_is_output(items[index]) and _call_id(items[index]) in calls)]


def size(value: Any) -> int:
    """Return the length of the text in an item or a part of one."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(size, value))
    if not isinstance(value, dict):
        return 0
    if value.get("type") in _BLOBS:
        return BLOB_CHARACTERS
    sealed = value.get("encrypted_content") if value.get("type") in ("compaction", "compaction_summary") else None
    return size(sealed) + sum(size(inner) for key, inner in value.items() if key not in _UNREAD)


def _turns(items: Sequence[Any]) -> list[list[int]]:
    """Return the indexes of each turn's items; what stands before the first words of the user is a turn, too."""
    turns: list[list[int]] = [[]]
    speaking = False
    for index, item in enumerate(items):
        if not isinstance(item, dict) or item.get("role") in _SYSTEM:
            continue
        says = item.get("role") == "user" or item.get("type") in ("agent_message", "compaction", "compaction_summary")
        if says and not speaking:
            turns.append([])
        speaking = says
        turns[-1].append(index)
    return turns


def _is_output(item: Any) -> bool:
    return isinstance(item, dict) and str(item.get("type")).endswith("_output")


def _call_id(item: dict[str, Any]) -> str:
    given = item.get("call_id") or item.get("id")
    return given if isinstance(given, str) else ""  # refused elsewhere
