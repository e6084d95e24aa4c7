"""Items as clients send them → items as the API lists them: each with an id, a status and its content as parts."""

from __future__ import annotations

from typing import Any

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
    "web_search_call": "ws",
}
_WITH_STATUS = frozenset(_PREFIXES) - {"reasoning", "compaction"}


def prefix(item: Any) -> str:
    """Return what the ids of items of this kind begin with."""
    return _PREFIXES.get(kind(item), "item")


def kind(item: Any) -> str:
    """Return an item's type; a message may leave it out."""
    if not isinstance(item, dict):
        return ""
    found = item.get("type") or ("message" if "role" in item else "")
    return found if isinstance(found, str) else ""


def item_resource(item: Any, id: str) -> dict[str, Any]:  # noqa: A002 - the API's own word
    """Return *item* as it is listed. *id* is for one that has none."""
    if not isinstance(item, dict):
        return {"id": id}
    given = item.get("id")
    listed: dict[str, Any] = {**item, "id": given if isinstance(given, str) and given else id, "type": kind(item)}
    if listed["type"] in _WITH_STATUS and not isinstance(item.get("status"), str):
        listed["status"] = "completed"
    if listed["type"] == "message":
        listed["content"] = _content(item.get("content"), item.get("role"))
    return listed


def _content(content: Any, role: Any) -> Any:
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    return [_part(part) for part in content] if isinstance(content, list) else []


def _part(part: Any) -> Any:
    match part:
        case {"type": "output_text"}:
            return {"annotations": [], "logprobs": [], **part}
        case {"type": "input_image"}:
            return {"detail": "auto", **part}
    return part
