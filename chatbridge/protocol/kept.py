"""JSON texts that are made once and written often.

An answer tells its Response object three times, with the client's instructions and tools in it, and each turn of a
conversation brings the same tools again: 40 kB that are written five times a turn. What is written here is, byte for
byte, what :func:`jsontext.dumps` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatbridge.protocol.jsontext import dumps, dumps_fast

_SMALL = 4096
"""Texts of so many bytes are written sooner than put together."""


class Kept(dict[str, Any]):
    """A JSON object that is never changed, and its text."""

    __slots__ = ("text",)

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self.text = dumps(value)


def list_text(values: Iterable[Any]) -> bytes:
    """Write an array, of which the objects that are :class:`Kept` are written already."""
    return b"[%s]" % b",".join([value.text if type(value) is Kept else dumps(value) for value in values])


def object_text(value: Mapping[str, Any], texts: Mapping[str, bytes]) -> bytes:
    """Write an object; *texts* are the values of some of its keys, written already."""
    if not texts:
        return dumps(value)
    try:
        return dumps_fast(value, texts)
    except ValueError:
        return _object_text(value, texts)


def _object_text(value: Mapping[str, Any], texts: Mapping[str, bytes]) -> bytes:
    members: list[bytes] = []
    rest: dict[str, Any] = {}
    for key, item in value.items():
        if key not in texts:
            rest[key] = item
            continue
        if rest:
            members.append(dumps(rest)[1:-1])
            rest = {}
        members.append(b"%s:%s" % (dumps(key), texts[key]))
    if rest:
        members.append(dumps(rest)[1:-1])
    return b"{%s}" % b",".join(members)


class ResponseTexts:
    """The texts of one answer's Response object. The two events at the start tell the same one: it is written once."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self._start: Mapping[str, Any] | None = response
        self._text: bytes | None = None

    def text(self, response: Mapping[str, Any]) -> bytes:
        """Write *response*, which is the same one, later; unchanged where it is that of the call before."""
        if self._start is None:
            return _response_text(response)
        if self._text is None:
            self._start, self._text = response, _response_text(response)
            return self._text
        text = self._text if response is self._start else _response_text(response)
        self._start = self._text = None  # the next event is far away, and there may be thousands of answers
        return text


def _response_text(response: Mapping[str, Any]) -> bytes:
    tools = response.get("tools") or ()
    if not tools or sum([len(tool.text) for tool in tools if type(tool) is Kept]) < _SMALL:
        return dumps(response)
    return object_text(response, {"tools": list_text(tools)})


class Lifecycle(dict[str, Any]):
    """An event with the whole Response object in it; it is written when it has its number."""

    __slots__ = ("_texts",)

    def __init__(self, kind: str, response: dict[str, Any], texts: ResponseTexts) -> None:
        self["type"], self["response"] = kind, response
        self._texts = texts

    @property
    def text(self) -> bytes:
        """The event as JSON, as it is now."""
        kind, response, number = self["type"].encode(), self._texts.text(self["response"]), self["sequence_number"]
        return b'{"type":"%b","response":%b,"sequence_number":%d}' % (kind, response, number)


def event_text(event: dict[str, Any]) -> bytes:
    """Write an event."""
    return event.text if type(event) is Lifecycle else dumps(event)
