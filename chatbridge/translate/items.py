"""Output items under construction: each tells its own events, without number and place, which the turn adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from chatbridge.protocol.jsontext import is_json, loads, object_or_none
from chatbridge.translate.custom_input import CustomInput
from chatbridge.translate.tools import Tool

Event = dict[str, Any]
NewId = Callable[[str], str]
"""Makes an id from a prefix such as ``msg``."""


class CutOffError(ValueError):
    """The arguments of a call ended before they were whole."""


class Item(Protocol):
    """What the turn asks of an item."""

    id: str
    output_index: int

    def value(self, status: str) -> dict[str, Any]:
        """Return the item as it stands."""
        ...

    def added(self) -> list[Event]:
        """Return the events that open it."""
        ...

    def done(self) -> list[Event]:
        """Return the events that close it, the last with the whole item. Raises :class:`CutOffError`."""
        ...


def _added(item: Item) -> Event:
    return {
        "type": "response.output_item.added",
        "output_index": item.output_index,
        "item": item.value("in_progress"),
    }


def _done(item: Item) -> Event:
    return {"type": "response.output_item.done", "output_index": item.output_index, "item": item.value("completed")}


Annotations = list[dict[str, Any]]


def _uncited(_text: str) -> Annotations:
    return []


class Message:
    """An assistant message: parts of text and refusal, one after the other.

    *cite* is asked for the annotations of each part of text when it is whole: where they belong is not known before.
    """

    def __init__(self, new_id: NewId, output_index: int, cite: Callable[[str], Annotations] = _uncited) -> None:
        self.id = new_id("msg")
        self.output_index = output_index
        self._cite = cite
        self._parts: list[tuple[str, list[str], Annotations, list[dict[str, Any]]]] = []
        self._place: dict[str, Any] = {}

    def value(self, status: str) -> dict[str, Any]:
        content = [_part(kind, "".join(texts), *more) for kind, texts, *more in self._parts]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    @property
    def texts(self) -> list[str]:
        """The pieces of the open part's text."""
        return self._parts[-1][1]

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        """The log probabilities of the open part's text."""
        return self._parts[-1][3]

    def added(self) -> list[Event]:
        return [_added(self)]

    def delta(self, kind: str, text: str) -> list[Event]:
        """Take text of *kind* ``text`` or ``refusal``; return its events, with those of a new part if one begins."""
        events: list[Event] = []
        if not self._parts or self._parts[-1][0] != kind:
            events += self._close_part()
            place = {"item_id": self.id, "output_index": self.output_index, "content_index": len(self._parts)}
            self._place = place
            self._parts.append((kind, [], [], []))
            events.append({"type": "response.content_part.added", **place, "part": _part(kind, "")})
        self._parts[-1][1].append(text)
        if kind == "text":
            events.append({"type": "response.output_text.delta", **self._place, "delta": text, "logprobs": []})
        else:
            events.append({"type": "response.refusal.delta", **self._place, "delta": text})
        return events

    def done(self) -> list[Event]:
        return [*self._close_part(), _done(self)]

    def _close_part(self) -> list[Event]:
        if not self._parts:
            return []
        kind, texts, annotations, logprobs = self._parts[-1]
        text, place = "".join(texts), self._place
        events: list[Event] = []
        if kind == "text":
            annotations += self._cite(text)
            for index, annotation in enumerate(annotations):
                told = {"annotation_index": index, "annotation": annotation}
                events.append({"type": "response.output_text.annotation.added", **place, **told})
            events.append({"type": "response.output_text.done", **place, "text": text, "logprobs": logprobs})
        else:
            events.append({"type": "response.refusal.done", **place, "refusal": text})
        part = _part(kind, text, annotations, logprobs)
        return [*events, {"type": "response.content_part.done", **place, "part": part}]


