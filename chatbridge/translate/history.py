"""Entries → chat messages: in order, repaired on every request, nothing lost.

Vendors refuse a history for good over one unanswered call, one result out of place or one broken argument string
(quirks R20-R23). So calls are joined into one assistant message, their results follow right behind, results without
a call become user text, calls without a result get one that says so, ids are made unique on both sides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from chatbridge.translate.calls import CallIds
from chatbridge.translate.entries import AssistantTurn, Call, Entry, EntryReader, Output, Reasoning, Text
from chatbridge.translate.notes import Notes
from chatbridge.translate.parts import ChatPart, Part, chat_parts, content, read_chat_parts, split
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

_SYSTEM = ("system", "developer")
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
        entries.append(Text("developer", [instructions]))
    reader, path = EntryReader(tools, notes, profile), _Path(place)
    for path.index, item in enumerate(items):
        entries += reader.read(item, path)
    return _Messages(profile, model, notes).build(entries)


class _Path:
    """The path of the item that is read now: made only when it is asked for, since few items have anything wrong."""

    def __init__(self, place: Callable[[int], str]) -> None:
        self._place = place
        self.index = 0

    def __str__(self) -> str:
        return self._place(self.index)


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
        self._system: list[int] = []
        """Where system text stands."""

    def build(self, entries: list[Entry]) -> History:
        self._look_ahead(entries)
        turn: AssistantTurn | None = None
        turns = 0
        for entry in entries:
            if isinstance(entry, Output):
                if entry.turn is not None and (turn is None or entry.turn != turn.number):
                    continue  # it stands behind its call, which is in another turn
            elif not isinstance(entry, Text) or entry.role == "assistant":
                if turn is None:
                    turn = AssistantTurn(turns := turns + 1)
                turn.add(entry)
                continue
            if turn is not None:
                self._assistant(turn)
                turn = None
            if isinstance(entry, Text):
                self._text(entry)
            elif entry.turn is None:
                self._orphan(entry)
        if turn is not None:
            self._assistant(turn)
        return History(self._shaped(), self._call_ids)

    def _look_ahead(self, entries: list[Entry]) -> None:
        """Give each call its result: of several with one id, the first result to the first call, and so on.

        Collect what the vendor wants back on calls, by the client's call id, from wherever it was kept.
        """
        outputs: dict[str, list[Output]] = {}
        for entry in reversed(entries):
            if isinstance(entry, Output):
                outputs.setdefault(entry.id, []).append(entry)
        for entry in entries:
            if isinstance(entry, Call):
                if found := outputs.get(entry.id):
                    entry.output = found.pop()
                    entry.output.turn = 0
            elif isinstance(entry, Reasoning) and entry.envelope is not None:
                kept = entry.envelope
                if (kept.vendor, kept.model) == (self._profile.name, self._model):
                    self._signed.update(kept.call_extras)

    # --- one assistant's turn

    def _assistant(self, turn: AssistantTurn) -> None:
        texts, others = split(turn.parts) if turn.parts else ([], [])
        message: Message = {"role": "assistant", "content": "\n\n".join(texts)}
        if turn.calls:
            others = self._call(message, turn.calls) + others
        elif texts:
            self._messages.append(message)
        if turn.thought and (turn.calls or texts):
            envelopes = [entry.envelope for entry in turn.thought if entry.envelope is not None]
            self._kept[id(message)] = Kept([entry.text for entry in turn.thought], envelopes)
        if others:
            # These messages carry text only (quirk R21); the user message comes after the whole run of results.
            self._messages.append({"role": "user", "content": chat_parts(self._images(others))})

    def _call(self, message: Message, calls: list[Call]) -> list[Part]:
        """Add the message with its calls and their results; return what of the results is not text."""
        sent: list[dict[str, Any]] = []
        results: list[Message] = []
        images: list[Part] = []
        named = self._profile.name_in_results
        for call in calls:
            call_id = self._sent_id(call.id)
            if call.id in self._signed:
                self._extras[call_id] = self._signed[call.id]
            function = {"name": call.name, "arguments": call.arguments}
            sent.append({"id": call_id, "type": "function", "function": function})
            text, others = self._result(call)
            name = {"name": call.name} if named else {}
            results.append({"role": "tool", "tool_call_id": call_id, **name, "content": text})
            if others:
                images += [f"From the result of call {call_id} ({call.name}):", *others]
        message["tool_calls"] = sent
        if not message["content"] and self._profile.calls_content != "empty":
            message["content"] = None
            if self._profile.calls_content == "omit":
                del message["content"]
        self._messages.append(message)
        self._messages += results
        return images

    def _result(self, call: Call) -> tuple[str, list[Part]]:
        """Return the text of a call's result, and what of it is not text."""
        parts: list[Part] = [UNANSWERED] if call.output is None else call.output.parts
        if self._profile.images == "none":
            parts = self._images(parts)
        text = content(parts)
        if isinstance(text, str):
            return text, []
        return "\n".join(part if isinstance(part, str) else SEE_NEXT for part in parts), split(parts)[1]

    # --- what others say

    def _orphan(self, output: Output) -> None:
        self._text(Text("user", [f"[result of an earlier tool call, {output.id}]", *output.parts]))

    def _text(self, entry: Text) -> None:
        if entry.role == "user":
            self._loop = len(self._messages)
            parts = entry.parts if self._profile.images == "object" else self._images(entry.parts)
            self._messages.append({"role": "user", "content": content(parts)})
            return
        texts, others = split(entry.parts)
        if texts:
            role = self._profile.developer_role if entry.role == "developer" else "system"
            if role in _SYSTEM:
                self._system.append(len(self._messages))
            self._messages.append({"role": role, "content": "\n".join(texts)})
        if others:
            self._messages.append({"role": "user", "content": content(self._images(others))})

    def _images(self, parts: list[Part]) -> list[Part]:
        """Shape images as the vendor takes them, or leave a note in their place (quirk R20)."""
        if self._profile.images == "object":
            return parts
        return [part if isinstance(part, str) else self._image(part) for part in parts]

    def _image(self, part: ChatPart) -> Part:
        if part["type"] != "image_url":
            if self._profile.images != "none":
                return part
            self._note_images()
            return f"[{part['type']} left out: this model takes text only]"
        url = part["image_url"]["url"]
        if self._profile.images == "string":
            return {"type": "image_url", "image_url": url}
        if self._profile.images == "data" and url.startswith("data:"):
            return part
        self._note_images()
        return NO_IMAGES

    def _note_images(self) -> None:
        self._notes.add("images", "images replaced by a note: this model takes none, or not in this form")

    # --- ids

    def _sent_id(self, call_id: str) -> str:
        """Return the id to send. Unique among those of the client, and then in the vendor's form (quirk R10)."""
        unique = self._call_ids.unique(call_id)
        if self._profile.call_id == "any":
            return unique
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
        if self._extras or self._kept or profile.signature_placeholder:
            sign_calls(self._messages, self._extras, self._kept, profile, self._model)
        messages = self._lead(self._messages) if self._system else self._messages
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
            return [_as_user(message) if message["role"] in _SYSTEM else message for message in messages]
        first = sum(where == at for at, where in enumerate(self._system))
        if len(self._system) == first == 1:
            return messages
        texts = [message["content"] for message in messages[:first]]
        lead = [{"role": messages[0]["role"], "content": "\n\n".join(texts)}] if texts else []
        return lead + [_as_user(message) if message["role"] in _SYSTEM else message for message in messages[first:]]


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
    texts = split(read_chat_parts(message.get("content") or ""))[0]
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
        both = [*read_chat_parts(last["content"]), *read_chat_parts(message["content"])]
        texts, others = split(both)
        joined[-1] = {"role": last["role"], "content": chat_parts(both) if others else "\n\n".join(texts)}
    return joined


def _as_user(message: Message) -> Message:
    return {"role": "user", "content": f"<system>\n{message['content']}\n</system>"}
