"""What is stored, and what a store does."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chatbridge.protocol.jsontext import dumps, loads
from chatbridge.protocol.responses import ResponsesRequest

RUNNING = ("queued", "in_progress")
"""The statuses of a response that is not at its end."""

Items = Sequence[dict[str, Any]]
"""Items of a conversation, each with an ``id``."""


class StoreError(Exception):
    """The store cannot be used; the text says why, and holds no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One response. *input* holds the request's own items, *response* the Response object.

    *owner* is the name of the client's token: nobody else gets it. *previous* is the id of the response before, or
    empty. *created* is in seconds since the epoch. *events* is what a stream of it sent, as
    :meth:`chatbridge.store.events.EventLog.dump` gives it; a store gives it only to who asks for it.
    """

    id: str
    owner: str
    previous: str
    created: int
    input: list[Any]
    response: dict[str, Any]
    events: bytes = field(default=b"", repr=False)

    @classmethod
    def answer(cls, asked: ResponsesRequest, owner: str, response: dict[str, Any], events: bytes = b"") -> Stored:
        """Return what is to be stored of the answer to *asked*."""
        return cls(
            id=response["id"],
            owner=owner,
            previous=asked.get("previous_response_id") or "",
            created=response["created_at"],
            input=asked.own,
            response=response,
            events=events,
        )

    @property
    def running(self) -> bool:
        """Whether it is not at its end."""
        return self.response.get("status") in RUNNING

    def outputs(self) -> dict[str, Any]:
        """Return the items of its output by their ids."""
        found = self.response.get("output") or ()
        return {item["id"]: item for item in found if isinstance(item, dict) and isinstance(item.get("id"), str)}

    def content(self) -> bytes:
        """Return input and response as one JSON text."""
        return dumps({"input": self.input, "response": self.response})

    @classmethod
    def of(cls, id: str, owner: str, previous: str, created: int, content: bytes) -> Stored:
        """Return what :meth:`content` and the other fields were made from."""
        value = loads(content)
        return cls(
            id=id, owner=owner, previous=previous, created=created, input=value["input"], response=value["response"]
        )

    def failed(self, message: str) -> Stored:
        """Return it as one that ends without having been answered."""
        error = {"code": "server_error", "message": message}
        response = {**self.response, "status": "failed", "error": error}
        return Stored(
            id=self.id, owner=self.owner, previous=self.previous, created=self.created, input=self.input,
            response=response,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation without its items. *created* is in seconds since the epoch."""

    id: str
    owner: str
    created: int
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Addition:
    """What an answer adds to a conversation of the same owner. One that is not there any more gets nothing."""

    conversation: str
    items: Items


class Responses(Protocol):
    """Keeps responses for their owners. Each call may wait; none blocks."""

    def put(self, stored: Stored, addition: Addition | None = None) -> Awaitable[None]:
        """Keep *stored*: once this has fired, it outlives whatever the store outlives."""

    def end(self, stored: Stored, addition: Addition | None = None) -> Awaitable[bool]:
        """Keep *stored*, which was put while it ran, as it ended; return whether it was still there, and running."""

    def get(self, id: str, owner: str) -> Awaitable[Stored | None]:
        """Return the response, or None when there is none of this *owner*.

        One that ran in a process that is gone has failed.
        """

    def chain(self, id: str, owner: str) -> Awaitable[Sequence[Stored]]:
        """Return the response and all that it goes on from, the newest first, as far as they are there."""

    def events(self, id: str, owner: str) -> Awaitable[bytes]:
        """Return the events of the response; empty when there are none."""

    def outputs(self, ids: Collection[str], owner: str) -> Awaitable[dict[str, Any]]:
        """Return items of the outputs of the owner's responses, those of *ids* that are there, by id."""

    def delete(self, id: str, owner: str) -> Awaitable[bool]:
        """Forget the response; return whether there was one."""

    def cancel(self, id: str, owner: str) -> Awaitable[None]:
        """Ask the process in which the response runs to cancel it; :meth:`beat` tells it there."""

    def beat(self) -> Awaitable[Mapping[str, bool]]:
        """Say that this process is alive. Returns its running responses, each with whether it is to be cancelled."""

    def recover(self) -> Awaitable[int]:
        """End as failed what ran in processes that are gone; return how many."""


class Conversations(Protocol):
    """Keeps conversations for their owners."""

    def put_conversation(self, conversation: Conversation, items: Items = ()) -> Awaitable[None]:
        """Keep a conversation, or its metadata when it is there already, and append *items* to it."""

    def get_conversation(self, id: str, owner: str) -> Awaitable[Conversation | None]:
        """Return the conversation."""

    def delete_conversation(self, id: str, owner: str) -> Awaitable[bool]:
        """Forget the conversation with its items; return whether there was one."""

    def append(self, id: str, owner: str, items: Items) -> Awaitable[bool]:
        """Append *items*; return whether the conversation is there."""

    def items(self, id: str, owner: str) -> Awaitable[list[dict[str, Any]] | None]:
        """Return the items, the oldest first; None when there is no such conversation."""

    def delete_item(self, id: str, owner: str, item: str) -> Awaitable[bool]:
        """Take one item out; return whether it was there."""


class Store(Responses, Conversations, Protocol):
    """A store of both."""

    def ping(self) -> Awaitable[None]:
        """Do nothing, as far as the data. Fails when the store does not work."""

    def close(self) -> Awaitable[None]:
        """Let go of everything."""
