"""Input items → chat messages: in order, repaired on every request, nothing lost.

Vendors refuse a history for good over one unanswered call, one result out of place or one broken argument string
(quirks R20-R23). So calls are joined into one assistant message, their results follow right behind, results without
a call become user text, calls without a result get one that says so, ids are made unique on both sides.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps_text, object_or_none
from chatbridge.translate import compaction, custom_input
from chatbridge.translate.calls import CallIds
from chatbridge.translate.notes import Notes
from chatbridge.translate.tools import TOOL_SEARCH, Tools
from chatbridge.vendors.profile import Profile

Message = dict[str, Any]
Part = dict[str, Any]

UNANSWERED = "[no result: the call was not carried out]"
SEE_NEXT = "[image: see the next user message]"

_HALF = re.compile(r"(?i)\\ud[89a-f]")


@dataclass(slots=True, eq=False)
class _Text:
    role: str
    parts: list[Part]


@dataclass(slots=True, eq=False)
class _Output:
    id: str
    parts: list[Part]
    call: _Call | None = None


@dataclass(slots=True, eq=False)
class _Call:
    id: str
    name: str
    arguments: str
    output: _Output | None = None


_Entry = _Text | _Call | _Output


@dataclass(slots=True)
class History:
    """The messages, and the call ids in them, which the answer's calls must not repeat."""

    messages: list[Message]
    call_ids: CallIds


def build_history(items: list[Any], instructions: str | None, tools: Tools, profile: Profile, notes: Notes) -> History:
    """Return the chat messages for *items*. Raises :class:`ApiError` with the path of a malformed item."""
    entries: list[_Entry] = []
    if instructions:
        entries.append(_Text("developer", [_text(instructions)]))
    reader = _Reader(tools, notes)
    for index, item in enumerate(items):
        entries += reader.read(item, f"input[{index}]")
    return _Messages(profile).build(entries)


