"""What clients send about conversations, checked, and the objects that answer them."""

from __future__ import annotations

from typing import Any

from chatbridge.protocol.checks import missing, wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.fields import FIELDS
from chatbridge.protocol.itemresource import kind


def read_metadata(value: Any) -> dict[str, str]:
    """Return the metadata of a request's decoded body. Raises :class:`ApiError`."""
    given = _object(value).get("metadata")
    if given is None:
        return {}
    FIELDS["metadata"](given, "metadata")
    return dict(given)


def read_items(value: Any, *, needed: bool) -> list[dict[str, Any]]:
    """Return the items of a request's decoded body.

    Raises :class:`ApiError`, also when they are *needed* and not there.
    """
    items = _object(value).get("items")
    if items is None and not needed:
        return []
    if items is None:
        raise missing("items")
    if not isinstance(items, list):
        raise wrong("items", "must be an array", "invalid_type")
    for index, item in enumerate(items):
        if not kind(item):
            raise wrong(f"items[{index}]", "must be an object with a type", "invalid_type")
        if kind(item) == "item_reference":
            raise wrong(f"items[{index}]", "must be an item itself, not a reference to one")
    return items


def conversation_object(id: str, created: int, metadata: dict[str, str]) -> dict[str, Any]:  # noqa: A002
    """Return the API's conversation object."""
    return {"id": id, "object": "conversation", "created_at": created, "metadata": metadata}


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ApiError(400, "The request body must be a JSON object.", code="invalid_type")
