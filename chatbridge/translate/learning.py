"""What a refusal teaches: the upstream's error → changes to its profile.

Vendors name what they refuse. The same request without it usually passes, and what was learned once holds for that
upstream and model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chatbridge.protocol.failure import Failure
from chatbridge.protocol.jsontext import dumps_text
from chatbridge.translate.refusal import named, refused, refuses, without_echo, without_quotes
from chatbridge.vendors.checks import EFFORTS
from chatbridge.vendors.profile import Profile

Changes = dict[str, Any]
Body = Mapping[str, Any]

LEARNABLE = frozenset({400, 404, 415, 422, 500, 501})
"""Statuses with which vendors refuse a parameter; a template that cannot take a message is a 500 (quirk E12)."""

_KEPT = frozenset({"model", "messages", "tools", "stream", "tool_choice", "response_format", "max_tokens"})
"""Never left out; some of them are asked for in another way."""
_SAID = 1_000_000
"""Characters of the conversation in which a refusal's quotations are looked for."""
_TWINS = {"logprobs": "top_logprobs", "top_logprobs": "logprobs"}
"""One makes no sense without the other."""


def learn(failure: Failure, body: Body, profile: Profile) -> Changes:
    """Return the profile keys that would have avoided the refusal of *body*, empty when nothing is learned.

    Only what the request really held counts, so the same refusal never teaches twice; and what the vendor quotes of the
    conversation does not.
    """
    text = failure.message
    if _lessons(text, failure.param, body, profile):
        text = without_quotes(text, _said(body))
    changes = _lessons(text, failure.param, body, profile)
    return {key: value for key, value in changes.items() if getattr(profile, key) != value}


def _lessons(text: str, param: str, body: Body, profile: Profile) -> Changes:
    changes: Changes = {}
    # Some name the parameter only beside their text.
    said = f"{param}: {text}" if param and param not in text else text
    for lesson in _LESSONS:
        changes.update(lesson(said, body, profile))
    asking = set() if changes.keys().isdisjoint(_ASKING) else _asking(profile)
    sent = {name: key for key, name in profile.rename.items()}
    for key in named(text, [key for key in body if key not in _KEPT | asking], param):
        if key == "stream_options":
            changes["stream_options"] = False
        elif key == "parallel_tool_calls":
            changes["parallel_tool_calls"] = "never"
        elif key != profile.max_tokens_field:
            dropped = changes.get("drop", profile.drop)
            keys = [name for name in (sent.get(key, key), _TWINS.get(key)) if name is not None and name not in dropped]
            changes["drop"] = (*dropped, *keys)
    return changes


