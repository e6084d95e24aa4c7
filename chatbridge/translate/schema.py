"""JSON schemas of tool parameters, made fit for any chat server (quirks R14, R15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

# Keywords whose values map names to schemas: a property may be called "encrypted".
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LITERAL = frozenset({"enum", "const", "default", "examples", "required"})
# Codex marks arguments that it passes on unread; no chat server knows the keyword.
_DROPPED = frozenset({"encrypted"})
_SCHEMAS = frozenset({"items", "contains", "propertyNames", "not", "if", "then", "else"})
_NULL = {"type": "null"}
_MOST_INLINED = 20_000
"""Schemas that inlining may visit: definitions that refer to each other twice grow without measure."""
_DEEPEST_INLINED = 40
_DEEPEST_ROOT = 5
"""Choices inside choices that are looked into: one may refer to itself."""


def tool_parameters(schema: Any, steps: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return *schema* as an object schema: a missing or null one becomes one without properties.

    Keywords that are null, and Codex's own, go. Key order is kept. *steps* are a profile's ``schema``, done in order.
    """
    cleaned = _clean(schema) if isinstance(schema, dict) else {}
    cleaned = rewritten(cleaned, steps)
    if cleaned.get("type") != "object":
        cleaned = {"type": "object", **{key: value for key, value in cleaned.items() if key != "type"}}
    if not isinstance(cleaned.get("properties"), dict):
        cleaned["properties"] = {}
    return cleaned


def rewritten(schema: dict[str, Any], steps: tuple[str, ...]) -> dict[str, Any]:
    """Return *schema* after *steps*, done in order."""
    for step in steps:
        schema = _step(schema, step)
    return schema


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
    if name == "object_root":
        return _object_root(schema, schema)
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
        self._root = schema
        self._left = _MOST_INLINED

    def inline(self, schema: Any, inside: tuple[str, ...] = (), depth: int = 0) -> Any:
        if isinstance(schema, list):
            return [self.inline(item, inside, depth + 1) for item in schema]
        if not isinstance(schema, dict):
            return schema
        self._left -= 1
        if isinstance(schema.get("$ref"), str):
            return self._target(schema, inside, depth)
        inlined: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _NAMED and isinstance(value, dict):
                if key not in ("$defs", "definitions"):
                    inlined[key] = {name: self.inline(inner, inside, depth + 1) for name, inner in value.items()}
            else:
                inlined[key] = value if key in _LITERAL else self.inline(value, inside, depth + 1)
        return inlined

    def _target(self, schema: dict[str, Any], inside: tuple[str, ...], depth: int) -> Any:
        ref = schema["$ref"]
        beside = self.inline({key: value for key, value in schema.items() if key != "$ref"}, inside, depth)
        found = _referred(self._root, ref)
        if found is None or ref in inside or self._left <= 0 or depth > _DEEPEST_INLINED:
            return {"type": "object", **beside}
        return {**self.inline(found, (*inside, ref), depth), **beside}


def _referred(root: dict[str, Any], ref: str) -> dict[str, Any] | None:
    """Return the schema at a JSON pointer such as ``#/$defs/name``; None where there is none."""
    steps = [unquote(step).replace("~1", "/").replace("~0", "~") for step in ref.partition("#")[2].split("/")[1:]]
    value: Any = root if steps or ref == "#" else None
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = _object(value).get(step)
    if not isinstance(value, dict):
        name = ref.rpartition("/")[2]
        value = _object(root.get("$defs")).get(name) or _object(root.get("definitions")).get(name)
    return value if isinstance(value, dict) else None


def _object_root(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """A root that is a choice, or stands elsewhere, becomes one object with the properties of all its branches."""
    if isinstance(schema.get("$ref"), str) and depth <= _DEEPEST_ROOT:
        return _object_root({**_branch(schema, root), **_drop(schema, "$ref")}, root, depth + 1)
    branches = {key: schema[key] for key in ("allOf", "anyOf", "oneOf") if isinstance(schema.get(key), list)}
    if not branches or depth > _DEEPEST_ROOT:
        return schema
    properties: dict[str, Any] = dict(_object(schema.get("properties")))
    required = dict.fromkeys(_names(schema.get("required")))
    for key, choice in branches.items():
        flat = [_object_root(_branch(branch, root), root, depth + 1) for branch in choice]
        for branch in flat:
            for name, value in _object(branch.get("properties")).items():
                properties.setdefault(name, value)
        wanted = [_names(branch.get("required")) for branch in flat]
        needed = [name for names in wanted for name in names if key == "allOf" or all(name in one for one in wanted)]
        required.update(dict.fromkeys(needed))
    rest = {key: value for key, value in schema.items() if key not in (*branches, "type", "properties", "required")}
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **rest}


def _branch(branch: Any, root: dict[str, Any]) -> dict[str, Any]:
    ref = branch.get("$ref") if isinstance(branch, dict) else None
    return _object(_referred(root, ref)) if isinstance(ref, str) else _object(branch)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _drop(node: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != key}


def _drop_false(node: dict[str, Any], key: str) -> dict[str, Any]:
    return _drop(node, key) if node.get(key) is False else node


def _nullable(node: dict[str, Any], _key: str) -> dict[str, Any]:
    """``"type": ["string", "null"]`` becomes ``"type": "string", "nullable": true``; so does a choice with null."""
    kinds = node.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in kinds if kind != "null"]
        rest = _drop(node, "type")
        if len(named) == 1:
            node = {"type": named[0], **rest}
        else:
            node = {"anyOf": [{"type": kind} for kind in named], **rest} if named else rest
        node = {**node, "nullable": True} if "null" in kinds else node
    for key in ("anyOf", "oneOf"):
        branches = node.get(key)
        if isinstance(branches, list) and _NULL in branches:
            node = {**_without_null(_drop(node, key), key, branches), "nullable": True}
    if isinstance(node.get("enum"), list) and None in node["enum"]:
        node = {**node, "enum": [value for value in node["enum"] if value is not None], "nullable": True}
    return node


def _without_null(rest: dict[str, Any], key: str, branches: list[Any]) -> dict[str, Any]:
    others = [branch for branch in branches if branch != _NULL]
    if len(others) == 1 and isinstance(others[0], dict):
        return {**others[0], **rest}
    return {**rest, key: others} if others else rest


def _no_booleans(node: dict[str, Any], _key: str) -> dict[str, Any]:
    """``true`` as a schema becomes one that takes anything; ``false``, which takes nothing, goes."""
    changed: dict[str, Any] = {}
    for key, value in node.items():
        if key in _NAMED and isinstance(value, dict):
            changed[key] = {name: _schema(inner) for name, inner in value.items() if inner is not False}
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            changed[key] = [_schema(inner) for inner in value if inner is not False]
        elif key not in _SCHEMAS or value is not False:
            changed[key] = _schema(value) if key in _SCHEMAS else value
    return changed


def _schema(value: Any) -> Any:
    return {} if value is True else value


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
    "booleans_to_objects": _no_booleans,
    "push_type_into_any_of": _push_type,
    "tuple_to_prefix_items": _prefix_items,
}
