"""Reasoning over the turns: what is kept of it, and how it goes back (quirks R06-R09, S33, S41)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chatbridge.translate.envelope import Envelope
from chatbridge.vendors.profile import Profile

Message = dict[str, Any]

# Of a detail, what comes in pieces; of all else the first counts, and of a signature the last.
_GROWING = ("text", "summary")


def merge_details(details: list[dict[str, Any]], pieces: Iterable[dict[str, Any]]) -> None:
    """Add streamed pieces of ``reasoning_details`` to *details*: those with one index and type are one detail."""
    for piece in pieces:
        known = _same_detail(details, piece)
        if known is None:
            details.append(dict(piece))
            continue
        for key, value in piece.items():
            if key in _GROWING and isinstance(value, str) and isinstance(known.get(key), str):
                known[key] += value
            elif value is not None and (known.get(key) is None or key == "signature"):
                known[key] = value


def _same_detail(details: list[dict[str, Any]], piece: dict[str, Any]) -> dict[str, Any] | None:
    index, kind = piece.get("index"), piece.get("type")
    for detail in reversed(details):
        if detail.get("type") == kind and detail.get("index") == index:
            whole = index is None and (kind not in ("reasoning.text", "reasoning.summary") or detail.get("signature"))
            return None if whole or (piece.get("data") and detail.get("data")) else detail
    return None


@dataclass(slots=True)
class Kept:
    """The reasoning of one assistant message, from the items that the client replayed."""

    texts: list[str] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join(text for text in self.texts if text)

    def details(self, vendor: str, model: str) -> list[dict[str, Any]]:
        """What is signed is of use only to the vendor and model that made it."""
        merged: list[dict[str, Any]] = []
        for envelope in self.envelopes:
            if (envelope.vendor, envelope.model) == (vendor, model):
                merge_details(merged, (detail for detail in envelope.details if isinstance(detail, dict)))
        return merged


def replay(messages: list[Message], kept: Mapping[int, Kept], profile: Profile, model: str) -> None:
    """Put earlier reasoning back on the assistant *messages*, as the vendor wants it.

    *kept* has it by the message's ``id()``.
    """
    if profile.replay == "none":
        return
    last_user = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if profile.replay_on == "calls" and "tool_calls" not in message:
            continue
        if profile.replay_on == "loop" and at < last_user:
            continue
        _put(message, kept.get(id(message), Kept()), profile, model)


def _put(message: Message, kept: Kept, profile: Profile, model: str) -> None:
    text = kept.text
    match profile.replay:
        case "reasoning_details":
            details = kept.details(profile.name, model)
            if details:
                message["reasoning_details"] = details
            elif text or profile.replay_placeholder is not None:
                message["reasoning"] = text or profile.replay_placeholder
        case "content_parts":
            if text:
                thinking = {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}
                content = message.get("content")
                message["content"] = [thinking, *([{"type": "text", "text": content}] if content else [])]
        case "think_tags":
            if text:
                message["content"] = f"<think>\n{text}\n</think>\n\n{message.get('content') or ''}"
        case name:
            if text or profile.replay_placeholder is not None:
                message[name] = text or profile.replay_placeholder


def sign_calls(messages: list[Message], extras: Mapping[str, Any], profile: Profile) -> None:
    """Put thought signatures back on the calls that they came with; *extras* has them by the call's id.

    The vendor signs the first call of a message; where that is lost its own word for it stands in (quirk R08).
    """
    for message in messages:
        for number, call in enumerate(message.get("tool_calls") or ()):
            extra = extras.get(call["id"])
            if extra is not None:
                call["extra_content"] = extra
            elif number == 0 and profile.signature_placeholder:
                call["extra_content"] = {"google": {"thought_signature": profile.signature_placeholder}}