class _Reader:
    """One item → entries."""

    def __init__(self, tools: Tools, notes: Notes) -> None:
        self._tools = tools
        self._notes = notes

    def read(self, item: Any, path: str) -> list[_Entry]:
        if not isinstance(item, dict):
            raise ApiError(400, f"{path} must be an object.", param=path, code="invalid_type")
        kind = item.get("type", "message" if "role" in item else None)
        if not isinstance(kind, str):
            raise ApiError(400, f"{path}.type must be a string.", param=f"{path}.type", code="invalid_type")
        read = self._READERS.get(kind)
        if read is not None:
            return read(self, item, path)
        self._notes.add(f"item:{kind}", f"input item of type {kind!r} left out: chat/completions has no place for it")
        return []

    def _message(self, item: dict[str, Any], path: str) -> list[_Entry]:
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            text = f"{path}.role must be one of user, assistant, system, developer."
            raise ApiError(400, text, param=f"{path}.role", code="invalid_value")
        parts = self._parts(item.get("content"), f"{path}.content")
        return [_Text(role, parts)] if parts else []

    def _agent_message(self, item: dict[str, Any], path: str) -> list[_Entry]:
        """A message between agents. Its "encrypted" part is the plain text that one agent wrote to the other."""
        parts = self._parts(item.get("content"), f"{path}.content")
        return [_Text("user", parts)] if parts else []

    def _function_call(self, item: dict[str, Any], path: str) -> list[_Entry]:
        name, namespace = _string(item, "name", path), item.get("namespace")
        flat = self._tools.flat(name, namespace if isinstance(namespace, str) else None)
        return [_Call(_call_id(item, path), flat, _arguments(item.get("arguments")))]

    def _custom_call(self, item: dict[str, Any], path: str) -> list[_Entry]:
        name, namespace = _string(item, "name", path), item.get("namespace")
        flat = self._tools.flat(name, namespace if isinstance(namespace, str) else None)
        text = item.get("input")
        arguments = custom_input.wrap("" if text is None else text if isinstance(text, str) else dumps_text(text))
        return [_Call(_call_id(item, path), flat, dumps_text(arguments))]

    def _search_call(self, item: dict[str, Any], path: str) -> list[_Entry]:
        if not item.get("call_id"):
            self._notes.add("item:hosted tool_search_call", "a tool search by another server left out of the history")
            return []
        return [_Call(_call_id(item, path), self._tools.flat(TOOL_SEARCH), _arguments(item.get("arguments")))]

    def _shell_call(self, item: dict[str, Any], path: str) -> list[_Entry]:
        return [_Call(_any_id(item, path), self._tools.flat("local_shell"), _arguments(item.get("action")))]

    def _mcp_call(self, item: dict[str, Any], path: str) -> list[_Entry]:
        """A call that another server made itself, result included: replayed as a call and its result."""
        name = self._tools.flat(_string(item, "name", path), f"mcp__{item.get('server_label') or ''}")
        call_id = str(item.get("id") or "mcp_" + "".join(filter(str.isdigit, path)))
        output = item.get("output") or item.get("error") or ""
        text = output if isinstance(output, str) else dumps_text(output)
        return [_Call(call_id, name, _arguments(item.get("arguments"))), _Output(call_id, [_text(text)])]

    def _output(self, item: dict[str, Any], path: str) -> list[_Entry]:
        output = item.get("output")
        if not isinstance(output, str | list) and output is not None:
            output = dumps_text(output)
        return [_Output(_any_id(item, path), self._parts(output, f"{path}.output"))]

    def _search_output(self, item: dict[str, Any], path: str) -> list[_Entry]:
        found = item.get("tools")
        if not item.get("call_id"):
            return []
        text = dumps_text({"tools": _found_names(found, self._tools)})
        return [_Output(_call_id(item, path), [_text(text)])]

    def _compaction(self, item: dict[str, Any], path: str) -> list[_Entry]:  # noqa: ARG002
        content = item.get("encrypted_content")
        if compaction.unseal(content) is None:
            self._notes.add("item:foreign compaction", "a compaction item of another server cannot be read")
        return [_Text("user", [_text(compaction.replay(content))])]

    def _nothing(self, item: dict[str, Any], path: str) -> list[_Entry]:  # noqa: ARG002
        """Items that other steps have read, and reasoning, which this upstream is not given back."""
        return []

    def _parts(self, content: Any, path: str) -> list[Part]:
        if content is None:
            return []
        if isinstance(content, str):
            return [_text(content)] if content else []
        if not isinstance(content, list):
            raise ApiError(400, f"{path} must be a string or an array.", param=path, code="invalid_type")
        parts = (self._part(part, f"{path}[{index}]") for index, part in enumerate(content))
        return [part for part in parts if part.get("text") != ""]

    def _part(self, part: Any, path: str) -> Part:
        if isinstance(part, str):
            return _text(part)
        if not isinstance(part, dict):
            raise ApiError(400, f"{path} must be an object.", param=path, code="invalid_type")
        match part.get("type"):
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return _text_part(part, "text", path)
            case "refusal":
                return _text_part(part, "refusal", path)
            case "encrypted_content":
                return _text_part(part, "encrypted_content", path)
            case "input_image":
                return _image(part, path)
            case "image_url":
                return _image(_chat_image(part), path)
            case "input_file" | "file":
                return _file(part, path)
            case "input_audio":
                return _audio(part, path)
            case kind:
                self._notes.add(f"part:{kind}", f"content part of type {kind!r} replaced by a remark")
                return _text(f"[content of type {kind} left out]")

    _READERS: ClassVar[dict[str, Callable[[_Reader, dict[str, Any], str], list[_Entry]]]] = {
        "message": _message,
        "agent_message": _agent_message,
        "function_call": _function_call,
        "function_call_output": _output,
        "custom_tool_call": _custom_call,
        "custom_tool_call_output": _output,
        "tool_search_call": _search_call,
        "tool_search_output": _search_output,
        "local_shell_call": _shell_call,
        "local_shell_call_output": _output,
        "mcp_call": _mcp_call,
        "mcp_tool_call_output": _output,
        "compaction": _compaction,
        "compaction_summary": _compaction,
        "additional_tools": _nothing,
        "reasoning": _nothing,
    }


