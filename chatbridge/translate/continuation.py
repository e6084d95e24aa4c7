"""What one WebSocket keeps between its messages: those that wait, and the latest response, to go on from.

Messages go in, actions come out: :meth:`Continuation.next` tells what to do now. A client sends its conversation once;
then each message holds the new items only, and the id of the response before. Responses come one after another.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.jsontext import dumps
from chatbridge.protocol.responses import ResponsesRequest, parse_request, response_object
from chatbridge.translate.items import Event, NewId
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools

QUEUE_LIMIT = 16
"""Messages that may wait; then no more are read."""

# What belongs to HTTP, and what is read here. Codex sends ``stream`` although the specification forbids it.
_NOT_CARRIED = frozenset(
    {"type", "input", "previous_response_id", "generate", "stream", "stream_options", "background"}
)
# Codes that Codex acts upon by themselves.
_ACTED_UPON = frozenset({"previous_response_not_found", "websocket_connection_limit_reached", "model_not_found"})


@dataclass(frozen=True, slots=True)
class Send:
    """Send *events*, each as one message."""

    events: list[Event]


@dataclass(frozen=True, slots=True)
class Recall:
    """Look for the response *id* in the store; then call :meth:`Continuation.recalled` or ``refused``."""

    id: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Answer a request; then call :meth:`Continuation.ended`, or ``refused`` when it cannot be begun.

    *value* is a body as POST takes it, with the whole *input*. *own* are the message's own items, which go on from the
    response *previous*; where that is empty, they are all. *stored* tells whether the store has *previous*.
    """

    value: dict[str, Any] = field(repr=False)
    own: list[Any] = field(repr=False)
    previous: str
    stored: bool


Action = Send | Recall | Ask


@dataclass(slots=True)
class _Slot:
    """A response, and all items up to its end. *size* is about their length as JSON, in bytes."""

    id: str
    items: list[Any]
    size: int
    stored: bool


class Room:
    """The memory that all connections share: whose response was not gone on from for longest loses it first."""

    def __init__(self, limit: int) -> None:
        """*limit* is in bytes."""
        self._limit = limit
        self._held: OrderedDict[Continuation, int] = OrderedDict()
        self._total = 0

    def take(self, owner: Continuation, size: int) -> bool:
        """Give *owner* *size* bytes in place of what it had; returns False when there is not so much."""
        self.leave(owner)
        if size > self._limit:
            return False
        self._held[owner] = size
        self._total += size
        while self._total > self._limit:
            loser, freed = self._held.popitem(last=False)
            self._total -= freed
            loser.forget()
        return True

    def leave(self, owner: Continuation) -> None:
        """Take back what *owner* has."""
        self._total -= self._held.pop(owner, 0)


class Continuation:
    """*parse* makes a value of a message or raises :class:`ApiError`; *now* returns seconds since the epoch.

    *recalls* tells whether there is a store to look into for other responses than the latest one; *for_codex* chooses
    the errors that cost Codex the fewest requests.
    """

    def __init__(
        self,
        parse: Callable[[bytes], object],
        room: Room,
        *,
        new_id: NewId,
        now: Callable[[], float],
        recalls: bool = False,
        for_codex: bool = False,
    ) -> None:
        self.busy = False
        """An action has not been answered yet."""
        self._parse = parse
        self._room = room
        self._new_id = new_id
        self._now = now
        self._recalls = recalls
        self._for_codex = for_codex
        self._waiting: deque[bytes] = deque()
        self._slot: _Slot | None = None
        self._begun = _Begun({}, [], "", 0)

    def add(self, message: bytes) -> None:
        """Take a message; its turn comes."""
        self._waiting.append(message)

    @property
    def full(self) -> bool:
        """So many messages wait that no more should be read."""
        return len(self._waiting) >= QUEUE_LIMIT

    def next(self) -> Action | None:
        """Return what is to be done now; None while an answer runs, and when no message waits."""
        if self.busy or not self._waiting:
            return None
        message = self._waiting.popleft()
        try:
            return self._begin(self._parse(message), len(message))
        except ApiError as error:
            return self.refused(error)

    def recalled(self, items: list[Any]) -> Action:
        """Go on from the response that was asked for; *items* are all up to its end."""
        self.busy = False
        try:
            return self._go_on(items, stored=True, size=len(dumps(items)))
        except ApiError as error:
            return self.refused(error)

    def resolved(self, own: list[Any]) -> None:
        """Take *own* for the message's own items: what they refer to stands in the place of the references."""
        begun = self._begun
        begun.items = [*begun.items[: len(begun.items) - len(begun.own)], *own]
        begun.own = own
        begun.size += len(dumps(own))

    def refused(self, error: ApiError) -> Send:
        """Return how to tell the client that there is no answer."""
        self.busy = False
        if error.code == "previous_response_not_found":
            error.status = 400
        else:
            self.forget()
        return Send([error_event(error, for_codex=self._for_codex)])

    def ended(self, response: dict[str, Any], *, stored: bool) -> None:
        """The answer is over with *response*; *stored* tells whether the store has it now."""
        self.busy = False
        self.forget()
        if response["status"] in ("completed", "incomplete"):
            output = response["output"]
            self._keep(response["id"], [*self._begun.items, *output], self._begun.size + len(dumps(output)), stored)

    def forget(self) -> None:
        """Let go of the latest response: who goes on from it sends everything again."""
        self._slot = None
        self._room.leave(self)

    def _begin(self, value: object, size: int) -> Action:
        if not isinstance(value, dict):
            raise ApiError(400, "A message must be a JSON object.", code="invalid_type")
        if value.get("type") == "response.steer":
            return Send([_not_steered(value)])
        if value.get("type") != "response.create":
            text = "The only type of message is 'response.create'."
            raise ApiError(400, text, param="type", code="invalid_value")
        if value.get("stream_id") is not None:
            text = "stream_id is not supported: answers come one after another. Open a WebSocket for each."
            raise ApiError(400, text, param="stream_id", code="unsupported_parameter")
        if value.get("background"):
            text = "background is not supported over WebSocket."
            raise ApiError(400, text, param="background", code="unsupported_parameter")
        previous = value.get("previous_response_id")
        if not isinstance(previous, str | None):
            text = "previous_response_id must be a string."
            raise ApiError(400, text, param="previous_response_id", code="invalid_type")
        body = {key: item for key, item in value.items() if key not in _NOT_CARRIED}
        generate = value.get("generate") is not False
        if not generate and body.get("conversation") is not None:
            text = "conversation needs an answer that is added to it: it goes with no 'generate: false'."
            raise ApiError(400, text, param="conversation", code="unsupported_parameter")
        self._begun = _Begun(body, _items(value.get("input")), previous or "", size, generate)
        slot = self._slot
        if previous is None:
            return self._go_on([], stored=False, size=0)
        if slot is not None and slot.id == previous:
            return self._go_on(slot.items, stored=slot.stored, size=slot.size)
        if self._recalls and body.get("store") is not False:
            self.busy = True
            return Recall(previous)
        text = f"Previous response with id {previous[:100]!r} not found."
        raise ApiError(400, text, param="previous_response_id", code="previous_response_not_found")

    def _go_on(self, before: list[Any], *, stored: bool, size: int) -> Action:
        begun = self._begun
        if begun.previous:
            _check_outputs(before, begun.own)
        begun.items = [*before, *begun.own]
        begun.size += size
        if not begun.generate:
            return self._prewarm()
        self.busy = True
        return Ask({**begun.body, "input": begun.items}, begun.own, begun.previous, stored)

    def _prewarm(self) -> Send:
        """Answer a message that only brings items and settings for the next one. The upstream is not asked."""
        begun = self._begun
        # Codex prewarms without any input.
        asked = parse_request({**begun.body, "input": begun.items or "none"})
        if begun.previous:
            asked = asked.continued([], begun.previous)
        response = response_object(asked, _echo(asked), self._new_id("resp"), int(self._now()))
        self._keep(response["id"], begun.items, begun.size, stored=False)
        done = {**response, "status": "completed", "completed_at": response["created_at"]}
        return Send(
            [
                {"type": "response.created", "response": response, "sequence_number": 0},
                {"type": "response.completed", "response": done, "sequence_number": 1},
            ]
        )

    def _keep(self, id: str, items: list[Any], size: int, stored: bool) -> None:  # noqa: A002 - the API's own word
        self._slot = _Slot(id, items, size, stored) if self._room.take(self, size) else None


