"""JSON texts that are made once and written often.

An answer tells its Response object three times, with the client's instructions and tools in it, and each turn of a
conversation brings the same tools again: 40 kB that are written five times a turn. What is written here is, byte for
byte, what :func:`jsontext.dumps` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatbridge.protocol.jsontext import dumps


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
    """The texts of what is large in one answer's Response object; for the two events at its start."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self._response = response
        self._large: list[tuple[str, Any, bytes]] | None = None
        self._used = 0

    def text(self, response: Mapping[str, Any]) -> bytes:
        """Write *response*, which is the same one, later. What has been replaced in it is seen."""
        if self._large is None:
            given = self._response
            self._large = [
                ("instructions", given.get("instructions"), dumps(given.get("instructions"))),
                ("tools", given.get("tools"), list_text(given.get("tools") or ())),
            ]
        text = object_text(response, {key: text for key, value, text in self._large if response.get(key) is value})
        self._used += 1
        if self._used % 2 == 0:
            self._large = None  # the next event is far away, and there may be thousands of answers
        return text


class Lifecycle(dict[str, Any]):
    """An event with the whole Response object in it."""

    __slots__ = ("_texts",)

    def __init__(self, kind: str, response: dict[str, Any], texts: ResponseTexts) -> None:
        super().__init__(type=kind, response=response)
        self._texts = texts

    @property
    def text(self) -> bytes:
        """The event as JSON, as it is now."""
        return object_text(self, {"response": self._texts.text(self["response"])})


def event_text(event: dict[str, Any]) -> bytes:
    """Write an event."""
    return event.text if isinstance(event, Lifecycle) else dumps(event)
