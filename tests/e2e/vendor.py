"""What a picky vendor refuses: the rules of chat/completions as strict servers apply them."""

from __future__ import annotations

import json
import re

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PARAMETERS = {
    *(
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "n",
        "stop",
        "seed",
        "user",
    ),
    *("stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens", "reasoning_effort"),
    *("verbosity", "store", "metadata", "service_tier", "prompt_cache_key", "safety_identifier", "presence_penalty"),
    *("frequency_penalty", "logprobs", "top_logprobs", "logit_bias"),
}
_MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
_PARTS = {"text": str, "image_url": dict, "input_audio": dict, "file": dict}
_OWN_HEADERS = {
    *("host", "connection", "content-type", "content-length", "accept", "accept-encoding", "user-agent"),
    *("authorization", "openai-organization", "openai-project", "x-openai-subagent", "x-codex-turn-state"),
}


def problems(body, headers, key):
    """Return what is illegal in a request, as texts; *key* is the only bearer token that may arrive, or ``None``."""
    found = [f"unknown parameter {name!r}" for name in body if name not in _PARAMETERS]
    found += [f"null parameter {name!r}" for name, value in body.items() if value is None]
    if not isinstance(body.get("model"), str) or not body["model"]:
        found.append("no model")
    if "stream_options" in body and body.get("stream") is not True:
        found.append("stream_options without stream")
    return found + _headers(headers, key) + _messages(body.get("messages")) + _tools(body)


def _headers(headers, key):
    found = [f"header {name!r}" for name in headers if name not in _OWN_HEADERS]
    if headers.get("authorization") != (f"Bearer {key}" if key else None):
        found.append("Authorization is not the daemon's")
    if headers.get("content-type", "").split(";")[0] != "application/json":
        found.append(f"content type {headers.get('content-type')!r}")
    return found


def _messages(messages):
    if not isinstance(messages, list) or not messages:
        return ["no messages"]
    found, waiting, used = [], [], set()
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        role = message.get("role")
        if role not in _MESSAGE_KEYS:
            found.append(f"{at}: role {role!r}")
            continue
        if role != "tool" and waiting:
            found.append(f"{at}: role {role} while {waiting} wait for their results")
            waiting = []
        found += [f"{at}: key {key!r}" for key in message.keys() - _MESSAGE_KEYS[role]]
        found += [f"{at}: {text}" for text in _content(role, message.get("content"))]
        if role == "assistant":
            calls = message.get("tool_calls")
            if calls is not None and not calls:
                found.append(f"{at}: empty tool_calls")
            if not calls and not message.get("content"):
                found.append(f"{at}: says nothing and calls nothing")
            for call in calls or []:
                found += [f"{at}: {text}" for text in _call(call, used)]
                used.add(call.get("id"))
                waiting.append(call.get("id"))
        if role == "tool":
            if message.get("tool_call_id") in waiting:
                waiting.remove(message["tool_call_id"])
            else:
                found.append(f"{at}: result of {message.get('tool_call_id')!r}, which waits for none")
    if waiting:
        found.append(f"{waiting} have no result")
    return found


def _content(role, content):
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        yield f"content {content!r}"
        return
    for part in content:
        kind = part.get("type")
        if not isinstance(part.get(kind), _PARTS.get(kind, ())):
            yield f"content part {json.dumps(part)[:80]}"
        elif kind != "text" and role != "user":
            yield f"{kind} in role {role}"
        elif kind == "image_url" and part[kind].get("detail", "auto") not in ("auto", "low", "high"):
            yield f"image detail {part[kind]['detail']!r}"
        if part.keys() - {"type", kind}:
            yield f"content part with {sorted(part)}"


def _call(call, used):
    function = call.get("function") or {}
    if (
        call.keys() != {"id", "type", "function"}
        or call["type"] != "function"
        or function.keys() != {"name", "arguments"}
    ):
        yield f"tool call {json.dumps(call)[:120]}"
        return
    if not isinstance(call["id"], str) or not call["id"]:
        yield "tool call without id"
    if call["id"] in used:
        yield f"tool call id {call['id']!r} twice"
    if not _NAME.fullmatch(function["name"]):
        yield f"tool call name {function['name']!r}"
    try:
        arguments = json.loads(function["arguments"])
    except (TypeError, ValueError):
        arguments = None
    if not isinstance(arguments, dict):
        yield f"tool call arguments {function['arguments']!r:.80}"


def _tools(body):
    tools, found = body.get("tools"), []
    if tools is None:
        return [f"{name} without tools" for name in ("tool_choice", "parallel_tool_calls") if name in body]
    if not tools:
        return ["tools is empty"]
    names = set()
    for tool in tools:
        function = tool.get("function") or {}
        name = function.get("name")
        if tool.keys() != {"type", "function"} or tool["type"] != "function":
            found.append(f"tool {json.dumps(tool)[:80]}")
        if function.keys() - {"name", "description", "parameters", "strict"}:
            found.append(f"tool {name}: keys {sorted(function)}")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            found.append(f"tool name {name!r}")
        if name in names:
            found.append(f"tool {name} twice")
        names.add(name)
        found += [f"tool {name}: {text}" for text in _schema(function.get("parameters"))]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        if choice.get("type") != "function" or choice.get("function", {}).get("name") not in names:
            found.append(f"tool_choice {choice!r}")
    elif choice not in ("auto", "none", "required"):
        found.append(f"tool_choice {choice!r}")
    return found


def _schema(parameters):
    if parameters is None:
        return
    if not isinstance(parameters, dict) or parameters.get("type") != "object" or "properties" not in parameters:
        yield "parameters are not an object with properties"
    for keyword in ('"encrypted"', '"defer_loading"', '"$schema"'):
        if keyword in json.dumps(parameters):
            yield f"schema keyword {keyword}"