def _said(body: Body) -> str:
    """The end of what the conversation says: enough to find what is quoted of it."""
    texts: list[str] = []
    for message in body["messages"]:
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
        texts += [text for text in parts if isinstance(text, str)]
        texts += [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
    texts += [str(tool["function"].get("description") or "") for tool in body.get("tools") or () if "function" in tool]
    # As the failure's text is: on one line.
    return " ".join(" ".join(texts)[-_SAID:].split())


def learn_limit(failure: Failure, body: Body, profile: Profile) -> Changes:
    """Return what a refusal of the profile's own token limit teaches: with it even a short conversation is too long."""
    own = profile.max_tokens and body.get(profile.max_tokens_field) == profile.max_tokens
    return {"max_tokens": 0} if own and _TOO_MUCH.search(failure.message) else {}


_TOO_MUCH = re.compile(
    r"(?i)max_(?:completion_|new_)?tokens\b.{0,80}?(?:too large|exceed|at most|less than|maximum|must be|[<>])"
    r"|\b(?:maximum|exceeds?)\b.{0,80}max_(?:completion_)?tokens|in the completion"
)


# --- messages

_DEVELOPER = re.compile(
    r"(?i)['\"`]developer['\"`]|developer (?:role|message)|role\W.{0,40}\bdeveloper\b|\bdeveloper is not"
    r"|unexpected message role|(?:invalid|unsupported|unknown) (?:message )?role\b|incorrect role|角色信息不正确"
    r"|\broles?\b(?!.{0,200}\bdeveloper\b).{0,40}(?:must|should) be (?:one of|in\b)?.{0,20}\b(?:system|user)\b"
)
_NO_SYSTEM = re.compile(
    r"(?i)system (?:role|messages?) (?:is |are )?not supported|(?:support|accept)\w* system (?:role|messages?)"
    r"|role\W.{0,60}(?:not support|unsupported)\w* ['\"`]system"
)
_SYSTEM_FIRST = re.compile(r"(?i)system.{0,40}(?:first|beginning)|multiple system|(?:only|at most) one system")
_ALTERNATE = re.compile(
    r"(?i)roles? must alternate|should alternate with assistant|should be alternating|alternating (?:roles|user)"
)
_NO_USER = re.compile(r"(?i)unexpected role ['\"`]?user['\"`]? after (?:role )?['\"`]?tool")
_USER_LAST = re.compile(
    r"(?i)must end with a user|last (?:message|role).{0,40}\b(?:user|tool)\b|(?:message|response) prefill|prefilling"
)


def _roles(text: str, body: Body, profile: Profile) -> Changes:
    roles = [message["role"] for message in body["messages"]]
    changes: Changes = {}
    if "developer" in roles and _DEVELOPER.search(text):
        changes["developer_role"] = "system"
    elif "system" in roles and _NO_SYSTEM.search(text):
        changes["system_placement"] = "user"
    elif profile.system_placement == "anywhere" and _SYSTEM_FIRST.search(text):
        changes["system_placement"] = "first"
    if _ALTERNATE.search(text):
        changes.update(alternate=True, user_after_results=False)
    if _NO_USER.search(text):
        changes["user_after_results"] = False
    if roles[-1] == "assistant" and _USER_LAST.search(text):
        changes["assistant_last"] = False
    return changes


_REPLAY_WANTED = re.compile(
    r"(?i)(?:\breasoning_content\b|['\"`]reasoning['\"`]).{0,60}"
    r"(?:must be (?:passed|sent)|is missing|is required|missing in)|missing.{0,40}\breasoning_content\b"
)
_FIELDS = r"(?:reasoning_content|reasoning_details|reasoning_text|reasoning)"
_REPLAY_REFUSED = re.compile(
    rf"(?i)messages\W.{{0,80}}\b{_FIELDS}\b|\breasoning_(?:content|details|text)\b.{{0,80}}(?:unsupported|not )"
    r"|(?:unsupported|unknown|unrecogni[sz]ed|extra|unexpected).{0,80}\breasoning_(?:content|details|text)\b"
)
_THINKING_PART = re.compile(r"(?i)['\"`]thinking['\"`]|think(?:ing)? chunk")


def _replay(text: str, body: Body, profile: Profile) -> Changes:
    wanted = _REPLAY_WANTED.search(text)
    if wanted and any(message["role"] == "assistant" for message in body["messages"]):
        field = "reasoning_content" if "reasoning_content" in wanted[0] else "reasoning"
        # A space, because some take an empty text for a missing one.
        return {"replay": field, "replay_on": "all", "replay_placeholder": " "}
    if profile.replay == "content_parts":
        return {"replay": "none"} if _THINKING_PART.search(text) and _has_part(body, "thinking") else {}
    refusal = profile.replay != "none" and _replayed(body) and _REPLAY_REFUSED.search(text)
    return {"replay": "none"} if refusal and refused(text) else {}


_IMAGE = re.compile(
    r"(?i)image_url|image (?:inputs?|content)|images? (?:are|is) not|(?:support|accept|process|read|handl)\w* (?:\w+ )?"
    r"(?:images?|vision)|vision (?:is )?not|not (?:a |an )?(?:multi-?modal|vision|vlm)|no (?:vision|multi-?modal)"
    r"|text.only|at most 0 image|mmproj|(?:item|content) type"
    r"|content.{0,60}(?:(?:must|should) be a (?:valid )?string|expected (?:a )?string|of type string)"
    r"|invalid type: sequence, expected a string|untagged enum Message"
)
# One image is wrong, not all.
_BAD_IMAGE = re.compile(
    r"(?i)invalid image|unsupported image(?! input)"
    r"|image.{0,30}(?:format|size|too|download|decod|fetch|corrupt|dimension|pixel)"
    r"|(?:download|fetch|decod|load|process)\w* (?:the |an? )?image\b|expected.{0,80}image_url"
    r"|base64|mime|at most [1-9]\d* image|got (?:null|None)"
)


def _images(text: str, body: Body, profile: Profile) -> Changes:  # noqa: ARG001
    text = without_echo(text)
    known = _has_part(body, "image_url") and _IMAGE.search(text) and not _BAD_IMAGE.search(text)
    return {"images": "none"} if known else {}


_UNSIGNED = re.compile(r"(?i)missing a? ?thought.?signature")
_NAMELESS = re.compile(
    r"(?i)function_response\.name|name (?:field )?is (?:required|missing).{0,40}\btool\b"
    r"|required\W{1,3}messages\W{1,3}\d+\W{1,3}(?:tool\W{1,3})?name\b"
)
_EMPTY = re.compile(r"(?i)content\w*.{0,40}(?:non-?empty|(?:cannot|can't|must not|may not) be empty|is empty)")
_NULL = re.compile(r"(?i)content.{0,60}(?:\bnull\b|\bnil\b|\bNone\b)|'NoneType'")


def _shapes(text: str, body: Body, profile: Profile) -> Changes:
    calls = any("tool_calls" in message for message in body["messages"])
    if not calls:
        return {}
    changes: Changes = {}
    if not profile.signature_placeholder and _UNSIGNED.search(text):
        changes["signature_placeholder"] = "skip_thought_signature_validator"
    if _NAMELESS.search(text):
        changes["name_in_results"] = True
    if profile.calls_content == "empty" and _EMPTY.search(text):
        changes["calls_content"] = "null"
    elif profile.calls_content != "empty" and _NULL.search(text):
        changes["calls_content"] = "empty"
    for form, words in _IDS.items():
        if words.search(text):
            changes["call_id"] = form
    return changes


_IDS = {
    "40": re.compile(r"(?i)(?:\bid\b|call_id).{0,80}maximum length(?: of)? 40\b"),
    "word": re.compile(r"(?i)(?:\bid\b|tool_use_id|call_id).{0,60}\^?\[a-zA-Z0-9_-\]"),
    "alnum9": re.compile(r"(?i)\bid\b.{0,160}length of 9\b|\[a-zA-Z0-9\]\{9\}"),
}


# --- tools

_CHOICE = re.compile(
    r"(?i)tool.?choice.{0,100}(?:incompatible|must be|only|not |n't|unsupported|不支持|['\"`]any['\"`])"
    r"|(?:support|accept|allow|unsupported|unrecogni[sz]ed|unknown|extra).{0,60}tool.?choice"
)
_NO_CHOICE = re.compile(
    r"(?i)not found|does not exist|requires? --|not in (?:the )?['\"`]?tools|must be (?:specified|set)"
)
_STRICT = re.compile(r"(?i)\bstrict\b")
_TOOLS_WANTED = re.compile(
    r"(?i)without .{0,3}tools=|toolConfig field must be defined|must define tools"
    r"|requires? tools? (?:to be )?(?:defined|declared)"
)
_KEYWORD = re.compile(r"['\"`.](\$schema|additionalProperties|propertyNames|pattern|format|minItems)(?!\w)")
_ROOT = re.compile(r"(?i)(?:oneOf|anyOf|allOf).{0,80}(?:top level|top-level|\broot\b)")
_MOONSHOT = (
    "inline_refs",
    "drop:$schema",
    "tuple_to_prefix_items",
    "booleans_to_objects",
    "object_root",
    "push_type_into_any_of",
)


def _tools(text: str, body: Body, profile: Profile) -> Changes:
    changes: Changes = {}
    choice, tools = body.get("tool_choice"), body.get("tools") or ()
    if choice is not None and _CHOICE.search(text) and not _NO_CHOICE.search(text):
        word = "any" if choice != "any" and re.search(r"['\"`]any['\"`]", text) else "omit"
        sent = ("none",) if choice == "none" else ("required", "named")
        changes["tool_choice"] = {**profile.tool_choice, **dict.fromkeys(sent, word)}
    if any("strict" in tool.get("function", ()) for tool in tools) and (refused(text) and _STRICT.search(text)):
        changes["strict"] = "never"
    if not tools and _TOOLS_WANTED.search(text) and any("tool_calls" in message for message in body["messages"]):
        changes["tools_for_calls"] = True
    steps = profile.schema
    if tools and re.search(r"(?i)tools|function|parameters|schema", text):
        if "moonshot flavored" in text:
            steps = (*steps, *(step for step in _MOONSHOT if step not in steps))
        elif _ROOT.search(text):
            steps = (*steps, "object_root")
        elif refused(text) and "response_format" not in text:
            steps = (*steps, *(f"drop:{word}" for word in dict.fromkeys(_KEYWORD.findall(text))))
    return {**changes, "schema": tuple(dict.fromkeys(steps))}


# --- parameters


def _limit(text: str, body: Body, profile: Profile) -> Changes:
    field = profile.max_tokens_field
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[field]
    if field not in body:
        return {}
    instead = re.search(rf"(?i)\b{field}\b.*\b(?:use|try)\b.{{0,20}}\b{other}\b", text)
    return {"max_tokens_field": other} if instead or refuses(text, field) else {}


_FORMAT = re.compile(r"(?i)response.?format|json_schema|json_object|json mode|structured output")
_NO_FORMAT = re.compile(r"(?i)unavailable|(?:must|should) be|enabled only|only (?:enabled|available)")
_FORMATS_ALLOWED = re.compile(r"(?i)(?:must|should) be (?:one of )?((?:['\"`]\w+['\"`](?:, ?| ?\bor ?| ?\band ?)*)+)")
_WRONG_SCHEMA = re.compile(r"(?i)invalid.{0,5}schema|must contain the word")


def _formats(text: str, body: Body, profile: Profile) -> Changes:
    kind = (body.get("response_format") or {}).get("type", "")
    if not kind or not _FORMAT.search(text) or _WRONG_SCHEMA.search(text):
        return {}
    words = re.findall(r"json_(?:schema|object)", text)
    others = _FORMATS_ALLOWED.search(text)
    if others is not None and "json_" in others[1]:
        if kind in others[1]:
            return {}
    elif (words and kind not in words) or not (refused(text) or _NO_FORMAT.search(text)):
        return {}
    return {"response_formats": tuple(form for form in profile.response_formats if form != kind)}


_ASKING = ("effort_field", "efforts", "thinking_off", "thinking_on")
_EFFORT = re.compile(r"(?i)\beffort|reasoning.?effort|think(?:ing)? (?:value|level)|\breasoning\.effort")
_LEVELS = (
    re.compile(r"(?i).*\bsupported (?:values|efforts|levels|options)\b(.*)"),
    re.compile(r"(?i).*\b(?:one of|should be|must be|allowed|expected|valid|accepts?|supports)\b(.*)"),
)
_NO_THINKING = re.compile(
    r"(?i)(?:not|n't) support (?:thinking|reasoning)\b(?![_ -]?effort)"
    r"|thinking (?:mode )?is not (?:supported|available|enabled)"
    r"|think value .{0,20}not supported|reasoning is not (?:supported|available|enabled)"
)
_ALWAYS_THINKING = re.compile(
    r"(?i)(?:reasoning|thinking).{0,60}(?:is mandatory|can(?:not|'t) be (?:disabled|turned off)|must be enabled)"
    r"|disabled['\"`]? is (?:not|an error)|only supports? thinking|(?:cannot|can't) disable (?:thinking|reasoning)"
)
_NONE_WITH_TOOLS = re.compile(r"(?i)tools.{0,200}set reasoning_effort to ['\"`]none")


def _thinking(text: str, body: Body, profile: Profile) -> Changes:
    if body.get("tools") and _NONE_WITH_TOOLS.search(text):
        # Also where the request names no effort: the model's own default is refused, too.
        return {
            "effort_field": "reasoning_effort",
            "efforts": tuple(dict.fromkeys(("none", *profile.efforts))),
            "effort_with_tools": "none",
            "drop": tuple(key for key in profile.drop if key != "reasoning_effort"),
        }
    if body.keys().isdisjoint(_asking(profile)):
        return {}
    sent = _sent_effort(body, profile)
    off = sent == "none" or any(body.get(key) == value for key, value in profile.thinking_off.items())
    if off and _ALWAYS_THINKING.search(text):
        return {"thinking_off": {}, **_efforts(profile, tuple(word for word in profile.efforts if word != "none"))}
    if _NO_THINKING.search(text):
        return {"effort_field": "", "thinking_on": {}, "thinking_off": {}}
    if sent is None or not _EFFORT.search(text):
        return {}
    text = without_echo(text)
    for levels in _LEVELS:
        listed = levels.search(text)
        known = tuple(word for word in EFFORTS if listed and re.search(rf"(?<![\w-]){word}(?![\w-])", listed[1]))
        if known and sent not in known:
            return _efforts(profile, known)
    if re.search(rf"['\"`]{sent}['\"`]", text) and refused(text) and len(profile.efforts) > 1:
        return _efforts(profile, tuple(word for word in profile.efforts if word != sent))
    return {}


def _efforts(profile: Profile, known: tuple[str, ...]) -> Changes:
    kept = {
        word: value for word, value in profile.effort.items() if not isinstance(value, str) or value in ("", *known)
    }
    return {"efforts": known, "effort": kept}


def _asking(profile: Profile) -> set[str]:
    """The request's keys that ask for reasoning."""
    return {profile.effort_field.split(".")[0], *profile.thinking_on, *profile.thinking_off} - {""}


def _sent_effort(body: Body, profile: Profile) -> str | None:
    value: Any = body
    for name in profile.effort_field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


_LESSONS: tuple[Callable[[str, Body, Profile], Changes], ...] = (
    _roles,
    _replay,
    _images,
    _shapes,
    _tools,
    _limit,
    _formats,
    _thinking,
)


def _replayed(body: Body) -> bool:
    keys = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_text")
    return any(key in message for message in body["messages"] for key in keys)


def _has_part(body: Body, kind: str) -> bool:
    return any(
        part.get("type") == kind
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


# --- what the log says


def profile_line(model: str, changes: Mapping[str, Any]) -> str:
    """Return the line of TOML that makes *changes* permanent for *model*.

    It goes under ``[upstreams.NAME.profile_keys]`` in the configuration file, or to the head of a profile's file.
    """
    glob = re.sub(r"([*?[])", r"[\1]", model).replace("|", "?")
    keys = ", ".join(f"{key} = {_toml(value)}" for key, value in changes.items())
    return f"models.{_toml(glob)} = {{ {keys} }}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return dumps_text(value).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(_toml(item) for item in value) + "]"
