"""JSON schemas of tool parameters, made fit for any chat server (quirks R14, R15)."""

from __future__ import annotations

from typing import Any

# Keywords whose values map names to schemas: a property may be called "encrypted".
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LITERAL = frozenset({"enum", "const", "default", "examples", "required"})
# Codex marks arguments that it passes on unread; no chat server knows the keyword.
_DROPPED = frozenset({"encrypted"})


def tool_parameters(schema: Any) -> dict[str, Any]:
    """Return *schema* as an object schema: a missing or null one becomes one without properties.

    Keywords that are null, and Codex's own, go. Key order is kept.
    """
    cleaned = _clean(schema) if isinstance(schema, dict) else {}
    if cleaned.get("type") != "object":
        cleaned = {"type": "object", **{key: value for key, value in cleaned.items() if key != "type"}}
    if not isinstance(cleaned.get("properties"), dict):
        cleaned["properties"] = {}
    return cleaned


def _clean(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_clean(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if (key in _LITERAL and value is not None) or key == "const":
            cleaned[key] = value
        elif key in _NAMED and isinstance(value, dict):
            cleaned[key] = {name: _clean(inner) for name, inner in value.items() if inner is not None}
        elif value is not None and key not in _DROPPED:
            cleaned[key] = _clean(value)
    return cleaned
