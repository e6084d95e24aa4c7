"""The Responses API as values: the request, checked, and the Response object that answers it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from chatbridge.protocol.checks import missing, wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.fields import FIELDS, LOGPROBS, SUMMARIES, TIERS

_UNSUPPORTED = ("background_options", "context_management", "moderation", "access_programs")
_REFUSED = frozenset({"previous_response_id", "conversation", "prompt", "image", *_UNSUPPORTED})
"""Fields of which all or some values are refused."""


@dataclass(slots=True)  # not frozen, which makes it five times as dear
class ResponsesRequest:
    """A checked request, never changed. *fields* holds what was given, without nulls and without ``input``."""

    model: str
    input: list[Any]
    stream: bool
    fields: dict[str, Any] = field(repr=False)
    stored: bool = False
    """The answer will be stored."""
    before: int = 0
    """How many items of *input* stand before the request's own."""

    def continued(self, items: list[Any], previous: str) -> ResponsesRequest:
        """Return the request with *items*, the conversation up to the response *previous*, before its own input."""
        fields = {**self.fields, "previous_response_id": previous}
        return replace(self, input=[*items, *self.input], fields=fields, before=self.before + len(items))

    def in_conversation(self, items: list[Any], conversation: str) -> ResponsesRequest:
        """Return the request with *items*, those of the conversation, before its own input."""
        fields = {**self.fields, "conversation": {"id": conversation}}
        return replace(self, input=[*items, *self.input], fields=fields, before=self.before + len(items))

    @property
    def own(self) -> list[Any]:
        """The request's own input."""
        return self.input[self.before :] if self.before else self.input

    def place(self, index: int) -> str:
        """Return the path of the item at *index* of *input*, as the client counts its own, for errors."""
        own = index - self.before
        before = "conversation" if "conversation" in self.fields else "previous_response_id"
        return f"input[{own}]" if own >= 0 else f"{before}.items[{index}]"

    def get(self, name: str) -> Any:
        """Return the field *name*, or None when it was not given."""
        return self.fields.get(name)

    def part(self, name: str, key: str) -> Any:
        """Return *key* of the object field *name*, or None."""
        return (self.fields.get(name) or {}).get(key)

    def includes(self, what: str) -> bool:
        """Return whether ``include`` names *what*."""
        return what in (self.fields.get("include") or ())

    @property
    def logprobs(self) -> bool:
        """Whether the answer's text is to come with its log probabilities."""
        return bool(self.fields.get("top_logprobs")) or self.includes(LOGPROBS)


def parse_request(value: Any, *, background: bool = False) -> ResponsesRequest:
    """Check a decoded body. Raises :class:`ApiError` (400, or 404 for an unknown response id) naming the field.

    *background* is whether the answer may go on without its client.
    """
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.", code="invalid_type")
    fields: dict[str, Any] = {}
    check_of = FIELDS.get
    for name, item in value.items():
        if item is not None and name != "input":
            fields[name] = item
            if (check := check_of(name)) is not None:
                check(item, name)
    if not fields.get("model"):
        raise missing("model")
    if not _REFUSED.isdisjoint(fields):
        _refuse(fields)
    if fields.get("background"):
        _check_background(fields, allowed=background)
    return ResponsesRequest(fields["model"], _input(value.get("input"), fields), fields.get("stream", False), fields)


def _input(value: Any, fields: dict[str, Any]) -> list[Any]:
    if isinstance(value, str):
        value = [{"type": "message", "role": "user", "content": value}]
    if value is None and fields.get("instructions"):
        value = []
    if value is None:
        raise missing("input")
    if not isinstance(value, list):
        raise wrong("input", "must be a string or an array of items", "invalid_type")
    if not value and not fields.get("instructions"):
        raise wrong("input", "must not be empty", "empty_array")
    return value


def _refuse(fields: dict[str, Any]) -> None:
    """What would change the answer and cannot be done is refused, never ignored."""
    if (previous := fields.get("previous_response_id")) is not None:
        text = f"Previous response with id {previous!r} not found: chatbridge keeps no responses. Send the whole input."
        raise ApiError(404, text, param="previous_response_id", code="previous_response_not_found")
    if "conversation" in fields:
        raise wrong("conversation", "needs a store of responses", "unsupported_parameter")
    if "prompt" in fields:
        raise wrong("prompt", "is not supported by chatbridge: send the whole input", "unsupported_parameter")
    for name in _UNSUPPORTED:
        if fields.get(name):
            raise wrong(name, "is not supported by chatbridge", "unsupported_parameter")
    if (fields.get("image") or {}).get("context_compression") == "enabled":
        raise wrong("image.context_compression", "is not supported by chatbridge", "unsupported_parameter")


def _check_background(fields: dict[str, Any], *, allowed: bool) -> None:
    if not allowed:
        raise wrong("background", "is not supported here: it needs a store of responses", "unsupported_parameter")
    if fields.get("store") is False:
        raise wrong("background", "needs store: a response in the background is read from there")


def response_object(
    request: ResponsesRequest, tools: list[dict[str, Any]], response_id: str, created_at: int
) -> dict[str, Any]:
    """Return the Response object as it is at the start: in progress, without output.

    Every key that any strict client demands is there: null only where the specification and all SDKs allow it.
    *tools* are the function tools, normalised: any other kind makes strict clients reject the whole response.
    """
    fields = request.fields
    response = {
        **_START,
        "id": response_id,
        "created_at": created_at,
        "model": request.model,
        "output": [],
        "store": request.stored,
        "text": _text(fields.get("text") or {}),
        "tools": tools,
        "metadata": {},
    }
    for name in _ECHOED.intersection(fields):
        response[name] = fields[name]
    reasoning, tier = fields.get("reasoning") or {}, fields.get("service_tier")
    response["reasoning"] = {"effort": reasoning.get("effort"), "summary": _known(reasoning.get("summary"), SUMMARIES)}
    response["service_tier"] = _known(tier, TIERS) or "default"
    response["tool_choice"] = fields.get("tool_choice") or "auto"
    if conversation := fields.get("conversation"):
        response["conversation"] = conversation
    return response


_START: dict[str, Any] = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}
_ECHOED = frozenset(
    {
        "background",
        "frequency_penalty",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt_cache_key",
        "safety_identifier",
        "temperature",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
"""Fields that stand in the Response object as they were given."""


def _text(given: dict[str, Any]) -> dict[str, Any]:
    form = dict(given.get("format") or {})
    form.setdefault("type", "text")
    if form["type"] == "json_schema":
        form = {"name": "output", "description": None, "strict": False} | {
            key: value for key, value in form.items() if value is not None
        }
    return {**given, "format": form}


def _known(value: str | None, words: tuple[str, ...]) -> str | None:
    """Return *value* where strict clients know it: words of single vendors are carried, but not echoed."""
    return value if value in words else None
