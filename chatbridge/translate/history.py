"""Entries → chat messages: in order, repaired on every request, nothing lost.

Vendors refuse a history for good over one unanswered call, one result out of place or one broken argument string
(quirks R20-R23). So calls are joined into one assistant message, their results follow right behind, results without
a call become user text, calls without a result get one that says so, ids are made unique on both sides.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from chatbridge.translate.calls import CallIds
from chatbridge.translate.entries import Call, Entry, EntryReader, Output, Reasoning, Text
from chatbridge.translate.notes import Notes
from chatbridge.translate.parts import Part, content, split, text_part
from chatbridge.translate.reasoning import Kept, replay, sign_calls
from chatbridge.translate.tools import Tools
from chatbridge.vendors.profile import Profile

Message = dict[str, Any]

UNANSWERED = "[no result: the call was not carried out]"
SEE_NEXT = "[image: see the next user message]"
NO_IMAGES = "[image left out: this model takes text only]"
ACKNOWLEDGED = "Done."
"""Stands between results and user text where the vendor wants an assistant message there."""
GO_ON = "Go on."
"""Stands at the end where the vendor answers to the user only, and the user did not speak last."""

_ALNUM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class History:
    """The messages, and the call ids in them, which the answer's calls must not repeat."""

    messages: list[Message]
    call_ids: CallIds


def build_history(
    items: list[Any],
    instructions: str | None,
    tools: Tools,
    profile: Profile,
    notes: Notes,
    *,
    model: str = "",
    place: Callable[[int], str] = "input[{}]".format,
) -> History:
    """Return the chat messages for *items*. Raises :class:`ApiError` with the path of a malformed item.

    *place* gives the path of the item at an index.
    """
    entries: list[Entry] = []
    if instructions:
        entries.append(Text("developer", [text_part(instructions)]))
    reader = EntryReader(tools, notes, profile)
    for index, item in enumerate(items):
        entries += reader.read(item, place(index))
    return _Messages(profile, model, notes).build(entries)


