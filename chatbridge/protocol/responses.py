"""The Responses API as values: the request, checked, and the Response object that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chatbridge.protocol.errors import ApiError

Check = tuple[str, Callable[[Any], bool]]

_STRING: Check = ("a string", lambda value: isinstance(value, str))
_BOOL: Check = ("a boolean", lambda value: isinstance(value, bool))
_NUMBER: Check = ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
_COUNT: Check = (
    "a positive integer",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
)
_NATURAL: Check = (
    "an integer of at least 0",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
)
_OBJECT: Check = ("an object", lambda value: isinstance(value, dict))
_ARRAY: Check = ("an array", lambda value: isinstance(value, list))
_CHOICE: Check = ("a string or an object", lambda value: isinstance(value, str | dict))

_KINDS = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}

FIELDS: Mapping[str, Check] = {
    "background": _BOOL,
    "client_metadata": _OBJECT,
    "conversation": _CHOICE,
    "frequency_penalty": _NUMBER,
    "include": _ARRAY,
    "instructions": _STRING,
    "max_output_tokens": _COUNT,
    "max_tool_calls": _COUNT,
    "metadata": _OBJECT,
    "model": _STRING,
    "parallel_tool_calls": _BOOL,
    "presence_penalty": _NUMBER,
    "previous_response_id": _STRING,
    "prompt": _OBJECT,
    "prompt_cache_key": _STRING,
    "prompt_cache_retention": _STRING,
    "reasoning": _OBJECT,
    "safety_identifier": _STRING,
    "service_tier": _STRING,
    "store": _BOOL,
    "stream": _BOOL,
    "stream_options": _OBJECT,
    "temperature": _NUMBER,
    "text": _OBJECT,
    "tool_choice": _CHOICE,
    "tools": _ARRAY,
    "top_logprobs": _NATURAL,
    "top_p": _NUMBER,
    "truncation": _STRING,
    "user": _STRING,
}
"""The request's fields beside ``input``, and what each must be. null counts as absent."""


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A checked request. *fields* holds what was given, without nulls and without ``input``."""

    model: str
    input: list[Any]
    stream: bool
    fields: dict[str, Any] = field(repr=False)
    stored: bool = False
    """The answer will be stored."""

    def continued(self, items: list[Any], previous: str) -> ResponsesRequest:
        """Return the request with *items*, the conversation up to the response *previous*, before its own input."""
        fields = {**self.fields, "previous_response_id": previous}
        return replace(self, input=[*items, *self.input], fields=fields)

    def get(self, name: str) -> Any:
        """Return the field *name*, or None when it was not given."""
        return self.fields.get(name)

    def part(self, name: str, key: str) -> Any:
        """Return *key* of the object field *name*, or None."""
        return (self.fields.get(name) or {}).get(key)


def parse_request(value: Any) -> ResponsesRequest:
    """Check a decoded body. Raises :class:`ApiError` (400, or 404 for an unknown response id) naming the field."""
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.", code="invalid_type")
    fields = {key: item for key, item in value.items() if item is not None and key != "input"}
    for name, item in fields.items():
        check = FIELDS.get(name)
        if check is not None and not check[1](item):
            raise ApiError(400, f"{name} must be {check[0]}.", param=name, code="invalid_type")
    if not fields.get("model"):
        raise ApiError(400, "Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    _refuse(fields)
    return ResponsesRequest(fields["model"], _input(value.get("input"), fields), fields.get("stream", False), fields)


def optional(value: Any, kind: type, path: str) -> Any:
    """Return *value*, None included; raises :class:`ApiError` naming *path* when it is not of *kind*, a JSON type."""
    if value is None or isinstance(value, kind):
        return value
    raise ApiError(400, f"{path} must be {_KINDS[kind]}.", param=path, code="invalid_type")


def _input(value: Any, fields: dict[str, Any]) -> list[Any]:
    if isinstance(value, str):
        value = [{"type": "message", "role": "user", "content": value}]
    if value is None and fields.get("instructions"):
        value = []
    if value is None:
        raise ApiError(400, "Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    if not isinstance(value, list):
        raise ApiError(400, "input must be a string or an array of items.", param="input", code="invalid_type")
    if not value and not fields.get("instructions"):
        raise ApiError(400, "input must not be empty.", param="input", code="empty_array")
    return value


def _refuse(fields: dict[str, Any]) -> None:
    """What would change the answer and cannot be done is refused, never ignored."""
    if (previous := fields.get("previous_response_id")) is not None:
        text = f"Previous response with id {previous!r} not found: chatbridge keeps no responses. Send the whole input."
        raise ApiError(404, text, param="previous_response_id", code="previous_response_not_found")
    for name in ("conversation", "prompt"):
        if name in fields:
            text = f"{name} is not supported by chatbridge. Send the whole input."
            raise ApiError(400, text, param=name, code="unsupported_parameter")
    if fields.get("background"):
        raise ApiError(
            400, "background is not supported by chatbridge.", param="background", code="unsupported_parameter"
        )


def response_object(
    request: ResponsesRequest, tools: list[dict[str, Any]], response_id: str, created_at: int
) -> dict[str, Any]:
    """Return the Response object as it is at the start: in progress, without output.

    Every key that any strict client demands is there: null only where the specification and all SDKs allow it.
    *tools* are the function tools, normalised: any other kind makes strict clients reject the whole response.
    """
    get = request.get
    text = dict(get("text") or {})
    text["format"] = text.get("format") or {"type": "text"}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": get("instructions"),
        "max_output_tokens": get("max_output_tokens"),
        "max_tool_calls": get("max_tool_calls"),
        "model": request.model,
        "output": [],
        "parallel_tool_calls": get("parallel_tool_calls") is not False,
        "previous_response_id": get("previous_response_id"),
        "prompt_cache_key": get("prompt_cache_key"),
        "reasoning": {"effort": request.part("reasoning", "effort"), "summary": request.part("reasoning", "summary")},
        "safety_identifier": get("safety_identifier"),
        "service_tier": get("service_tier") or "default",
        "store": request.stored,
        "temperature": _or(get("temperature"), 1.0),
        "text": text,
        "tool_choice": get("tool_choice") or "auto",
        "tools": tools,
        "top_logprobs": _or(get("top_logprobs"), 0),
        "top_p": _or(get("top_p"), 1.0),
        "presence_penalty": _or(get("presence_penalty"), 0.0),
        "frequency_penalty": _or(get("frequency_penalty"), 0.0),
        "truncation": get("truncation") or "disabled",
        "usage": None,
        "user": get("user"),
        "metadata": get("metadata") or {},
    }


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
