"""A Responses request → the chat/completions request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.fields import FIELDS, LOGPROBS
from chatbridge.protocol.kept import list_text, object_text
from chatbridge.protocol.responses import ResponsesRequest
from chatbridge.translate import compaction, structured, truncation
from chatbridge.translate.calls import CallIds
from chatbridge.translate.history import build_history
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import Tools
from chatbridge.translate.usage import CHARACTERS_PER_TOKEN
from chatbridge.vendors.profile import Profile

# Same name and meaning on both sides.
_CARRIED = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
    # Not Responses fields, but chat ones that clients send all the same.
    "seed",
    "stop",
    "logit_bias",
)
# Answered by the bridge itself, or of no consequence for one answer.
_ANSWERED = frozenset(
    {
        "include",
        "metadata",
        "store",
        "stream",
        "client_metadata",
        "stream_options",
        "background",
        "background_options",
        "access_programs",
        "context_management",
        "conversation",
        "image",
        "max_tool_calls",
        "moderation",
        "previous_response_id",
        "truncation",
    }
)
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
_SAME = frozenset(_CARRIED)
_KNOWN = _ANSWERED | _MAPPED | _SAME

_WITH_TOOLS = ("additional_tools", "tool_search_output")
# Answered: the envelope is always there, and log probabilities are asked for.
_INCLUDED = frozenset({"reasoning.encrypted_content", LOGPROBS})


@dataclass(slots=True)
class Translation:
    """The chat request, and what the answer's translation needs to know of it."""

    body: dict[str, Any]
    tools: Tools
    call_ids: CallIds
    """The call ids that the history uses; those of the answer must differ."""
    compaction: bool
    """The answer is to be one compaction item."""
    vendor: str = "generic"
    """The profile's name, for what only this vendor understands."""
    context_window: int = 0
    """Tokens; 0 is not known."""
    think_tags: str = "start"
    """Where think tags in the content are reasoning, as the profile says."""
    schema: Mapping[str, Any] | None = None
    """What the answer's text must match."""
    overflow: tuple[str, ...] = ()
    """The vendor's own words for a context overflow."""
    read_markup: bool = False
    """Tool calls may come as text, and are read there."""
    told: int | None = None
    """The length of the request's text, where its messages are gone."""

    def forget_messages(self) -> None:
        """Keep only what is needed while the answer comes: the messages are large, and answers are long."""
        self.told = self.characters()
        self.body["messages"] = []

    def text(self) -> bytes:
        """Return the body as JSON; the tools in it are written already."""
        tools = self.body.get("tools")
        return object_text(self.body, {"tools": list_text(tools)} if tools else {})

    def characters(self) -> int:
        """Return the length of the request's text, for an estimate of its tokens; images do not count."""
        if self.told is not None:
            return self.told
        found = self.tools.characters()
        for message in self.body["messages"]:
            content = message.get("content")
            if isinstance(content, str):
                found += len(content)
            elif content:
                found += sum(len(str(part.get("text") or "")) for part in content)
            if "tool_calls" in message:
                for call in message["tool_calls"]:
                    found += len(call["function"]["arguments"]) + len(call["function"]["name"])
        return found


def translate_request(
    request: ResponsesRequest,
    profile: Profile,
    notes: Notes,
    *,
    offer_tools: bool = True,
    vendor_search: bool = False,
    budget: int = 0,
) -> Translation:
    """Translate a checked request for the upstream and model that *profile* describes.

    *offer_tools* False leaves the tools out, for a request that wants text only; *vendor_search* lets the vendor search
    the web for a request that offers the hosted tool; *budget* is how many tokens the messages and tools may have
    before the oldest turns go, 0 is no limit. Raises :class:`ApiError` for input
    that no chat request can express, or that the vendor is known to refuse.
    """
    items, fields = request.input, request.fields
    place: Callable[[int], str] = request.place
    summarize = bool(items) and _type(items[-1]) == "compaction_trigger"
    tools = Tools(notes, profile, vendor_search=vendor_search)
    tools.add(fields.get("tools"), "tools")
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("type") in _WITH_TOOLS:
            tools.add(item.get("tools"), f"{place(index)}.tools")
    form = structured.Format() if summarize else structured.text_format(request, profile, notes)
    instructions = fields.get("instructions") or ""
    if form.instruction:
        instructions = f"{instructions}\n\n{form.instruction}" if instructions else form.instruction
    if budget:
        items, place = _truncated(request, budget, len(instructions) + tools.characters(), notes)
    if summarize:
        items = [*items[:-1], {"type": "message", "role": "user", "content": compaction.PROMPT}]
    history = build_history(items, instructions, tools, profile, notes, model=request.model, place=place)
    if not history.messages:
        raise ApiError(400, "input holds nothing that could be sent to the model.", param="input", code="invalid_value")
    body: dict[str, Any] = {"model": request.model, "messages": history.messages}
    if offer_tools and not summarize:
        _tools(body, request, tools, profile)
    if profile.tools_for_calls and "tools" not in body:
        _name_tools(body)
    if tools.search and offer_tools and not summarize and fields.get("tool_choice") != "none":
        _search(body, profile.search)
        if "max_tool_calls" in fields:
            notes.add("field:max_tool_calls", "max_tool_calls: the vendor's own searches are not counted")
    if form.response_format is not None:
        body["response_format"] = form.response_format
    _sampling(body, request)
    _limit(body, request, profile)
    _shape(body, request, profile, notes)
    _note_rest(request, notes)
    return Translation(
        body,
        tools,
        history.call_ids,
        summarize,
        vendor=profile.name,
        context_window=profile.context_window,
        think_tags=profile.think_tags,
        overflow=profile.overflow,
        schema=form.schema,
        read_markup=profile.tool_markup == "calls" and "tools" in body,
    )


