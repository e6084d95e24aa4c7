"""A chat/completions request as a client wrote it → as the vendor takes it.

What a profile says of parameters, roles and tools is done here as it is for Responses requests. The messages are the
client's own business: their order, ids and reasoning stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from chatbridge.protocol.checks import Check, array, integer, missing, number, of, string, table, wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps, dumps_text
from chatbridge.translate.notes import Notes
from chatbridge.translate.request import fit_keys
from chatbridge.translate.schema import tool_parameters
from chatbridge.vendors.checks import EFFORTS
from chatbridge.vendors.profile import Profile

_LIMITS = ("max_tokens", "max_completion_tokens")
_FIELDS: Mapping[str, Check] = {
    "model": string(),
    "messages": array(table({"role": string()}, required=("role",))),
    "stream": of(bool),
    "stream_options": of(dict),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "max_tokens": integer(1),
    "max_completion_tokens": integer(1),
    "tools": array(table({"type": string(), "function": table({"name": string(), "parameters": of(dict)})})),
    "response_format": table({"type": string()}, required=("type",)),
    "reasoning_effort": string(),
    "metadata": of(dict),
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. *body* is the client's, and is not changed."""

    model: str
    body: Mapping[str, Any]

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    def get(self, name: str) -> Any:  # noqa: ARG002 - as of a Responses request
        """Return None: the fields of a Responses request are not here."""
        return None


@dataclass(slots=True)
class Adapted:
    """The request to send."""

    body: dict[str, Any]

    def forget_messages(self) -> None:
        """Keep only what is needed while the answer comes: nothing that is large."""
        self.body["messages"] = []

    def text(self) -> bytes:
        """Return it as JSON."""
        return dumps(self.body)

    def characters(self) -> int:
        """Return its length, for an estimate."""
        return len(dumps_text(self.body["messages"]))


def parse(value: Any) -> ChatRequest:
    """Check a decoded body. Raises :class:`ApiError` naming what is wrong."""
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.", code="invalid_type")
    for name, item in value.items():
        check = _FIELDS.get(name)
        if check is not None and item is not None:
            check(item, name)
    for name in ("model", "messages"):
        if not value.get(name):
            raise missing(name)
    return ChatRequest(value["model"], value)


def adapt(request: ChatRequest, profile: Profile, notes: Notes, **_: Any) -> Adapted:
    """Return *request* for the upstream and model that *profile* describes. Raises :class:`ApiError`."""
    body: dict[str, Any] = {**request.body, "model": request.model}
    _limit(body, profile)
    _tools(body, profile)
    _choice(body, profile, notes)
    _roles(body, profile)
    _format(body, profile, notes)
    effort = body.pop("reasoning_effort", None) if body.get("reasoning_effort") in EFFORTS else None
    if body.get("tools") and profile.effort_with_tools:
        body.pop("reasoning_effort", None)
        effort = profile.effort_with_tools
    fit_keys(body, profile, notes)
    if not profile.stream_options:
        body.pop("stream_options", None)
    asked = profile.reasoning(effort) if effort is not None else {}
    for more in (asked, profile.body, profile.body_with_tools if body.get("tools") else {}):
        for key, value in more.items():
            if profile.sends(key):
                body.setdefault(key, deepcopy(value))
    return Adapted(body)


def _limit(body: dict[str, Any], profile: Profile) -> None:
    given = [body.pop(name) for name in _LIMITS if name in body]
    limit = next((value for value in given if value is not None), profile.max_tokens)
    if limit:
        body[profile.max_tokens_field] = limit


def _tools(body: dict[str, Any], profile: Profile) -> None:
    tools = body.get("tools")
    if not tools:
        return
    if profile.max_tools and len(tools) > profile.max_tools:
        text = f"cannot be sent: {profile.label} takes at most {profile.max_tools} tools, these are {len(tools)}"
        raise wrong("tools", text, "array_above_max_length")
    body["tools"] = [_tool(tool, profile) for tool in tools]
    if profile.parallel_tool_calls == "never":
        body.pop("parallel_tool_calls", None)


def _tool(tool: dict[str, Any], profile: Profile) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    changed = dict(function)
    if profile.schema and isinstance(function.get("parameters"), dict):
        changed["parameters"] = tool_parameters(function["parameters"], profile.schema)
    if profile.strict == "never":
        changed.pop("strict", None)
    elif profile.strict == "always":
        changed.setdefault("strict", False)
    return {**tool, "function": changed}


def _choice(body: dict[str, Any], profile: Profile, notes: Notes) -> None:
    choice = body.get("tool_choice")
    kind = "named" if isinstance(choice, dict) else choice
    word = profile.tool_choice.get(kind) if isinstance(kind, str) else None
    if word is None:
        return
    if kind == "none":
        body.pop("tools", None)
    if word in ("auto", "omit"):
        del body["tool_choice"]
        notes.add(f"tool_choice:{kind}", f"tool_choice {kind!r}: this model cannot be forced")
        return
    body["tool_choice"] = word
    if kind == "named" and isinstance(choice, dict):
        # It can be made to call, but not told which: so it is offered only that one.
        name = (choice.get("function") or {}).get("name")
        body["tools"] = [tool for tool in body.get("tools") or () if (tool.get("function") or {}).get("name") == name]


def _roles(body: dict[str, Any], profile: Profile) -> None:
    role = profile.developer_role
    body["messages"] = [
        {**message, "role": role} if message["role"] == "developer" else message for message in body["messages"]
    ]


def _format(body: dict[str, Any], profile: Profile, notes: Notes) -> None:
    """A schema goes into the prompt where the vendor takes none."""
    form = body.get("response_format")
    if form is None or form["type"] == "text" or form["type"] in profile.response_formats:
        return
    del body["response_format"]
    notes.add("text.format", f"response_format {form['type']!r} goes into the prompt: the upstream takes none")
    if "json_object" in profile.response_formats:
        body["response_format"] = {"type": "json_object"}
    spec = form.get("json_schema")
    schema = spec.get("schema") if isinstance(spec, dict) else None
    text = "Answer with one JSON document and nothing else."
    if schema is not None:
        text += " It must match this JSON schema:\n" + dumps_text(schema)
    first, *rest = body["messages"]
    if first["role"] in ("system", "developer") and isinstance(first.get("content"), str):
        body["messages"] = [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    else:
        body["messages"] = [{"role": "system", "content": text}, first, *rest]
