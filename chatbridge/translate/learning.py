"""What a refusal teaches: the upstream's error text → changes to its profile.

Vendors name the parameter that they refuse. The same request without it usually passes, and what was learned once holds
for that upstream and model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatbridge.vendors.profile import Profile

Changes = dict[str, Any]

LEARNABLE = frozenset({400, 404, 415, 422, 500, 501})
"""Statuses with which vendors refuse a parameter; a template that cannot take a message is a 500 (quirk E12)."""

# The parameter itself is refused, not its value.
_REFUSED = re.compile(
    r"(?i)unsupported|not (?:supported|permitted|allowed|implemented|recogni[sz]ed|available|accepted)"
    r"|(?:does|do) not support|doesn.t support|unknown|unrecogni[sz]ed|unexpected"
    r"|extra (?:inputs|fields|parameters)|cannot find field"
    r"|no such (?:field|parameter)|invalid (?:parameter|field|argument|property|key)|only allowed when|incompatible with"
)
_KEPT = frozenset({"model", "messages", "tools", "stream", "tool_choice", "response_format", "logprobs"})
_SYSTEM_FIRST = re.compile(r"(?i)system.{0,40}(?:first|beginning)|multiple system")
_DEVELOPER = re.compile(r"(?i)\bdeveloper\b")
_REPLAY_WANTED = re.compile(
    r"(?i)\b(reasoning_content|reasoning)\b.{0,60}(?:must be passed back|is missing|is required|missing in)"
    r"|missing.{0,40}\b(reasoning_content)\b"
)
_REPLAY_REFUSED = re.compile(
    r"(?i)messages\W.{0,60}\b(?:reasoning_content|reasoning_details|reasoning)\b"
    r"|\b(?:reasoning_content|reasoning_details)\b.{0,80}(?:unsupported|not (?:supported|permitted|allowed))"
    r"|(?:unsupported|unknown|extra|unexpected).{0,80}\b(?:reasoning_content|reasoning_details)\b"
)
_IMAGE = re.compile(
    r"(?i)image_url|image input|images? (?:are|is) not|(?:support|accept|process|read)\w* (?:\w+ )?(?:images?|vision)"
    r"|not (?:a )?(?:multimodal|vision)|no (?:vision|multimodal)|unknown variant `image_url`|text.only"
)
_TOOL_CHOICE = re.compile(r"(?i)\btool_choice\b")
_STRICT = re.compile(r"(?i)\bstrict\b")
_SIGNATURE = re.compile(r"(?i)missing a thought_signature|thought_signature")


def learn(text: str, body: Mapping[str, Any], profile: Profile) -> Changes:
    """Return the profile keys that would have avoided the refusal *text* of *body*, empty when nothing is learned.

    Only what the request really held counts, so the same refusal never teaches twice.
    """
    changes: Changes = {}
    _learn_messages(text, body, profile, changes)
    _learn_tools(text, body, profile, changes)
    _learn_limit(text, body, profile, changes)
    refused = _REFUSED.search(text) is not None
    named = [
        key for key in body if refused and key not in _KEPT and re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)
    ]
    for key in named:
        if key == "stream_options":
            changes["stream_options"] = False
        elif key == "parallel_tool_calls":
            changes["parallel_tool_calls"] = "never"
        elif key != profile.max_tokens_field and key.split(".")[0] not in ("max_tokens", "max_completion_tokens"):
            changes.setdefault("drop", profile.drop)
            changes["drop"] = (*changes["drop"], key)
    return changes


def _learn_messages(text: str, body: Mapping[str, Any], profile: Profile, changes: Changes) -> None:
    roles = [message["role"] for message in body["messages"]]
    if "developer" in roles and _DEVELOPER.search(text):
        changes["developer_role"] = "system"
    if profile.system_placement != "first" and _SYSTEM_FIRST.search(text):
        changes["system_placement"] = "first"
    wanted = _REPLAY_WANTED.search(text)
    if wanted:
        field = "reasoning_content" if "reasoning_content" in wanted[0] else "reasoning"
        # A space, because some take an empty text for a missing one.
        asked = {"replay": field, "replay_on": "all", "replay_placeholder": " "}
        if any(getattr(profile, key) != value for key, value in asked.items()):
            changes.update(asked)
    elif not wanted and profile.replay != "none" and _replayed(body) and _REPLAY_REFUSED.search(text):
        changes["replay"] = "none"
    if profile.images != "none" and _has_images(body) and _IMAGE.search(text):
        changes["images"] = "none"
    if not profile.signature_placeholder and "assistant" in roles and _SIGNATURE.search(text):
        changes["signature_placeholder"] = "skip_thought_signature_validator"


def _learn_tools(text: str, body: Mapping[str, Any], profile: Profile, changes: Changes) -> None:
    if "tool_choice" in body and _TOOL_CHOICE.search(text):
        changes["tool_choice"] = {"required": "omit", "named": "omit"}
    sent = any("strict" in tool.get("function", ()) for tool in body.get("tools") or ())
    if sent and profile.strict != "never" and _STRICT.search(text):
        changes["strict"] = "never"


def _learn_limit(text: str, body: Mapping[str, Any], profile: Profile, changes: Changes) -> None:
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[profile.max_tokens_field]
    if profile.max_tokens_field in body and re.search(rf"\b{profile.max_tokens_field}\b", text):
        unwanted = re.search(
            r"(?i)unsupported|not supported|not support|unknown|unrecognized|extra|permitted|use ", text
        )
        if unwanted or other in text:
            changes["max_tokens_field"] = other


def _replayed(body: Mapping[str, Any]) -> bool:
    keys = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_text")
    return any(key in message for message in body["messages"] for key in keys)


def _has_images(body: Mapping[str, Any]) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def profile_lines(changes: Changes) -> str:
    """Return *changes* as the TOML lines that would make them permanent."""
    return "; ".join(f"{key} = {_toml(value)}" for key, value in changes.items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(_toml(item) for item in value) + "]"