def _truncated(
    request: ResponsesRequest, budget: int, fixed: int, notes: Notes
) -> tuple[list[Any], Callable[[int], str]]:
    """Return the items that fit into *budget* tokens beside *fixed* characters, and what gives their paths."""
    kept = truncation.kept(request.input, budget * CHARACTERS_PER_TOKEN - fixed)
    gone = len(request.input) - len(kept)
    if gone:
        notes.add("truncation", f"truncation: the oldest turns, {gone} items, left out to fit the context window")
    return [request.input[index] for index in kept], lambda at: request.place(kept[at])


def _tools(body: dict[str, Any], request: ResponsesRequest, tools: Tools, profile: Profile) -> None:
    choice = tools.choice(request.get("tool_choice"))
    if not tools.chat:
        return  # tool_choice and parallel_tool_calls without tools are an error at many vendors (quirk R13)
    if profile.max_tools and len(tools.chat) > profile.max_tools:
        text = f"{profile.label} takes at most {profile.max_tools} tools, this request has {len(tools.chat)}."
        raise ApiError(400, text, param="tools", code="array_above_max_length")
    body["tools"] = tools.chat
    if choice is not None:
        body["tool_choice"] = choice
    parallel = request.get("parallel_tool_calls") is not False
    if profile.parallel_tool_calls == "always" or (profile.parallel_tool_calls == "false" and not parallel):
        # True is the default of chat/completions, and some vendors refuse the key (quirk R18).
        body["parallel_tool_calls"] = parallel


def _name_tools(body: dict[str, Any]) -> None:
    """Declare the tools that the history calls, for a vendor that refuses calls of others (quirk R13)."""
    calls = (call for message in body["messages"] for call in message.get("tool_calls") or ())
    names = dict.fromkeys(call["function"]["name"] for call in calls)
    told = {"description": "Not available now. Do not call it.", "parameters": {"type": "object", "properties": {}}}
    if names:
        body["tools"] = [{"type": "function", "function": {"name": name, **told}} for name in names]


def _search(body: dict[str, Any], search: Mapping[str, Any]) -> None:
    """Ask for the vendor's web search, in the words of its profile."""
    _merge(body, search.get("body", {}))
    if search.get("tools"):
        body["tools"] = [*body.get("tools", ()), *deepcopy(search["tools"])]


def _sampling(body: dict[str, Any], request: ResponsesRequest) -> None:
    fields = request.fields
    if not _SAME.isdisjoint(fields):
        for name in _CARRIED:
            if name in fields:
                body[name] = fields[name]
    if "text" in fields and (verbosity := fields["text"].get("verbosity")) is not None:
        body["verbosity"] = verbosity
    if request.logprobs:
        body["logprobs"] = True
    if fields.get("top_logprobs"):
        body["top_logprobs"] = fields["top_logprobs"]


def _limit(body: dict[str, Any], request: ResponsesRequest, profile: Profile) -> None:
    limit = request.fields.get("max_output_tokens") or profile.max_tokens
    if limit:
        body[profile.max_tokens_field] = limit


def fit_keys(body: dict[str, Any], profile: Profile, notes: Notes) -> None:
    """Take out of *body* what the vendor refuses, noting each key, and give others the names that they have there."""
    for key in profile.unsent(body):
        del body[key]
        notes.add(f"drop:{key}", f"{key!r}: {profile.label} does not take it")
    for key, name in profile.rename.items():
        if key in body:
            body[name] = body.pop(key)


def _shape(body: dict[str, Any], request: ResponsesRequest, profile: Profile, notes: Notes) -> None:
    """Take out what the vendor refuses, put in what it wants."""
    fit_keys(body, profile, notes)
    effort = request.part("reasoning", "effort")
    if "tools" in body and profile.effort_with_tools:
        if effort not in (None, profile.effort_with_tools):
            notes.add("effort:tools", "the effort: this model takes none together with tools")
        effort = profile.effort_with_tools
    if effort is not None:
        _merge(body, profile.reasoning(effort), profile)
    if profile.body:
        _merge(body, profile.body, profile)
    if profile.body_with_tools and "tools" in body:
        _merge(body, profile.body_with_tools, profile)
    body["stream"] = True
    if profile.stream_options:
        body["stream_options"] = {"include_usage": True}


def _merge(body: dict[str, Any], more: Mapping[str, Any], profile: Profile | None = None) -> None:
    """Add *more* to *body*, object into object; what the request says itself stays, what *profile* refuses goes."""
    for key, value in more.items():
        if profile is not None and not profile.sends(key):
            continue
        if isinstance(value, Mapping) and isinstance(body.get(key), dict):
            _merge(body[key], value)
        elif key not in body:
            body[key] = deepcopy(value)


def _note_rest(request: ResponsesRequest, notes: Notes) -> None:
    fields = request.fields
    if not _KNOWN.issuperset(fields):
        for name in fields.keys() - _KNOWN:
            known = "has no counterpart in chat/completions" if name in FIELDS else "is not known"
            notes.add(f"field:{name}", f"request field {name!r} {known}")
    for what in fields.get("include", ()):
        if what not in _INCLUDED:
            notes.add(f"include:{what}", f"include {what!r}: no tool here gives any")
    if "reasoning" in fields and fields["reasoning"].get("mode") not in (None, "standard"):
        notes.add("field:reasoning.mode", "request field 'reasoning.mode' has no counterpart in chat/completions")


def _type(item: Any) -> Any:
    return item.get("type") if isinstance(item, dict) else None
