"""What is stored of a response, and what a store does."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps, loads

CHAIN_LIMIT = 10_000
"""Responses of one conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One response. *input* holds the request's own items, *response* the Response object as it ended.

    *owner* is the name of the client's token: nobody else gets it. *previous* is the id of the response before, or
    empty. *created* is in seconds since the epoch.
    """

    id: str
    owner: str
    previous: str
    created: int
    input: list[Any]
    response: dict[str, Any]

    def content(self) -> bytes:
        """Return input and response as one JSON text."""
        return dumps({"input": self.input, "response": self.response})

    @classmethod
    def of(cls, id: str, owner: str, previous: str, created: int, content: bytes) -> Stored:  # noqa: A002
        """Return what :meth:`content` and the other fields were made from."""
        value = loads(content)
        return cls(
            id=id, owner=owner, previous=previous, created=created, input=value["input"], response=value["response"]
        )


class Store(Protocol):
    """Keeps responses for their owners. Each call may wait; none blocks."""

    def put(self, stored: Stored) -> Awaitable[None]:
        """Keep *stored*: once this has fired, it outlives whatever the store outlives."""

    def get(self, id: str, owner: str) -> Awaitable[Stored | None]:  # noqa: A002
        """Return the response, or None when there is none of this *owner*."""

    def delete(self, id: str, owner: str) -> Awaitable[bool]:  # noqa: A002
        """Forget the response; return whether there was one."""


async def history(store: Store, id: str, owner: str) -> list[Any]:  # noqa: A002
    """Return all items up to and with the response *id*: each response's input, then its output.

    Raises :class:`ApiError` (404 ``previous_response_not_found``) when it, or one before it, is not there.
    """
    chain: list[Stored] = []
    wanted = id
    while wanted and len(chain) < CHAIN_LIMIT:
        stored = await store.get(wanted, owner)
        if stored is None:
            text = f"Previous response with id {wanted[:100]!r} not found."
            raise ApiError(404, text, param="previous_response_id", code="previous_response_not_found")
        chain.append(stored)
        wanted = stored.previous
    return [item for stored in reversed(chain) for item in (*stored.input, *stored.response.get("output", ()))]
