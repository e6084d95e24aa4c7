"""A Responses request → the chat/completions request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.responses import FIELDS, ResponsesRequest, optional
from chatbridge.translate import compaction
from chatbridge.translate.calls import CallIds
from chatbridge.translate.history import build_history
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile

# Same name and meaning on both sides.
_CARRIED = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "user",
)
# Not Responses fields, but chat ones that clients send all the same.
_CHAT_ONLY = ("seed", "stop", "logit_bias")
# Answered by the bridge itself, or of no consequence for one answer.
_ANSWERED = frozenset({"include", "metadata", "store", "stream", "client_metadata", "stream_options", "background"})
_MAPPED = frozenset(
    {
        "model",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
        "max_output_tokens",
        "top_logprobs",
    }
)

_SCHEMA_KEYS = {"name": str, "description": str, "schema": dict, "strict": bool}


@dataclass(frozen=True, slots=True)
class Translation:
    """The chat request, and what the answer's translation needs to know of it."""

    body: dict[str, Any]
    tools: Tools
    call_ids: CallIds
    """The call ids that the history uses; those of the answer must differ."""
    compaction: bool
    """The answer is to be one compaction item."""

    def characters(self) -> int:
        """Return the length of the request's text, for an estimate of its tokens; images do not count."""
        tools = sum(len(str(tool)) for tool in self.tools.chat)
        return tools + sum(_characters(message) for message in self.body["messages"])


def translate_request(request: ResponsesRequest, profile: Profile, notes: Notes) -> Translation:
    """Translate a checked request. Raises :class:`ApiError` for input that no chat request can express."""
    items = request.input
    summarize = bool(items) and _type(items[-1]) == "compaction_trigger"
    tools = Tools(notes)
    tools.add(request.get("tools"), "tools")
    for index, item in enumerate(items):
        if _type(item) in ("additional_tools", "tool_search_output"):
            tools.add(item.get("tools"), f"input[{index}].tools")
    history = build_history(items[:-1] if summarize else items, request.get("instructions"), tools, profile, notes)
    if summarize:
        history.messages.append({"role": "user", "content": compaction.PROMPT})
    if not history.messages:
        raise ApiError(400, "input holds nothing that could be sent to the model.", param="input", code="invalid_value")
    body: dict[str, Any] = {"model": request.model, "messages": history.messages}
    if not summarize:
        _tools(body, request, tools)
        _text_format(body, request)
    _sampling(body, request, profile)
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    _note_rest(request, notes)
    return Translation(body, tools, history.call_ids, summarize)


def _tools(body: dict[str, Any], request: ResponsesRequest, tools: Tools) -> None:
    choice = tools.choice(request.get("tool_choice"))
    if not tools.chat:
        return  # tool_choice and parallel_tool_calls without tools are an error at many vendors (quirk R13)
    body["tools"] = tools.chat
    if choice is not None:
        body["tool_choice"] = choice
    if request.get("parallel_tool_calls") is False:
        # True is the default of chat/completions, and some vendors refuse the key (quirk R18).
        body["parallel_tool_calls"] = False


def _text_format(body: dict[str, Any], request: ResponsesRequest) -> None:
    form = optional(request.part("text", "format"), dict, "text.format") or {}
    match form.get("type"):
        case "json_schema":
            given = {key: optional(form.get(key), kind, f"text.format.{key}") for key, kind in _SCHEMA_KEYS.items()}
            schema = {key: value for key, value in given.items() if value is not None}
            schema.setdefault("name", "output")
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        case "json_object":
            body["response_format"] = {"type": "json_object"}
        case "text" | None:
            pass
        case kind:
            text = f"text.format.type must be text, json_object or json_schema, not {kind!r}."
            raise ApiError(400, text, param="text.format.type", code="invalid_value")
    verbosity = optional(request.part("text", "verbosity"), str, "text.verbosity")
    if verbosity is not None:
        body["verbosity"] = verbosity


def _sampling(body: dict[str, Any], request: ResponsesRequest, profile: Profile) -> None:
    for name in (*_CARRIED, *_CHAT_ONLY):
        value = request.get(name)
        if value is not None:
            body[name] = value
    limit = request.get("max_output_tokens")
    if limit is not None:
        body[profile.max_tokens_field] = limit
    effort = optional(request.part("reasoning", "effort"), str, "reasoning.effort")
    if effort is not None:
        body["reasoning_effort"] = profile.effort.get(effort, effort)
    if request.get("top_logprobs"):
        body["logprobs"] = True
        body["top_logprobs"] = request.get("top_logprobs")


def _note_rest(request: ResponsesRequest, notes: Notes) -> None:
    for name in request.fields.keys() - _MAPPED - _ANSWERED - set(_CARRIED) - set(_CHAT_ONLY):
        known = "has no counterpart in chat/completions" if name in FIELDS else "is not known"
        notes.add(f"field:{name}", f"request field {name!r} {known}: not carried")


def _type(item: Any) -> Any:
    return item.get("type") if isinstance(item, dict) else None


def _characters(message: dict[str, Any]) -> int:
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(str(part.get("text") or "") for part in content)
    calls = message.get("tool_calls") or ()
    return len(content) + sum(len(call["function"]["arguments"]) + len(call["function"]["name"]) for call in calls)