class _Messages:
    """Entries → messages."""

    def __init__(self, profile: Profile, model: str, notes: Notes) -> None:
        self._profile = profile
        self._model = model
        self._notes = notes
        self._messages: list[Message] = []
        self._call_ids = CallIds()
        self._sent_ids: set[str] = set()
        self._kept: dict[int, Kept] = {}
        self._extras: dict[str, Any] = {}
        self._signed: dict[str, Any] = {}
        self._loop = 0

    def build(self, entries: list[Entry]) -> History:
        _pair(entries)
        self._signed = _signatures(entries, self._profile.name, self._model)
        turn: dict[Text | Call | Reasoning, None] = {}
        for entry in entries:
            if isinstance(entry, Call | Reasoning) or (isinstance(entry, Text) and entry.role == "assistant"):
                turn[entry] = None
                continue
            if isinstance(entry, Output) and entry.call is not None and entry.call not in turn:
                continue  # it stands behind its call, which is in another turn
            self._assistant(turn)
            turn = {}
            if isinstance(entry, Text):
                self._text(entry)
            elif entry.call is None:
                self._orphan(entry)
        self._assistant(turn)
        return History(self._shaped(), self._call_ids)

    # --- one assistant's turn

    def _assistant(self, turn: Iterable[Text | Call | Reasoning]) -> None:
        texts, others = split([part for entry in turn if isinstance(entry, Text) for part in entry.parts])
        message: Message = {"role": "assistant", "content": "\n\n".join(texts)}
        calls = [entry for entry in turn if isinstance(entry, Call)]
        if calls:
            others = self._calls(message, calls) + others
        elif texts:
            self._messages.append(message)
        if calls or texts:
            self._keep(message, [entry for entry in turn if isinstance(entry, Reasoning)])
        if others:
            # These messages carry text only (quirk R21); the user message comes after the whole run of results.
            self._messages.append({"role": "user", "content": self._images(others)})

    def _keep(self, message: Message, reasonings: list[Reasoning]) -> None:
        if reasonings:
            kept = self._kept[id(message)] = Kept()
            for reasoning in reasonings:
                kept.texts.append(reasoning.text)
                if reasoning.envelope is not None:
                    kept.envelopes.append(reasoning.envelope)

    def _calls(self, message: Message, calls: list[Call]) -> list[Part]:
        """Add the message with its calls and their results; return what of the results is not text."""
        ids = [self._sent_id(call.id) for call in calls]
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call_id, call in zip(ids, calls, strict=True)
        ]
        if not message["content"] and self._profile.calls_content != "empty":
            message["content"] = None
            if self._profile.calls_content == "omit":
                del message["content"]
        self._messages.append(message)
        images: list[Part] = []
        for call_id, call in zip(ids, calls, strict=True):
            if call.id in self._signed:
                self._extras[call_id] = self._signed[call.id]
            images += self._result(call_id, call)
        return images

    def _result(self, call_id: str, call: Call) -> list[Part]:
        parts = [text_part(UNANSWERED)] if call.output is None else call.output.parts
        if self._profile.images == "none":
            parts = self._images(parts)
        others = split(parts)[1]
        text = "\n".join(part["text"] if part["type"] == "text" else SEE_NEXT for part in parts)
        result: Message = {"role": "tool", "tool_call_id": call_id}
        if self._profile.name_in_results:
            result["name"] = call.name
        self._messages.append({**result, "content": text})
        if not others:
            return []
        return [text_part(f"From the result of call {call_id} ({call.name}):"), *others]

    # --- what others say

    def _orphan(self, output: Output) -> None:
        self._text(Text("user", [text_part(f"[result of an earlier tool call, {output.id}]"), *output.parts]))

    def _text(self, entry: Text) -> None:
        if entry.role not in ("developer", "system"):
            self._loop = len(self._messages)
            self._messages.append({"role": entry.role, "content": content(self._images(entry.parts))})
            return
        texts, others = split(entry.parts)
        if texts:
            role = self._profile.developer_role if entry.role == "developer" else "system"
            self._messages.append({"role": role, "content": "\n".join(texts)})
        if others:
            self._messages.append({"role": "user", "content": content(self._images(others))})

    def _images(self, parts: list[Part]) -> list[Part]:
        """Shape images as the vendor takes them, or leave a note in their place (quirk R20)."""
        if self._profile.images == "object":
            return parts
        return [self._image(part) if part["type"] == "image_url" else self._other(part) for part in parts]

    def _other(self, part: Part) -> Part:
        if part["type"] == "text" or self._profile.images != "none":
            return part
        self._note_images()
        return text_part(f"[{part['type']} left out: this model takes text only]")

    def _image(self, part: Part) -> Part:
        url = part["image_url"]["url"]
        if self._profile.images == "string":
            return {"type": "image_url", "image_url": url}
        if self._profile.images == "data" and url.startswith("data:"):
            return part
        self._note_images()
        return text_part(NO_IMAGES)

    def _note_images(self) -> None:
        self._notes.add("images", "images replaced by a note: this model takes none, or not in this form")

    # --- ids

    def _sent_id(self, call_id: str) -> str:
        """Return the id to send. Unique among those of the client, and then in the vendor's form (quirk R10)."""
        unique = self._call_ids.unique(call_id)
        sent, tries = _shaped_id(unique, self._profile.call_id), 0
        while sent in self._sent_ids:
            tries += 1
            sent = _shaped_id(f"{unique}#{tries}", self._profile.call_id)
        self._sent_ids.add(sent)
        return sent

    # --- the vendor's order

    def _shaped(self) -> list[Message]:
        profile = self._profile
        replay(self._messages, self._kept, profile, self._model, loop=self._loop)
        sign_calls(self._messages, self._extras, self._kept, profile, self._model)
        messages = self._lead(self._messages)
        if "tools" in profile.drop:
            messages = [_told(message) for message in messages]
        if not profile.user_after_results:
            messages = list(_acknowledge(messages))
        if profile.alternate:
            messages = _alternate(messages)
        if not profile.assistant_last and messages and messages[-1]["role"] not in ("user", "tool"):
            messages = [*messages, {"role": "user", "content": GO_ON}]
        return messages

    def _lead(self, messages: list[Message]) -> list[Message]:
        """Put system text where the vendor takes it."""
        if self._profile.system_placement == "anywhere":
            return messages
        if self._profile.system_placement == "user":
            return [_as_user(message) if _is_system(message) else message for message in messages]
        first = next((at for at, message in enumerate(messages) if not _is_system(message)), len(messages))
        texts = [message["content"] for message in messages[:first]]
        lead = [{"role": messages[0]["role"], "content": "\n\n".join(texts)}] if texts else []
        return lead + [_as_user(message) if _is_system(message) else message for message in messages[first:]]


