"""Reasoning over the turns: what is kept of it, and how it goes back (quirks R06-R09, S33, S41)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chatbridge.translate.envelope import Envelope
from chatbridge.vendors.profile import Profile

Message = dict[str, Any]
Detail = dict[str, Any]

# Of a detail, what comes in pieces; of all else the first counts, and of a signature the last.
_GROWING = ("text", "summary")
_SURE = 16
"""A text of so many characters that the next piece repeats is one of which all comes each time, not a chance."""


def merge_details(pieces: Iterable[Detail]) -> list[Detail]:
    """Join streamed pieces of ``reasoning_details``, in order: those with one index, type and id are one detail."""
    merging: list[_Merging] = []
    for piece in pieces:
        known = next((detail for detail in reversed(merging) if detail.may_hold(piece)), None)
        if (
            known is not None
            and (piece.get("index") is not None or known is merging[-1])
            and not known.ends_before(piece)
        ):
            known.add(piece)
        else:
            merging.append(_Merging(piece))
    return [detail.whole() for detail in merging]


class _Merging:
    """One detail, as its pieces come."""

    def __init__(self, piece: Detail) -> None:
        self._detail: Detail = {}
        self._texts: dict[str, list[str]] = {}
        self.add(piece)

    def add(self, piece: Detail) -> None:
        for key, value in piece.items():
            if key in _GROWING and isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
                self._detail.setdefault(key, "")
            elif self._detail.get(key) in (None, "") or (key == "signature" and value):
                self._detail[key] = value

    def may_hold(self, piece: Detail) -> bool:
        detail, ids = self._detail, (self._detail.get("id"), piece.get("id"))
        same_id = ids[0] == ids[1] or not all(ids)
        return same_id and all(detail.get(key) == piece.get(key) for key in ("index", "type"))

    def ends_before(self, piece: Detail) -> bool:
        """Whether this one is whole, so that *piece* begins another."""
        if piece.get("data") and self._detail.get("data"):
            return bool(piece["data"] != self._detail["data"])
        if not self._detail.get("signature"):
            return False
        return any(piece.get(key) and not str(piece[key]).startswith(self._last(key) or "\0") for key in _GROWING)

    def _last(self, key: str) -> str:
        return next((text for text in reversed(self._texts.get(key, [])) if text), "")

    def whole(self) -> Detail:
        return {**self._detail, **{key: _joined(texts) for key, texts in self._texts.items()}}


def _joined(texts: list[str]) -> str:
    """The whole of a text in pieces. Some vendors send all of it so far with each piece (quirk S35)."""
    texts = [text for text in texts if text]
    growing = all(later.startswith(earlier) for earlier, later in pairwise(texts))
    if growing and len(texts) > 1 and len(texts[0]) < len(texts[-1]) and (len(texts) > 2 or len(texts[0]) >= _SURE):
        return texts[-1]
    return "".join(texts)


def signature(extra: Any) -> str:
    """Return the thought signature in an ``extra_content``, or nothing."""
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) else ""


@dataclass(slots=True)
class Kept:
    """The reasoning of one assistant message, from the items that the client replayed."""

    texts: list[str] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join(text for text in self.texts if text)

    def details(self, vendor: str, model: str) -> list[Detail]:
        """What is signed is of use only to the vendor and model that made it."""
        answers: dict[str, list[Detail]] = {}
        for envelope in self._of(vendor, model):
            pieces = answers.setdefault(envelope.answer, [])
            pieces += [detail for detail in envelope.details if isinstance(detail, dict)]
        return [detail for pieces in answers.values() for detail in merge_details(pieces)]

    def signature(self, vendor: str, model: str) -> str:
        """The signature of the message itself, which stands for its first call's (quirk S41)."""
        return next((found for envelope in self._of(vendor, model) if (found := signature(envelope.extra))), "")

    def _of(self, vendor: str, model: str) -> list[Envelope]:
        return [envelope for envelope in self.envelopes if (envelope.vendor, envelope.model) == (vendor, model)]


def replay(messages: list[Message], kept: Mapping[int, Kept], profile: Profile, model: str, *, loop: int = 0) -> None:
    """Put earlier reasoning back on the assistant *messages*, as the vendor wants it.

    *kept* has it by the message's ``id()``; the messages since the user spoke last begin at *loop*.
    """
    if profile.replay == "none":
        return
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if profile.replay_on == "calls" and "tool_calls" not in message:
            continue
        if profile.replay_on == "loop" and at < loop:
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


def sign_calls(
    messages: list[Message], extras: Mapping[str, Any], kept: Mapping[int, Kept], profile: Profile, model: str
) -> None:
    """Put thought signatures back on the calls that they came with; *extras* has them by the call's id.

    The vendor signs the first call of a message, or the message; where that is lost its own word for it stands in
    (quirk R08).
    """
    for message in messages:
        for number, call in enumerate(message.get("tool_calls") or ()):
            extra = extras.get(call["id"])
            if extra is None and number == 0:
                found = kept.get(id(message), Kept()).signature(profile.name, model) or profile.signature_placeholder
                extra = {"google": {"thought_signature": found}} if found else None
            if extra is not None:
                call["extra_content"] = extra
