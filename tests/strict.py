"""Vendors as strict as they are known to be: each looks at a request body and finds what it would refuse.

Written from what the vendors' documents, errors and users say (docs/quirks.md), not from the profiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Body = dict[str, Any]
Message = dict[str, Any]

# Keys that all vendors take.
COMMON = {"model", "messages", "stream", "tools"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class RefusedError(AssertionError):
    """The vendor answers 400."""


def demand(what: Any, why: str) -> None:
    if not what:
        raise RefusedError(why)


def keys(body: Body, *more: str) -> None:
    """Unknown keys of the request are refused (R04)."""
    unknown = body.keys() - COMMON - set(more)
    demand(not unknown, f"unknown keys {unknown}")


def roles(body: Body, *allowed: str) -> None:
    for message in body["messages"]:
        demand(message["role"] in allowed, f"unknown variant `{message['role']}`")


def message_keys(body: Body, *more: str, result: tuple[str, ...] = (), content: bool = True) -> None:
    """Unknown keys of messages are refused; *more* are allowed on the assistant's, *result* on results."""
    allowed = {
        "system": {"role", "content"},
        "developer": {"role", "content"},
        "user": {"role", "content"},
        "assistant": {"role", "content", "tool_calls", *more},
        "tool": {"role", "content", "tool_call_id", *result},
    }
    for message in body["messages"]:
        demand(set(message) <= allowed[message["role"]], f"property of {message['role']} unsupported: {set(message)}")
        demand(not content or "content" in message, "content is missing")


def system_first(body: Body) -> None:
    places = [at for at, message in enumerate(body["messages"]) if message["role"] in ("system", "developer")]
    demand(places in ([], [0]), "System message must be at the beginning.")


def pairing(body: Body) -> None:
    """Each call is answered right behind its message, ids are unique, arguments are objects (R22, R23)."""
    waiting: list[str] = []
    seen: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            demand(waiting and message["tool_call_id"] in waiting, "tool call result does not follow tool call (2013)")
            waiting.remove(message["tool_call_id"])
            continue
        demand(not waiting, "tool_calls must be followed by tool messages")
        for call in message.get("tool_calls", []):
            demand(call["id"] and call["id"] not in seen, "duplicate id")
            seen.add(call["id"])
            demand(NAME.fullmatch(call["function"]["name"]), "function name")
            demand(
                isinstance(json.loads(call["function"]["arguments"]), dict), "invalid function arguments json string"
            )
        waiting = [call["id"] for call in message.get("tool_calls", [])]
    demand(not waiting, "tool_calls must be followed by tool messages")


def says_something(body: Body, *, null: bool = False) -> None:
    """An assistant message has text or calls; *null* content only where it is taken (R20)."""
    for message in body["messages"]:
        if message["role"] == "assistant":
            demand(message.get("content") or message.get("tool_calls"), "assistant message is empty")
            demand(null or message.get("content") is not None, "'NoneType' object is not iterable")
        else:
            demand(message.get("content") is not None, "content is missing")
        if message["role"] == "tool":
            demand(isinstance(message["content"], str), "tool content must be a string")


def parts(body: Body, *kinds: str) -> None:
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            for part in message["content"]:
                demand(part["type"] in kinds, f"unknown variant `{part['type']}`")
                demand(part["type"] != "image_url" or message["role"] == "user", "images are the user's only")


def ids(body: Body, pattern: str) -> None:
    for message in body["messages"]:
        for call_id in [call["id"] for call in message.get("tool_calls", [])] + [
            message.get("tool_call_id", "A1b2C3d4e")
        ]:
            demand(re.fullmatch(pattern, call_id), f"Tool call id was {call_id}")


def choice(body: Body, *words: str, named: bool = False) -> None:
    """``tool_choice`` comes with tools only, and with these values."""
    if "tool_choice" in body:
        demand(body.get("tools"), "tool_choice without tools")
        demand(body["tool_choice"] in words if isinstance(body["tool_choice"], str) else named, "tool_choice")