def _pair(entries: list[Entry]) -> None:
    """Give each call its result: of several with one id, the first result to the first call, and so on."""
    outputs: dict[str, deque[Output]] = {}
    for entry in entries:
        if isinstance(entry, Output):
            outputs.setdefault(entry.id, deque()).append(entry)
    for entry in entries:
        if isinstance(entry, Call) and outputs.get(entry.id):
            entry.output = outputs[entry.id].popleft()
            entry.output.call = entry


def _signatures(entries: list[Entry], vendor: str, model: str) -> dict[str, Any]:
    """Return what the vendor wants back on calls, by the client's call id, from wherever it was kept."""
    found: dict[str, Any] = {}
    for entry in entries:
        kept = entry.envelope if isinstance(entry, Reasoning) else None
        if kept is not None and (kept.vendor, kept.model) == (vendor, model):
            found.update(kept.call_extras)
    return found


def _shaped_id(call_id: str, form: str) -> str:
    if form == "alnum9":
        if re.fullmatch(r"[a-zA-Z0-9]{9}", call_id):
            return call_id
        number = int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "replace")).digest()[:8], "big")
        return "".join(_ALNUM[number // len(_ALNUM) ** place % len(_ALNUM)] for place in range(9))
    if form == "word":
        legal = re.sub(r"[^a-zA-Z0-9_-]", "_", call_id)
        if legal == call_id and len(call_id) <= 64:
            return call_id
        return f"{legal[:48]}_{hashlib.sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    if form == "40" and len(call_id) > 40:
        return f"{call_id[:31]}_{hashlib.sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return call_id


def _told(message: Message) -> Message:
    """Tell calls and results as text, for a vendor that has no tools."""
    if message["role"] == "tool":
        return {"role": "user", "content": f"[result of call {message['tool_call_id']}]\n{message['content']}"}
    if "tool_calls" not in message:
        return message
    calls = [
        f"[call {call['id']}: {call['function']['name']} {call['function']['arguments']}]"
        for call in message["tool_calls"]
    ]
    texts = split(_as_parts(message.get("content") or ""))[0]
    return {"role": "assistant", "content": "\n".join([*(text for text in texts if text), *calls])}


def _acknowledge(messages: list[Message]) -> Iterable[Message]:
    before = ""
    for message in messages:
        if before == "tool" and message["role"] == "user":
            yield {"role": "assistant", "content": ACKNOWLEDGED}
        yield message
        before = message["role"]


def _alternate(messages: list[Message]) -> list[Message]:
    """Join neighbours of one role, where only text and images are in them."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is None or last["role"] != message["role"] or not {*last, *message} <= {"role", "content"}:
            joined.append(message)
            continue
        both = [*_as_parts(last["content"]), *_as_parts(message["content"])]
        texts, others = split(both)
        joined[-1] = {"role": last["role"], "content": both if others else "\n\n".join(texts)}
    return joined


def _as_parts(value: str | list[Part]) -> list[Part]:
    return [text_part(value)] if isinstance(value, str) else value


def _is_system(message: Message) -> bool:
    return message["role"] in ("system", "developer")


def _as_user(message: Message) -> Message:
    return {"role": "user", "content": f"<system>\n{message['content']}\n</system>"}
