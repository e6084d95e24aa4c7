"""What the practice upstream says: a chat/completions request in, a scripted answer out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatbridge.practice.instance import instance

COMMAND = 'echo "hello from chatbridge practice"'
"""The one command that the practice upstream asks a client to run."""

_ASKS_FOR_TOOL = re.compile(
    r"(?i)\btools?\b|\bshell\b|\bterminal\b|\b(run|execute)\b.*\bcommands?\b|\blist\b.*\bfiles?\b"
)
_ASKS_FOR_SUMMARY = re.compile(r"(?i)CONTEXT CHECKPOINT|\bcompact(ion)?\b|\bhand-?off summary\b|replaced by a summary")
_SHELL_NAMES = ("exec_command", "shell", "shell_command", "bash", "run_command", "execute_command", "terminal")
_QUOTE = 120
_RESULT = 600

_NEXT = """\
To talk to a real model, stop chatbridge and start it again with one of these:

- OPENAI_API_KEY=... for OpenAI
- CHATBRIDGE_UPSTREAM_URL=... (or --upstream-url) for any other chat/completions server;
  its key goes into OPENAI_API_KEY"""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; *arguments* is JSON text."""

    id: str
    name: str
    arguments: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One answer, which can be told whole or in chunks."""

    model: str
    text: str
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    prompt_tokens: int = 0

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.calls else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """Token counts, estimated from the characters."""
        said = self.text + self.reasoning + "".join(call.arguments for call in self.calls)
        completion = _tokens(said)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }

    def completion(self, ident: str, created: int) -> dict[str, Any]:
        """Return the whole answer as a ``chat.completion``; *created* is seconds since 1970."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "reasoning_content": self.reasoning}
        if self.calls:
            message["tool_calls"] = [call.wire() for call in self.calls]
        return {
            "id": ident,
            "object": "chat.completion",
            "created": created,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": self.usage,
        }

    def chunks(self, ident: str, created: int, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the answer as ``chat.completion.chunk`` objects; *created* is seconds since 1970."""
        head = {"id": ident, "object": "chat.completion.chunk", "created": created, "model": self.model}
        for delta in self._deltas():
            yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish_reason}]}
        if include_usage:
            yield head | {"choices": [], "usage": self.usage}

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": ""}
        for piece in _pieces(self.reasoning):
            yield {"reasoning_content": piece}
        for piece in _pieces(self.text):
            yield {"content": piece}
        for index, call in enumerate(self.calls):
            start = call.wire()
            start["function"]["arguments"] = ""
            yield {"tool_calls": [{"index": index} | start]}
            for piece in _pieces(call.arguments):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def answer(body: dict[str, Any]) -> Script:
    """Return what the practice upstream says to the chat/completions request *body*.

    Only ``model`` and ``messages`` must be there; whatever else is of an unexpected shape is passed over.
    """
    result = _tool_result(body)
    text, calls = "", tuple[Call, ...]()
    if result is not None:
        text = _after_tool(result)
    elif call := _call(body):
        text, calls = "You asked for a tool call, so here is one.", (call,)
    elif (structured := _structured(body)) is not None:
        text = structured
    elif not _functions(body) and _ASKS_FOR_SUMMARY.search(_last_user_text(body)):
        text = "Summary by the practice upstream: the conversation so far was practice, nothing is left to do."
    else:
        text = _greeting(body)
    return Script(
        model=str(body.get("model", "")),
        text=text,
        reasoning="This is practice: the answer is scripted.",
        calls=calls,
        prompt_tokens=_tokens(json.dumps(body, ensure_ascii=False)),
    )


def _greeting(body: dict[str, Any]) -> str:
    functions = _functions(body)
    messages = _messages(body)
    lines = [
        "This is the built-in practice upstream of chatbridge. No model is behind it,",
        "but your request came all the way through. It contained:",
        "",
        f"- model: {body.get('model')}",
        f"- messages: {len(messages)}",
        f"- tools: {len(functions)}" + (f" ({_names(functions)})" if functions else ""),
        f"- your words: {_quoted(_last_user_text(body))}",
        "",
    ]
    if functions:
        lines += ['To see a tool call, say "use a tool".', ""]
    return "\n".join([*lines, _NEXT])


def _after_tool(result: str) -> str:
    shown = result.strip()
    shown = shown if len(shown) <= _RESULT else shown[:_RESULT] + "..."
    return f"The tool call worked. Its result was:\n\n{shown}\n\nThis was the practice upstream of chatbridge. {_NEXT}"


def _structured(body: dict[str, Any]) -> str | None:
    """Return JSON text when the request wants JSON, else ``None``."""
    wanted = body.get("response_format")
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return json.dumps(instance(schema), ensure_ascii=False)
        case {"type": "json_object"}:
            return json.dumps({"message": "This is the built-in practice upstream of chatbridge."})
    return None


def _call(body: dict[str, Any]) -> Call | None:
    """Return the tool call that the request asks for, if it asks for one and offers a tool."""
    functions = _functions(body)
    choice = body.get("tool_choice", "auto")
    match choice:
        case "none":
            return None
        case {"type": "function", "function": {"name": str(name)}}:
            functions = [f for f in functions if f["name"] == name]
        case "required":
            pass
        case _ if not _ASKS_FOR_TOOL.search(_last_user_text(body)):
            return None
    if not functions:
        return None
    name, arguments = _shell_call(functions) or _code_call(functions) or _first_call(functions)
    made = sum(len(_list(m.get("tool_calls"))) for m in _messages(body))
    return Call(id=f"call_practice_{made + 1}", name=name, arguments=json.dumps(arguments, ensure_ascii=False))


def _shell_call(functions: list[dict[str, Any]]) -> tuple[str, Any] | None:
    """Call the function that takes a command, those with a usual name first."""
    for function in sorted(functions, key=lambda f: _short(f["name"]) not in _SHELL_NAMES):
        properties = _properties(function)
        for key in ("cmd", "command"):
            kind = properties[key].get("type") if isinstance(properties.get(key), dict) else None
            if kind in ("string", "array"):
                value = ["sh", "-c", COMMAND] if kind == "array" else COMMAND
                return function["name"], _arguments(function) | {key: value}
    return None


def _code_call(functions: list[dict[str, Any]]) -> tuple[str, Any] | None:
    """Call Codex's code mode: a function ``exec`` whose one argument is JavaScript."""
    for function in functions:
        properties = _properties(function)
        if _short(function["name"]) == "exec" and len(properties) == 1:
            script = f"text((await tools.exec_command({{cmd: {json.dumps(COMMAND)}}})).output)"
            return function["name"], dict.fromkeys(properties, script)
    return None


def _first_call(functions: list[dict[str, Any]]) -> tuple[str, Any]:
    return functions[0]["name"], _arguments(functions[0])


def _arguments(function: dict[str, Any]) -> dict[str, Any]:
    made = instance(function.get("parameters"))
    return made if isinstance(made, dict) else {}


def _tool_result(body: dict[str, Any]) -> str | None:
    """Return the results that came after the last user message, or ``None`` without any."""
    results = []
    for message in reversed(_messages(body)):
        if message.get("role") == "user":
            break
        if message.get("role") == "tool":
            results.append(_text(message.get("content")))
    return "\n".join(reversed(results)) if results else None


def _last_user_text(body: dict[str, Any]) -> str:
    return next((_text(m.get("content")) for m in reversed(_messages(body)) if m.get("role") == "user"), "")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in _list(content) if isinstance(part, dict)]
    return "\n".join(text for text in parts if isinstance(text, str))


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [message for message in _list(body.get("messages")) if isinstance(message, dict)]


def _functions(body: dict[str, Any]) -> list[dict[str, Any]]:
    offered = [tool.get("function") for tool in _list(body.get("tools")) if isinstance(tool, dict)]
    return [f for f in offered if isinstance(f, dict) and isinstance(f.get("name"), str)]


def _properties(function: dict[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return properties if isinstance(properties, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _short(name: str) -> str:
    """Return a name without the namespace before it."""
    return name.rsplit("__", 1)[-1]


def _names(functions: list[dict[str, Any]]) -> str:
    names = [function["name"] for function in functions]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return json.dumps(line if len(line) <= _QUOTE else line[:_QUOTE] + "...", ensure_ascii=False)


def _pieces(text: str) -> list[str]:
    """Cut *text* into words, as a model would say it; together they are the text."""
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text)


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4
