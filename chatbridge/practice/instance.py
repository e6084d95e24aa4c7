"""A small JSON value that fits a JSON schema."""

from __future__ import annotations

from typing import Any

# Deeper, or bigger, than what is written by hand: a schema that refers to itself ends here.
_DEPTH = 24
_VALUES = 1000


def instance(schema: Any) -> Any:
    """Return a value that fits *schema*: what is required and nothing else.

    ``pattern`` and ``format`` are not looked at. What is not a schema gives ``None``.
    """
    return _Making(schema).value(schema, 0)


class _Making:
    """One value in the making; *root* is the document that references point into."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _VALUES

    def value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEPTH or self._left < 0:
            return None
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if choices := _list(schema, key):
                return choices[0]
        if "$ref" in schema:
            return self.value(_target(self._root, schema["$ref"]), depth + 1)
        if choices := _list(schema, "anyOf") or _list(schema, "oneOf"):
            return self.value(_plainest(choices), depth + 1)
        if _list(schema, "allOf"):
            return self.value(_merged(schema, self._root), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(_count(schema, "minItems", 0))]
            case "string":
                text = "practice".ljust(_count(schema, "minLength", 0), ".")
                return text[: max(_count(schema, "minLength", 0), _count(schema, "maxLength", len(text)))]
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return False
            case _:
                return None

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = _dict(schema, "properties")
        names = [name for name in _list(schema, "required") if isinstance(name, str)]
        return {name: self.value(properties.get(name, {"type": "string"}), depth + 1) for name in names}


def _type(schema: dict[str, Any]) -> Any:
    """Return the schema's type; of several the first that is not null; without one, what its keywords suggest."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((k for k in kind if k != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return kind


def _number(schema: dict[str, Any]) -> float:
    """Return 0, or the number nearest to it between the bounds."""
    number: float = 0
    if (least := _bound(schema, "minimum")) is not None:
        number = max(number, least)
    if (above := _bound(schema, "exclusiveMinimum")) is not None and number <= above:
        number = above + 1
    if (most := _bound(schema, "maximum")) is not None:
        number = min(number, most)
    if (below := _bound(schema, "exclusiveMaximum")) is not None and number >= below:
        number = below - 1
    return number


def _plainest(choices: list[Any]) -> Any:
    """Return the first choice that is not null."""
    return next((c for c in choices if not (isinstance(c, dict) and c.get("type") == "null")), choices[0])


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    """Return *schema* and all parts of its ``allOf`` as one schema."""
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    parts = [_target(root, p["$ref"]) if isinstance(p, dict) and "$ref" in p else p for p in schema["allOf"]]
    for part in parts:
        if isinstance(part, dict):
            properties = _dict(part, "properties") | _dict(merged, "properties")
            required = _list(merged, "required") + _list(part, "required")
            merged = part | merged
            if properties:
                merged |= {"type": "object", "properties": properties, "required": required}
    return merged


def _target(root: Any, reference: Any) -> Any:
    """Return what a reference inside the document (``#/$defs/x``) points to, or ``None``."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node = root
    for step in reference[1:].split("/")[1:]:
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def _list(schema: dict[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _dict(schema: dict[str, Any], key: str) -> dict[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def _count(schema: dict[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and 0 <= value <= _VALUES else default


def _bound(schema: dict[str, Any], key: str) -> float | None:
    value = schema.get(key)
    return value if isinstance(value, int | float) else None