def _part(
    kind: str, text: str, annotations: Annotations | None = None, logprobs: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    if kind == "text":
        return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": logprobs or []}
    return {"type": "refusal", "refusal": text}


class Reasoning:
    """A reasoning item with one summary part: the one form of reasoning that every client knows."""

    def __init__(self, new_id: NewId, output_index: int) -> None:
        self.id = new_id("rs")
        self.output_index = output_index
        self.sealed: str | None = None
        """``encrypted_content``; set before the end."""
        self.texts: list[str] = []
        """The pieces of its text."""

    @property
    def text(self) -> str:
        """The reasoning so far."""
        return "".join(self.texts)

    def value(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - reasoning items have no status
        summary = [self._part(self.text)] if self.texts else []
        return _reasoning(self.id, summary, self.sealed)

    def added(self) -> list[Event]:
        return [
            _added(self),
            {"type": "response.reasoning_summary_part.added", **self._place(), "part": self._part("")},
        ]

    def delta(self, text: str) -> list[Event]:
        """Take text; return its event."""
        self.texts.append(text)
        return [{"type": "response.reasoning_summary_text.delta", **self._place(), "delta": text}]

    def done(self) -> list[Event]:
        text = self.text
        return [
            {"type": "response.reasoning_summary_text.done", **self._place(), "text": text},
            {"type": "response.reasoning_summary_part.done", **self._place(), "part": self._part(text)},
            _done(self),
        ]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.output_index, "summary_index": 0}

    @staticmethod
    def _part(text: str) -> dict[str, str]:
        return {"type": "summary_text", "text": text}


class Keepsake:
    """A reasoning item without text: only what has to come back."""

    def __init__(self, new_id: NewId, output_index: int, sealed: str) -> None:
        self.id = new_id("rs")
        self.output_index = output_index
        self._sealed = sealed

    def value(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - as above
        return _reasoning(self.id, [], self._sealed)

    def added(self) -> list[Event]:
        return [_added(self)]

    def done(self) -> list[Event]:
        return [_done(self)]


def _reasoning(item_id: str, summary: list[dict[str, str]], sealed: str | None) -> dict[str, Any]:
    # Strict clients take a string or no key, but not null.
    value = {"id": item_id, "type": "reasoning", "summary": summary}
    return value if sealed is None else {**value, "encrypted_content": sealed}


class FunctionCall:
    """A call of a function tool. Arguments that begin as null or a string are held back until they are whole."""

    def __init__(self, new_id: NewId, output_index: int, tool: Tool, call_id: str) -> None:
        self.id = new_id("fc")
        self.output_index = output_index
        self._tool = tool
        self.call_id = call_id
        self.texts: list[str] = []
        """The pieces of its arguments."""
        self._held = ""

    def value(self, status: str) -> dict[str, Any]:
        value = {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self._tool.name,
            "arguments": "".join(self.texts),
        }
        if self._tool.namespace is not None:
            value["namespace"] = self._tool.namespace
        return value

    def added(self) -> list[Event]:
        return [_added(self)]

    def delta(self, arguments: str) -> list[Event]:
        """Take argument text; return its event."""
        if not self.texts:
            arguments = self._held + arguments
            begun = arguments.lstrip()
            if begun.startswith('"') or "null".startswith(begun):
                self._held = arguments
                return []
        return self._told(arguments)

    def done(self) -> list[Event]:
        events = [] if self.texts else self._told(_object_text(self._held))
        whole = "".join(self.texts)
        if not is_json(whole):
            raise CutOffError(self._tool.name)
        place = {"item_id": self.id, "output_index": self.output_index}
        named = {"arguments": whole, "name": self._tool.name}
        return [*events, {"type": "response.function_call_arguments.done", **place, **named}, _done(self)]

    def _told(self, arguments: str) -> list[Event]:
        self.texts.append(arguments)
        place = {"item_id": self.id, "output_index": self.output_index}
        return [{"type": "response.function_call_arguments.delta", **place, "delta": arguments}]


def _object_text(text: str) -> str:
    """Return arguments that did not begin as an object: none are an empty one (quirk S12), some are quoted twice."""
    if text.strip() in ("", "null", '""'):
        return "{}"
    try:
        inner = loads(text)
    except ValueError:
        return text
    return inner if isinstance(inner, str) and object_or_none(inner) is not None else text


class CustomCall:
    """A call of a custom tool: the text inside the JSON arguments, as it becomes known."""

    def __init__(self, new_id: NewId, output_index: int, tool: Tool, call_id: str) -> None:
        self.id = new_id("ctc")
        self.output_index = output_index
        self._tool = tool
        self.call_id = call_id
        self._input = CustomInput()

    def value(self, status: str) -> dict[str, Any]:
        value = {
            "id": self.id,
            "type": "custom_tool_call",
            "status": status,
            "call_id": self.call_id,
            "name": self._tool.name,
            "input": self._input.text,
        }
        if self._tool.namespace is not None:
            value["namespace"] = self._tool.namespace
        return value

    def added(self) -> list[Event]:
        return [_added(self)]

    def delta(self, arguments: str) -> list[Event]:
        """Take argument text; return the event for the raw text that it holds, if any."""
        return self._text(self._input.feed(arguments))

    def done(self) -> list[Event]:
        rest = self._input.end()
        if rest is None:
            raise CutOffError(self._tool.name)
        place = {"item_id": self.id, "output_index": self.output_index}
        whole = {"type": "response.custom_tool_call_input.done", **place, "input": self._input.text}
        return [*self._text(rest), whole, _done(self)]

    def _text(self, text: str) -> list[Event]:
        if not text:
            return []
        place = {"item_id": self.id, "output_index": self.output_index}
        return [{"type": "response.custom_tool_call_input.delta", **place, "delta": text}]


class SearchCall:
    """A call of Codex's tool search: its arguments are an object, so it is told only when it is whole."""

    def __init__(self, new_id: NewId, output_index: int, call_id: str) -> None:
        self.id = new_id("tsc")
        self.output_index = output_index
        self.call_id = call_id
        self._parts: list[str] = []
        self._arguments: dict[str, Any] = {}

    def value(self, status: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "tool_search_call",
            "status": status,
            "call_id": self.call_id,
            "execution": "client",
            "arguments": self._arguments,
        }

    def added(self) -> list[Event]:
        return [_added(self)]

    def delta(self, arguments: str) -> list[Event]:
        """Take argument text; there is no event for it."""
        self._parts.append(arguments)
        return []

    def done(self) -> list[Event]:
        text = "".join(self._parts)
        arguments = object_or_none(text) if text.strip() else {}
        if arguments is None:
            raise CutOffError("tool_search")
        self._arguments = arguments
        return [_done(self)]


class WebSearch:
    """A look into the web that the vendor has taken; clients show it, nobody runs it."""

    def __init__(self, new_id: NewId, output_index: int, action: dict[str, Any]) -> None:
        self.id = new_id("ws")
        self.output_index = output_index
        self._action = action

    def value(self, status: str) -> dict[str, Any]:
        return {"id": self.id, "type": "web_search_call", "status": status, "action": self._action}

    def added(self) -> list[Event]:
        return [_added(self)]

    def done(self) -> list[Event]:
        return [_done(self)]


class Compaction:
    """The one item that answers a compaction request."""

    def __init__(self, new_id: NewId, output_index: int, sealed: str) -> None:
        self.id = new_id("cmp")
        self.output_index = output_index
        self._sealed = sealed

    def value(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - compaction items have no status
        return {"id": self.id, "type": "compaction", "encrypted_content": self._sealed}

    def added(self) -> list[Event]:
        return [_added(self)]

    def done(self) -> list[Event]:
        return [_done(self)]


CallItem = FunctionCall | CustomCall | SearchCall


def call_item(new_id: NewId, output_index: int, tool: Tool, call_id: str) -> CallItem:
    """Return the item for a call of *tool*."""
    match tool.kind:
        case "custom":
            return CustomCall(new_id, output_index, tool, call_id)
        case "tool_search":
            return SearchCall(new_id, output_index, call_id)
        case _:
            return FunctionCall(new_id, output_index, tool, call_id)
