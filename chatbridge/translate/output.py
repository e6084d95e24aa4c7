"""The output items of one answer, and the numbers of its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.translate.items import Event, Item


class Output:
    """Holds the items in their order. What is begun and never finished is told as incomplete.

    *pad* is what is done to events before they are numbered.
    """

    def __init__(self, pad: Callable[[list[Event]], None] | None = None) -> None:
        self._pad = pad
        self.items: list[Item] = []
        self.sequence = 0
        """The number of the next event."""
        self._whole: dict[Item, dict[str, Any]] = {}

    def begin(self, item: Item) -> list[Event]:
        """Add *item*; return its first events."""
        self.items.append(item)
        return self.number(item.added())

    def finish(self, item: Item) -> list[Event]:
        """Return the last events of *item*. Raises ``CutOffError`` where what came is not whole."""
        events = self.number(item.done())
        self._whole[item] = events[-1]["item"]  # as the client is told of it
        return events

    def whole(self, item: Item) -> list[Event]:
        """Add and finish *item*."""
        return [*self.begin(item), *self.finish(item)]

    def told(self, unfinished: str = "incomplete") -> list[dict[str, Any]]:
        """Return the items that the client has been told of; *unfinished* is the status of those without an end."""
        return [self._whole.get(item) or item.value(unfinished) for item in self.items]

    def finished(self) -> list[dict[str, Any]]:
        """Return the items that have an end."""
        return [self._whole[item] for item in self.items if item in self._whole]

    def number(self, events: list[Event]) -> list[Event]:
        """Number *events*, and return them."""
        if self._pad is not None:
            self._pad(events)
        for event in events:
            event["sequence_number"] = self.sequence
            self.sequence += 1
        return events
