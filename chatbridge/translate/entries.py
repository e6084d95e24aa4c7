"""Input items → entries: what each item says, whatever kind it is. Nothing is lost; what has no place is noted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from chatbridge.protocol.checks import wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.jsontext import dumps_text, loads, object_or_none
from chatbridge.translate import compaction, custom_input, envelope
from chatbridge.translate.notes import Notes
from chatbridge.translate.parts import Part, read_parts, split
from chatbridge.translate.tools import TOOL_SEARCH, Tools
from chatbridge.vendors.profile import Profile

_HALF = re.compile(r"(?i)\\ud[89a-f]")


@dataclass(slots=True, eq=False)
class Text:
    """What a role says."""

    role: str
    parts: list[Part]


@dataclass(slots=True, eq=False)
class Output:
    """The result of a call."""

    id: str
    parts: list[Part]
    turn: int | None = None
    """Which turn its call is in; 0 while that has not come, None where there is none."""


@dataclass(slots=True, eq=False)
class Call:
    """A tool call; *arguments* is the text of a JSON object."""

    id: str
    name: str
    arguments: str
    output: Output | None = None


@dataclass(slots=True, eq=False)
class Reasoning:
    """Earlier reasoning, and what the vendor wants back with it."""

    text: str
    envelope: envelope.Envelope | None


Entry = Text | Call | Output | Reasoning


class AssistantTurn:
    """What an assistant said, thought and called before others spoke."""

    __slots__ = ("calls", "number", "parts", "thought")

    def __init__(self, number: int) -> None:
        self.number = number
        """Its place among the turns, from 1."""
        self.parts: list[Part] = []
        self.thought: list[Reasoning] = []
        self.calls: list[Call] = []

    def add(self, entry: Text | Call | Reasoning) -> None:
        """Take what comes next."""
        if isinstance(entry, Call):
            if entry.output is not None:
                entry.output.turn = self.number
            self.calls.append(entry)
        elif isinstance(entry, Text):
            self.parts += entry.parts
        else:
            self.thought.append(entry)


class EntryReader:
    """One input item → entries. Call :meth:`read` for each, in order."""

    def __init__(self, tools: Tools, notes: Notes, profile: Profile = Profile()) -> None:  # noqa: B008 - frozen
        self._tools = tools
        self._notes = notes
        self._room = envelope.TOTAL
        self._profile = profile

    def read(self, item: Any, path: object) -> list[Entry]:
        """Return the entries of *item*. Raises :class:`ApiError` naming what is wrong.

        *path* is where it stands; it is written for errors only.
        """
        if not isinstance(item, dict):
            raise wrong(str(path), "must be an object", "invalid_type")
        kind = item.get("type", "message" if "role" in item else None)
        if not isinstance(kind, str):
            raise wrong(f"{path}.type", "must be a string", "invalid_type")
        read = self._READERS.get(kind)
        if read is not None:
            return read(self, item, path)
        self._notes.add(f"item:{kind}", f"input item of type {kind!r} left out: chat/completions has no place for it")
        return []

    def _message(self, item: dict[str, Any], path: object) -> list[Entry]:
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise wrong(f"{path}.role", "must be one of user, assistant, system, developer")
        parts = read_parts(item.get("content"), path, self._notes, self._profile, key=".content")
        return [Text(role, parts)] if parts else []

    def _agent_message(self, item: dict[str, Any], path: object) -> list[Entry]:
        """A message between agents. Its "encrypted" part is the plain text that one agent wrote to the other."""
        parts = read_parts(item.get("content"), path, self._notes, self._profile, key=".content")
        return [Text("user", parts)] if parts else []

    def _function_call(self, item: dict[str, Any], path: object) -> list[Entry]:
        name = self._name(item, path)
        return [Call(_string(item, "call_id", path), name, _arguments(item.get("arguments")))]

    def _custom_call(self, item: dict[str, Any], path: object) -> list[Entry]:
        name, text = self._name(item, path), item.get("input")
        arguments = custom_input.wrap("" if text is None else text if isinstance(text, str) else dumps_text(text))
        return [Call(_string(item, "call_id", path), name, dumps_text(arguments))]

    def _search_call(self, item: dict[str, Any], path: object) -> list[Entry]:
        if not item.get("call_id"):
            self._notes.add("item:hosted tool_search_call", "a tool search by another server left out of the history")
            return []
        name = self._tools.flat(TOOL_SEARCH)
        return [Call(_string(item, "call_id", path), name, _arguments(item.get("arguments")))]

    def _shell_call(self, item: dict[str, Any], path: object) -> list[Entry]:
        return [Call(_any_id(item, path), self._tools.flat("local_shell"), _arguments(item.get("action")))]

    def _mcp_call(self, item: dict[str, Any], path: object) -> list[Entry]:
        """A call that another server made itself, result included: replayed as a call and its result."""
        name = self._tools.flat(_string(item, "name", path), f"mcp__{item.get('server_label') or ''}")
        call_id = str(item.get("id") or "mcp_" + "".join(filter(str.isdigit, str(path))))
        output = item.get("output") or item.get("error") or ""
        text = output if isinstance(output, str) else dumps_text(output)
        return [Call(call_id, name, _arguments(item.get("arguments"))), Output(call_id, [text])]

    def _output(self, item: dict[str, Any], path: object) -> list[Entry]:
        output = item.get("output")
        if not isinstance(output, (str, list)) and output is not None:
            output = dumps_text(output)
        return [Output(_any_id(item, path), read_parts(output, path, self._notes, self._profile, key=".output"))]

    def _search_output(self, item: dict[str, Any], path: object) -> list[Entry]:
        found = item.get("tools")
        if not item.get("call_id"):
            return []
        text = dumps_text({"tools": _found_names(found, self._tools)})
        return [Output(_string(item, "call_id", path), [text])]

    def _compaction(self, item: dict[str, Any], path: object) -> list[Entry]:  # noqa: ARG002
        content = item.get("encrypted_content")
        if compaction.unseal(content) is None:
            self._notes.add("item:foreign compaction", "a compaction item of another server cannot be read")
        return [Text("user", [compaction.replay(content)])]

    def _reasoning(self, item: dict[str, Any], path: object) -> list[Entry]:
        sealed = item.get("encrypted_content")
        found = None if sealed in (None, "") else envelope.unseal(sealed, self._room)
        if isinstance(found, envelope.Envelope):
            self._room -= found.size
        if isinstance(found, str):
            self._notes.add(f"envelope:{found}", f"the encrypted_content of a reasoning item is {found}: not read")
            found = None
        summary = read_parts(item.get("summary"), path, self._notes, self._profile, key=".summary")
        whole = read_parts(item.get("content"), path, self._notes, self._profile, key=".content")
        text = found.reasoning if found is not None and found.reasoning else "\n\n".join(split(whole or summary)[0])
        return [Reasoning(text, found)]

    def _reference(self, item: dict[str, Any], path: object) -> list[Entry]:
        """An item that the client knows only by its id; those that are stored have been put in its place before."""
        name = str(item.get("id"))[:100]
        raise ApiError(404, f"Item with id {name!r} not found.", param=f"{path}.id", code="item_not_found")

    def _nothing(self, item: dict[str, Any], path: object) -> list[Entry]:  # noqa: ARG002
        """Items that other steps have read."""
        return []

    def _name(self, item: dict[str, Any], path: object) -> str:
        """Return the chat name of what an item calls."""
        namespace = item.get("namespace")
        return self._tools.flat(_string(item, "name", path), namespace if isinstance(namespace, str) else None)

    _READERS: ClassVar[dict[str, Callable[[EntryReader, dict[str, Any], object], list[Entry]]]] = {
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
        "item_reference": _reference,
        "reasoning": _reasoning,
    }


def _string(item: dict[str, Any], key: str, path: object) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise wrong(f"{path}.{key}", "must be a non-empty string", "invalid_type")
    return value


def _any_id(item: dict[str, Any], path: object) -> str:
    """Some local shell items have the call's id in ``id``."""
    found = item.get("call_id") or item.get("id")
    return found if isinstance(found, str) and found else _string(item, "call_id", path)


def _arguments(arguments: Any) -> str:
    """Return *arguments* as the text of a JSON object: one broken string locks a session for good (quirk R23)."""
    if isinstance(arguments, dict):
        return dumps_text(arguments)
    if arguments is None or (isinstance(arguments, str) and arguments.strip() in ("", "null")):
        return "{}"
    text = arguments if isinstance(arguments, str) else dumps_text(arguments)
    try:
        value = loads(text)
        plain = _printable(text) and not ("\\" in text and _HALF.search(text))
    except ValueError:
        value, plain = object_or_none(text), False  # if an object, then one with control characters
    if not isinstance(value, dict):
        return dumps_text({"_raw": text})
    return text if plain else dumps_text(value)


def _printable(text: str) -> bool:
    """Return whether *text*, which is strict JSON, is printable: Python looks at each character, and takes long."""
    if not text.isascii():
        return text.isprintable()
    return not ("\n" in text or "\t" in text or "\r" in text or "\x7f" in text)


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
