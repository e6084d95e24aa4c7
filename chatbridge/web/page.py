"""Lists of the API, page by page, and the query that asks for them."""

from __future__ import annotations

import re
from typing import Any

from twisted.web.http import parse_qs

from chatbridge.protocol.errors import ApiError

_PAGE = 20
_PAGE_LIMIT = 100


def query(request: Any) -> dict[str, str]:
    """Return the last value of each query parameter."""
    found = parse_qs(request.uri.partition(b"?")[2], keep_blank_values=True)
    return {name.decode("latin-1"): values[-1].decode("latin-1") for name, values in found.items()}


def page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """Return one page of *items* as the API's list object. Raises :class:`ApiError` for a query that makes no sense."""
    limit = query.get("limit", str(_PAGE))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= _PAGE_LIMIT:
        raise ApiError(400, f"limit must be from 1 to {_PAGE_LIMIT}.", param="limit", code="invalid_value")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ApiError(400, "order must be 'asc' or 'desc'.", param="order", code="invalid_value")
    ordered = items if order == "asc" else items[::-1]
    ids = [item["id"] for item in ordered]
    for name in ("after", "before"):
        if name in query and query[name] not in ids:
            raise ApiError(400, f"There is no item {query[name][:100]!r}.", param=name, code="invalid_value")
    begin = ids.index(query["after"]) + 1 if "after" in query else 0
    end = ids.index(query["before"]) if "before" in query else len(items)
    shown = ordered[begin:end][: int(limit)]
    return listing(shown, has_more=end - begin > len(shown))


def listing(items: list[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """Return the API's list object."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
