"""Log probabilities: from the choices' ``logprobs`` to the text that they belong to.

They come beside the text of a chunk, but the text may be held back for a while (a think tag that may begin), so they
wait for the next text that goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatbridge.translate.items import Event, Message

Logprob = dict[str, Any]


class Logprobs:
    """What one answer's log probabilities wait in."""

    def __init__(self) -> None:
        self._waiting: list[Logprob] = []
        self.came = False
        """The upstream has sent any."""

    def add(self, chunk: Any) -> None:
        """Take those of a decoded chunk or whole completion."""
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        for choice in choices if isinstance(choices, list) else ():
            given = choice.get("logprobs") if isinstance(choice, dict) else None
            content = given.get("content") if isinstance(given, dict) else None
            found = [_read(entry) for entry in content if _is_logprob(entry)] if isinstance(content, list) else []
            self._waiting += found
            self.came = self.came or bool(found)

    def tell(self, events: Sequence[Event], message: Message | None) -> None:
        """Put those that wait into the first event with text, and into *message*, which it belongs to."""
        kinds = {event["type"]: event for event in reversed(events)}
        delta = kinds.get("response.output_text.delta")
        if delta is not None and message is not None and message.id == delta["item_id"]:
            delta["logprobs"] = self._waiting
            message.logprobs.extend(self._waiting)
        if delta is not None or "response.reasoning_summary_text.delta" in kinds:
            self._waiting = []  # those of reasoning have no place


def _is_logprob(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return False
    return isinstance(entry.get("logprob"), int | float) and not isinstance(entry["logprob"], bool)


def _read(entry: dict[str, Any]) -> Logprob:
    others = entry.get("top_logprobs")
    top = [_one(other) for other in others if _is_logprob(other)] if isinstance(others, list) else []
    return {**_one(entry), "top_logprobs": top}


def _one(entry: dict[str, Any]) -> Logprob:
    given = entry.get("bytes")
    octets = given if isinstance(given, list) else list(entry["token"].encode("utf-8", "replace"))
    return {"token": entry["token"], "logprob": entry["logprob"], "bytes": octets}