@dataclass(slots=True)
class _Begun:
    """The message that is being answered. *items* is the whole input, *size* about its length in bytes."""

    body: dict[str, Any]
    own: list[Any]
    previous: str
    size: int
    generate: bool = True
    items: list[Any] = field(default_factory=list)


def error_event(error: ApiError, *, for_codex: bool) -> Event:
    """Return *error* as the ``error`` event of a WebSocket. Without a status Codex would wait for more."""
    status, told = error.status, error.body()["error"]
    if for_codex and error.kind is not Kind.UNAVAILABLE and error.code not in _ACTED_UPON:
        # Codex shows the message of few codes, and repeats or hides the others.
        status, told = (429 if error.kind is Kind.RATE_LIMIT else 400), {**told, **error.response_error()}
    told["code"] = told["code"] or "invalid_request"
    event: Event = {"type": "error", "status": status, "error": told}
    if error.retry_after is not None:
        event["headers"] = {"retry-after": str(math.ceil(error.retry_after))}
    return event


def _not_steered(value: dict[str, Any]) -> Event:
    """Return how OpenAI's server tells that input for a running answer was not taken; the client has it back."""
    text = "Steering is not supported; send the input when the answer is complete."
    return {
        "type": "response.steer.failed",
        "sequence_number": 0,
        "steer": {"previous_response_id": str(value.get("previous_response_id") or ""), "input": value.get("input")},
        "error": {"type": "invalid_request_error", "code": "steering_not_supported", "message": text},
    }


def limit_reached() -> ApiError:
    """Return the error that ends a connection which is too old."""
    text = "This WebSocket has been open for 60 minutes, the longest that it may; open a new one."
    return ApiError(400, text, code="websocket_connection_limit_reached")


def _items(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if given is None:
        return []
    if not isinstance(given, list):
        raise ApiError(400, "input must be a string or an array of items.", param="input", code="invalid_type")
    return given


def _check_outputs(before: list[Any], own: list[Any]) -> None:
    """Raise :class:`ApiError` for a tool's output whose call is nowhere."""
    wanted = {_call_id(item): index for index, item in enumerate(own) if str(_type(item)).endswith("_output")}
    if not wanted or any(_type(item) == "item_reference" for item in own):
        return  # the call may be what is referred to
    called = {_call_id(item) for item in (*before, *own) if str(_type(item)).endswith("_call")}
    for call_id, index in wanted.items():
        if call_id is not None and call_id not in called:
            text = f"input[{index}] is the output of a call {str(call_id)[:100]!r} that was never made."
            raise ApiError(400, text, param=f"input[{index}].call_id", code="invalid_value")


def _type(item: Any) -> Any:
    return item.get("type") if isinstance(item, dict) else None


def _call_id(item: Any) -> Any:
    found = item.get("call_id") or item.get("id")
    return found if isinstance(found, str) else None


def _echo(asked: ResponsesRequest) -> list[dict[str, Any]]:
    tools = Tools(Notes())
    tools.add(asked.get("tools"), "tools")
    return tools.echo