class _Messages:
    """Entries → messages."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._messages: list[Message] = []
        self._call_ids = CallIds()

    def build(self, entries: list[_Entry]) -> History:
        _pair(entries)
        turn: dict[_Text | _Call, None] = {}
        for entry in entries:
            if isinstance(entry, _Call) or (isinstance(entry, _Text) and entry.role == "assistant"):
                turn[entry] = None
                continue
            if isinstance(entry, _Output) and entry.call is not None and entry.call not in turn:
                continue  # it stands behind its call, which is in another turn
            self._assistant(turn)
            turn = {}
            if isinstance(entry, _Text):
                self._text(entry)
            elif entry.call is None:
                self._orphan(entry)
        self._assistant(turn)
        return History(self._lead(self._messages), self._call_ids)

    def _assistant(self, turn: Iterable[_Text | _Call]) -> None:
        texts, others = _split([part for entry in turn if isinstance(entry, _Text) for part in entry.parts])
        message: Message = {"role": "assistant", "content": "\n\n".join(texts)}
        calls = [entry for entry in turn if isinstance(entry, _Call)]
        if calls:
            others = self._calls(message, calls) + others
        elif texts:
            self._messages.append(message)
        if others:
            # These messages carry text only (quirk R21); the user message comes after the whole run of results.
            self._messages.append({"role": "user", "content": others})

    def _calls(self, message: Message, calls: list[_Call]) -> list[Part]:
        """Add the message with its calls and their results; return what of the results is not text."""
        ids = [self._call_ids.unique(call.id) for call in calls]
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call_id, call in zip(ids, calls, strict=True)
        ]
        self._messages.append(message)
        images: list[Part] = []
        for call_id, call in zip(ids, calls, strict=True):
            parts = [_text(UNANSWERED)] if call.output is None else call.output.parts
            text = "\n".join(part["text"] if part["type"] == "text" else SEE_NEXT for part in parts)
            self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
            _, others = _split(parts)
            if others:
                images += [_text(f"From the result of call {call_id} ({call.name}):"), *others]
        return images

    def _orphan(self, output: _Output) -> None:
        self._text(_Text("user", [_text(f"[result of an earlier tool call, {output.id}]"), *output.parts]))

    def _text(self, entry: _Text) -> None:
        if entry.role not in ("developer", "system"):
            self._messages.append({"role": entry.role, "content": _content(entry.parts)})
            return
        texts, others = _split(entry.parts)
        if texts:
            role = self._profile.developer_role if entry.role == "developer" else "system"
            self._messages.append({"role": role, "content": "\n".join(texts)})
        if others:
            self._messages.append({"role": "user", "content": others})

    def _lead(self, messages: list[Message]) -> list[Message]:
        """Put system text where the vendor takes it."""
        if self._profile.system_placement == "anywhere":
            return messages
        first = next((at for at, message in enumerate(messages) if not _is_system(message)), len(messages))
        texts = [message["content"] for message in messages[:first]]
        lead = [{"role": messages[0]["role"], "content": "\n\n".join(texts)}] if texts else []
        return lead + [_as_user(message) if _is_system(message) else message for message in messages[first:]]


def _pair(entries: list[_Entry]) -> None:
    """Give each call its result: of several with one id, the first result to the first call, and so on."""
    outputs: dict[str, deque[_Output]] = {}
    for entry in entries:
        if isinstance(entry, _Output):
            outputs.setdefault(entry.id, deque()).append(entry)
    for entry in entries:
        if isinstance(entry, _Call) and outputs.get(entry.id):
            entry.output = outputs[entry.id].popleft()
            entry.output.call = entry


def _is_system(message: Message) -> bool:
    return message["role"] in ("system", "developer")


def _as_user(message: Message) -> Message:
    return {"role": "user", "content": f"<system>\n{message['content']}\n</system>"}


def _split(parts: list[Part]) -> tuple[list[str], list[Part]]:
    """Return the texts of *parts*, and the parts that are not text."""
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return texts, [part for part in parts if part["type"] != "text"]


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone goes as a string, which every server takes (quirk R20)."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _text_part(part: dict[str, Any], key: str, path: str) -> Part:
    text = part.get(key)
    if not isinstance(text, str):
        raise ApiError(400, f"{path}.{key} must be a string.", param=f"{path}.{key}", code="invalid_type")
    return _text(text)


def _chat_image(part: dict[str, Any]) -> dict[str, Any]:
    """Return a chat image part in the form of a Responses one."""
    inner = part.get("image_url")
    return {"image_url": inner.get("url"), "detail": inner.get("detail")} if isinstance(inner, dict) else part


def _audio(part: dict[str, Any], path: str) -> Part:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        text = f"{path}.input_audio must be an object."
        raise ApiError(400, text, param=f"{path}.input_audio", code="invalid_type")
    return {"type": "input_audio", "input_audio": audio}


def _image(part: dict[str, Any], path: str) -> Part:
    url = part.get("image_url")
    if not isinstance(url, str) or not url:
        text = f"{path}.image_url must be a URL or a data URL; files stored elsewhere cannot be fetched here."
        raise ApiError(400, text, param=f"{path}.image_url", code="invalid_value")
    image = {"url": url}
    if part.get("detail") in ("low", "high", "auto"):
        image["detail"] = part["detail"]
    elif part.get("detail") is not None:
        image["detail"] = "high"  # Codex's "original" is not a chat value
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, Any], path: str) -> Part:
    inner = part.get("file")
    spec = inner if isinstance(inner, dict) else part
    if not isinstance(spec.get("file_data"), str):
        text = f"{path}.file_data must hold the file: files stored elsewhere cannot be fetched here."
        raise ApiError(400, text, param=f"{path}.file_data", code="invalid_value")
    return {"type": "file", "file": {"filename": str(spec.get("filename") or "file"), "file_data": spec["file_data"]}}


def _string(item: dict[str, Any], key: str, path: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise ApiError(400, f"{path}.{key} must be a non-empty string.", param=f"{path}.{key}", code="invalid_type")
    return value


def _call_id(item: dict[str, Any], path: str) -> str:
    return _string(item, "call_id", path)


def _any_id(item: dict[str, Any], path: str) -> str:
    """Some local shell items have the call's id in ``id``."""
    return _string({"call_id": item.get("call_id") or item.get("id")}, "call_id", path)


def _arguments(arguments: Any) -> str:
    """Return *arguments* as the text of a JSON object: one broken string locks a session for good (quirk R23)."""
    if isinstance(arguments, dict):
        return dumps_text(arguments)
    if arguments is None or arguments == "":
        return "{}"
    text = arguments if isinstance(arguments, str) else dumps_text(arguments)
    value = object_or_none(text)
    if value is None:
        return dumps_text({"_raw": text})
    return text if text.isprintable() and not _HALF.search(text) else dumps_text(value)


def _found_names(entries: Any, tools: Tools) -> list[dict[str, Any]]:
    """What a tool search found, by the names under which the tools are offered."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "namespace":
            inner = [(tool, entry.get("name")) for tool in entry.get("tools") or ()]
        else:
            inner = [(entry, None)] if isinstance(entry, dict) else []
        for tool, namespace in inner:
            if isinstance(tool.get("name"), str):
                found.append(
                    {"name": tools.flat(tool["name"], namespace), "description": tool.get("description") or ""}
                )
    return found