def functions(body: Body, *more: str) -> list[Message]:
    """Return the functions, after checking what all vendors want of them (R11, R13, R14)."""
    if "tools" not in body:
        return []
    demand(body["tools"], "tools is an empty array")
    found = [tool["function"] for tool in body["tools"]]
    demand(len({function["name"] for function in found}) == len(found), "duplicate function name")
    for tool in body["tools"]:
        demand(set(tool) == {"type", "function"}, "unknown key of a tool")
        function = tool["function"]
        demand(NAME.fullmatch(function["name"]), "function name")
        demand(set(function) <= {"name", "description", "parameters", *more}, f"unknown key in {set(function)}")
        demand(function["parameters"].get("type") == "object", "function parameters is empty (2013)")
        demand(isinstance(function["parameters"].get("properties"), dict), "properties")
    return found


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a schema."""
    if isinstance(node, list):
        for inner in node:
            yield from schemas(inner)
    elif isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key in ("properties", "$defs", "definitions", "patternProperties"):
                for inner in value.values():
                    yield from schemas(inner)
            elif key not in ("enum", "const", "default", "required"):
                yield from schemas(value)


def no_keyword(body: Body, *words: str) -> None:
    for function in functions(body, "strict"):
        for node in schemas(function["parameters"]):
            demand(not node.keys() & set(words), f"{node.keys() & set(words)} in a schema")


def alternate(body: Body) -> None:
    """user and assistant in turn behind the system message, the user last (R22)."""
    spoken = [message["role"] for message in body["messages"] if message["role"] != "system"]
    demand(
        spoken == ["user", "assistant"] * (len(spoken) // 2) + ["user"] * (len(spoken) % 2), "roles should alternate"
    )
    demand(spoken[-1] == "user", "last message must have role `user`")


def effort(body: Body, *words: str) -> None:
    if "reasoning_effort" in body:
        demand(body["reasoning_effort"] in words, f"reasoning_effort {body['reasoning_effort']!r}")


def everyone(body: Body) -> None:
    """What no vendor takes otherwise."""
    demand(body["stream"] is True, "stream")
    demand(body["messages"], "messages is empty")
    pairing(body)
    says_something(body, null=True)
    functions(body, "strict")
    for message in body["messages"]:
        content = message.get("content")
        demand(not isinstance(content, list) or any(part["type"] != "text" for part in content), "text in parts")
    if "max_tokens" in body:
        demand("max_completion_tokens" not in body, "both token limits")
    for key in (
        "store",
        "metadata",
        "include",
        "previous_response_id",
        "truncation",
        "client_metadata",
        "instructions",
    ):
        demand(key not in body, f"unknown key {key}")  # R27


# --- the vendors


def deepseek(body: Body) -> None:
    keys(
        body, "tool_choice", "max_tokens", "stream_options", "temperature", "top_p", "stop", "presence_penalty",
        "frequency_penalty", "response_format", "thinking", "reasoning_effort", "logit_bias",
    )  # fmt: skip
    roles(body, "system", "user", "assistant", "tool")
    system_first(body)
    says_something(body)
    message_keys(body, "reasoning_content")
    parts(body)  # text must be a string
    effort(body, "high", "max")
    functions(body)
    thinking = body.get("thinking", {}).get("type") != "disabled"
    choice(body, "auto", "none", *(() if thinking else ("required",)), named=not thinking)
    demand(body.get("response_format", {}).get("type") != "json_schema", "This response_format type is unavailable now")
    for message in body["messages"]:
        if thinking and message["role"] == "assistant":
            what = "The `reasoning_content` in the thinking mode must be passed back to the API."
            demand(isinstance(message.get("reasoning_content"), str), what)


def kimi(body: Body) -> None:
    keys(
        body, "tool_choice", "max_tokens", "stream_options", "stop", "response_format", "prompt_cache_key", "safety_identifier",
        "thinking", "reasoning_effort", "logit_bias", "logprobs", "top_logprobs",
    )  # fmt: skip
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body, "reasoning_content")
    parts(body, "text", "image_url")
    functions(body)
    choice(body, "auto", "none", *(("required",) if body["model"] == "kimi-k3" else ()))
    thinks = not re.match("kimi-k2-(0|turbo)", body["model"])
    for at, message in enumerate(body["messages"]):
        if thinks and message.get("tool_calls"):
            what = f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {at}"
            demand(message.get("reasoning_content"), what)
    for function in functions(body):
        for node in schemas(function["parameters"]):
            demand("$schema" not in node and "$ref" not in node, "moonshot flavored json schema")
            demand("type" not in node or "anyOf" not in node, "when using anyOf, type should be defined in anyOf items")
            demand(not isinstance(node.get("items"), list), "items must be an object")
            for inner in node.get("properties", {}).values():
                demand(isinstance(inner, dict), "property schema must be an object")
    demand(len(json.dumps(body)) <= 2097152, "total message size exceeds limit 2097152")


def zai(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body, "reasoning_content")
    choice(body, "auto")
    functions(body)
    demand("tools" not in body or body["tool_stream"] is True, "arguments would come in one piece")
    parts(body, *(() if re.fullmatch(r"glm-[\d.]+(-[a-z]+)?", body["model"]) else ("text", "image_url")))


def minimax(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    system_first(body)
    message_keys(body, "reasoning_details", "reasoning")
    functions(body)
    demand(body["reasoning_split"] is True, "reasoning would stand in the content")


def mistral(body: Body) -> None:
    keys(
        body, "tool_choice", "max_tokens", "temperature", "top_p", "stop", "response_format", "presence_penalty",
        "frequency_penalty", "random_seed", "parallel_tool_calls", "reasoning_effort",
    )  # fmt: skip
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body, result=("name",))
    ids(body, "[a-zA-Z0-9]{9}")
    functions(body, "strict")
    choice(body, "auto", "none", "any")
    effort(body, "none", "high")
    says_something(body)
    before = ""
    for message in body["messages"]:
        demand((before, message["role"]) != ("tool", "user"), "Unexpected role 'user' after role 'tool'")
        before = message["role"]
        for part in message["content"] if isinstance(message["content"], list) else ():
            allowed = ("text", "image_url") if message["role"] == "user" else ("text", "thinking")
            demand(part["type"] in allowed, part["type"])
            demand(part["type"] != "image_url" or isinstance(part["image_url"], str), "image_url must be a string")
    demand(before in ("user", "tool"), "Expected last role User or Tool")


def groq(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body, "reasoning")
    functions(body, "strict")
    choice(body, "auto", "none", *(() if "gpt-oss" in body["model"] else ("required",)), named=True)
    effort(body, "none", "low", "medium", "high")
    if "gpt-oss" in body["model"]:
        effort(body, "low", "medium", "high")
        parts(body)


def cerebras(body: Body) -> None:
    keys(
        body, "tool_choice", "max_completion_tokens", "stream_options", "temperature", "top_p", "stop", "seed", "response_format",
        "reasoning_effort", "reasoning_format", "prompt_cache_key", "logprobs", "top_logprobs",
    )  # fmt: skip
    roles(body, "system", "user", "assistant", "tool")
    says_something(body)
    message_keys(body, *(("reasoning",) if "gpt-oss" in body["model"] else ()))
    functions(body)
    effort(body, *(("low", "medium", "high") if "gpt-oss" in body["model"] else ("none",)))
    parts(body)


def xai(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body)
    functions(body)
    if not re.match(r"grok-(3-mini|4\.3|4\.5|4\.6|latest|4\.20-multi)", body["model"]):
        demand("reasoning_effort" not in body, "does not support parameter reasoningEffort")
    effort(body, "none", "low", "medium", "high")
    for key in ("presence_penalty", "frequency_penalty", "stop"):
        demand(key not in body, f"Argument not supported on this model: {key}")
    for function in functions(body):
        for node in schemas(function["parameters"]):
            demand(node.get("additionalProperties") is not False, "additionalProperties")


def gemini(body: Body) -> None:
    keys(
        body,
        "tool_choice",
        "max_tokens",
        "stream_options",
        "temperature",
        "top_p",
        "stop",
        "response_format",
        "reasoning_effort",
    )
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body)
    effort(body, "minimal", "low", "medium", "high")
    functions(body)
    choice(body, "auto", "none", "required", named=True)
    no_keyword(body, "$schema", "additionalProperties", "propertyNames", "$ref", "$defs")
    for function in functions(body):
        demand(re.match(r"[a-zA-Z_]", function["name"]), "name must start with a letter or an underscore")
        for node in schemas(function["parameters"]):
            demand(not isinstance(node.get("type"), list), "type must not be a list")
    for message in body["messages"]:
        for number, call in enumerate(message.get("tool_calls", [])):
            demand(set(call) <= {"id", "type", "function", "extra_content"}, "unknown key of a call")
            demand(re.match(r"[a-zA-Z_]", call["function"]["name"]), "name must start with a letter or an underscore")
            signed = call.get("extra_content", {}).get("google", {}).get("thought_signature")
            demand(number or signed, "Function call is missing a thought_signature in functionCall parts")


def openrouter(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body, "reasoning", "reasoning_content", "reasoning_details")
    functions(body, "strict")
    demand("reasoning_effort" not in body, "its dial is reasoning.effort")
    if body["model"].startswith("anthropic/"):
        ids(body, "[a-zA-Z0-9_-]{1,64}")
    if body["model"].startswith("mistralai/"):
        ids(body, "[a-zA-Z0-9]{9}")
    if "kimi" in body["model"]:
        for message in body["messages"]:
            thought = [message.get(key) for key in ("reasoning", "reasoning_content", "reasoning_details")]
            demand("tool_calls" not in message or any(thought), "reasoning_content is missing")
    if "deepseek-v4" in body["model"]:
        for message in body["messages"]:
            demand(message["role"] != "assistant" or "reasoning_content" in message, "must be passed back")


def openai(body: Body) -> None:
    keys(
        body, "tool_choice", "max_completion_tokens", "stream_options", "response_format", "parallel_tool_calls", "reasoning_effort",
        "verbosity", "service_tier", "prompt_cache_key", "safety_identifier", "user", "seed",
    )  # fmt: skip
    roles(body, "system", "developer", "user", "assistant", "tool")
    message_keys(body)
    ids(body, r".{1,40}")
    functions(body, "strict")
    demand(len(body.get("tools", [])) <= 128, "array_above_max_length")
    effort(body, "none", "minimal", "low", "medium", "high", "xhigh")
    for function in functions(body, "strict"):
        demand(not function["parameters"].keys() & {"anyOf", "oneOf", "allOf", "enum", "not"}, "not at the top level")
    parts(body, "text", "image_url")


def azure(body: Body) -> None:
    roles(body, "system", "developer", "user", "assistant", "tool")
    if body["model"].startswith("gpt"):
        ids(body, r".{1,40}")
        demand("max_tokens" not in body, "Unsupported parameter: 'max_tokens'")
    if body["model"].startswith("claude"):
        ids(body, r"[a-zA-Z0-9_-]{1,64}")


def ollama(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    demand("tool_choice" not in body, "its request has no tool_choice")
    message_keys(body, "reasoning")
    functions(body)
    for message in body["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else ():
            demand(part["type"] != "image_url" or part["image_url"]["url"].startswith("data:"), "invalid image input")


def perplexity(body: Body) -> None:
    demand(not body.keys() & {"tools", "tool_choice", "parallel_tool_calls", "stream_options"}, "no tools")
    roles(body, "system", "user", "assistant")
    message_keys(body)
    system_first(body)
    alternate(body)


def anthropic(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    message_keys(body)
    ids(body, "[a-zA-Z0-9_-]{1,64}")
    demand(body["max_tokens"] > 0, "max_tokens is required")
    demand(body["messages"][-1]["role"] != "assistant", "The conversation must end with a user message.")
    demand(functions(body) or not any("tool_calls" in message for message in body["messages"]), "must define tools")


def plain(body: Body) -> None:
    """Small gateways and local servers."""
    roles(body, "system", "user", "assistant", "tool")
    system_first(body)
    says_something(body)


def snowflake(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    functions(body)
    demand("max_tokens" not in body, "max_completion_tokens")


def siliconflow(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    functions(body)
    demand(body["max_tokens"] > 512, "the vendor's own limit is 512")
    demand(128 <= body.get("thinking_budget", 128) <= 32768, "thinking_budget")
    demand("reasoning_effort" not in body or "glm-5.2" in body["model"].lower(), "reasoning_effort")


def alibaba(body: Body) -> None:
    roles(body, "system", "user", "assistant", "tool")
    functions(body)
    no_keyword(body, "$ref", "$defs")
    demand("reasoning_effort" not in body or "qwen" not in body["model"], "reasoning_effort")


VENDORS: dict[str, Callable[[Body], None]] = {
    "deepseek": deepseek,
    "moonshot": kimi,
    "kimi-code": kimi,
    "zai": zai,
    "minimax": minimax,
    "mistral": mistral,
    "groq": groq,
    "cerebras": cerebras,
    "xai": xai,
    "gemini": gemini,
    "openrouter": openrouter,
    "openai": openai,
    "azure": azure,
    "ollama": ollama,
    "perplexity": perplexity,
    "anthropic-compat": anthropic,
    "snowflake": snowflake,
    "siliconflow": siliconflow,
    "alibaba": alibaba,
    "generic": plain,
    "vllm": plain,
    "sglang": plain,
    "llamacpp": plain,
    "lmstudio": plain,
    "together": plain,
    "nvidia": plain,
    "deepinfra": plain,
    "cohere": plain,
    "volcengine": plain,
    "stepfun": plain,
    "xiaomi": plain,
    "tencent": plain,
    "modelscope": plain,
    "baidu": plain,
    "huggingface": plain,
    "fireworks": plain,
    "vercel-gateway": plain,
}


def check(vendor: str, body: Body) -> None:
    """Raise :class:`RefusedError` for what *vendor* refuses."""
    everyone(body)
    VENDORS.get(vendor, lambda _: None)(body)
