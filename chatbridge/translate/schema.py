"""JSON schemas of tool parameters, made fit for any chat server (quirks R14, R15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Keywords whose values map names to schemas: a property may be called "encrypted".
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LITERAL = frozenset({"enum", "const", "default", "examples", "required"})
# Codex marks arguments that it passes on unread; no chat server knows the keyword.
_DROPPED = frozenset({"encrypted"})
_MOST_INLINED = 20_000
"""Schemas that inlining may visit: definitions that refer to each other twice grow without measure."""


def tool_parameters(schema: Any, steps: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return *schema* as an object schema: a missing or null one becomes one without properties.

    Keywords that are null, and Codex's own, go. Key order is kept. *steps* are a profile's ``schema``, done in order.
    """
    cleaned = _clean(schema) if isinstance(schema, dict) else {}
    for step in steps:
        cleaned = _step(cleaned, step)
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


def _step(schema: dict[str, Any], step: str) -> dict[str, Any]:
    name, _, key = step.partition(":")
    if name == "inline_refs":
        inlined: dict[str, Any] = _Inliner(schema).inline(schema)
        return inlined
    change = _CHANGES[name]
    changed: dict[str, Any] = _walk(schema, lambda node: change(node, key))
    return changed


def _walk(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change each schema in *schema*, the innermost first."""
    if isinstance(schema, list):
        return [_walk(item, change) for item in schema]
    if not isinstance(schema, dict):
        return schema
    walked: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _LITERAL:
            walked[key] = value
        elif key in _NAMED and isinstance(value, dict):
            walked[key] = {name: _walk(inner, change) for name, inner in value.items()}
        else:
            walked[key] = _walk(value, change)
    return change(walked)


class _Inliner:
    """Puts definitions where they are referred to. One that refers to itself ends as any object."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
        self._left = _MOST_INLINED

    def inline(self, schema: Any, inside: tuple[str, ...] = ()) -> Any:
        if isinstance(schema, list):
            return [self.inline(item, inside) for item in schema]
        if not isinstance(schema, dict):
            return schema
        self._left -= 1
        if isinstance(schema.get("$ref"), str):
            return self._target(schema, inside)
        inlined: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _NAMED and isinstance(value, dict):
                if key not in ("$defs", "definitions"):
                    inlined[key] = {name: self.inline(inner, inside) for name, inner in value.items()}
            else:
                inlined[key] = value if key in _LITERAL else self.inline(value, inside)
        return inlined

    def _target(self, schema: dict[str, Any], inside: tuple[str, ...]) -> Any:
        name = schema["$ref"].rpartition("/")[2]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        if name not in self._definitions or name in inside or self._left <= 0:
            return {"type": "object", **beside}
        target = self.inline(self._definitions[name], (*inside, name))
        return {**target, **beside} if isinstance(target, dict) else target


def _drop(node: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != key}


def _drop_false(node: dict[str, Any], key: str) -> dict[str, Any]:
    return _drop(node, key) if node.get(key) is False else node


def _nullable(node: dict[str, Any], _key: str) -> dict[str, Any]:
    """``"type": ["string", "null"]`` becomes ``"type": "string", "nullable": true``."""
    kinds = node.get("type")
    if not isinstance(kinds, list):
        return node
    named = [kind for kind in kinds if kind != "null"]
    rest = _drop(node, "type")
    if len(named) == 1:
        changed: dict[str, Any] = {"type": named[0], **rest}
    else:
        changed = {"anyOf": [{"type": kind} for kind in named], **rest} if named else rest
    return {**changed, "nullable": True} if "null" in kinds else changed


def _push_type(node: dict[str, Any], _key: str) -> dict[str, Any]:
    """A type beside ``anyOf`` goes into its branches."""
    branches, kind = node.get("anyOf"), node.get("type")
    if not isinstance(branches, list) or kind is None:
        return node
    pushed = [{"type": kind, **branch} if isinstance(branch, dict) else branch for branch in branches]
    return {**_drop(node, "type"), "anyOf": pushed}


def _prefix_items(node: dict[str, Any], _key: str) -> dict[str, Any]:
    """A list of schemas as ``items`` is today's ``prefixItems``."""
    items = node.get("items")
    return {**_drop(node, "items"), "prefixItems": items} if isinstance(items, list) else node


_CHANGES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "drop": _drop,
    "drop_false": _drop_false,
    "nullable_from_type_list": _nullable,
    "push_type_into_any_of": _push_type,
    "tuple_to_prefix_items": _prefix_items,
}
