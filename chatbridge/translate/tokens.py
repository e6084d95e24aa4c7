"""How many tokens a request has, guessed: no two models count alike, and none is asked.

The messages are counted as the upstream gets them. ASCII text has four characters a token, any other text three bytes
of UTF-8 a token, which is about a token a character for Chinese, Japanese and Korean. To that come fixed prices for
each message, call, tool, image and file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chatbridge.protocol.jsontext import dumps_text

ANSWER = 3
"""What every request has, so that the answer can begin."""
MESSAGE = 4
CALL = 8
TOOL = 8
IMAGE = 1000
SMALL_IMAGE = 85
"""One with ``detail`` low."""
BLOB = 1000
"""A file or a piece of audio; a long one has more."""

Count = Callable[[str], int]
"""How many tokens a text has."""


def guess(text: str) -> int:
    """Return how many tokens *text* may have."""
    if text.isascii():
        return -(-len(text) // 4)
    ascii_characters = len(text.encode("ascii", "ignore"))
    others = len(text.encode("utf-8", "replace")) - ascii_characters
    return -(-ascii_characters // 4) + -(-others // 3)


def estimate(body: Mapping[str, Any], count: Count = guess) -> int:
    """Return how many tokens a chat/completions request has; *count* counts a text's."""
    found = ANSWER + sum(_message(message, count) for message in body["messages"])
    found += sum(TOOL + count(dumps_text(tool)) for tool in body.get("tools") or ())
    form = body.get("response_format") or {}
    return found + (count(dumps_text(form["json_schema"])) if "json_schema" in form else 0)


def _message(message: Mapping[str, Any], count: Count) -> int:
    found = MESSAGE + _content(message.get("content"), count)
    for call in message.get("tool_calls") or ():
        found += CALL + count(call["function"]["name"]) + count(call["function"]["arguments"])
    return found


def _content(content: Any, count: Count) -> int:
    if isinstance(content, str):
        return count(content)
    found = 0
    for part in content or ():
        match part.get("type"):
            case "text":
                found += count(part["text"])
            case "image_url":
                image = part["image_url"]
                found += SMALL_IMAGE if isinstance(image, dict) and image.get("detail") == "low" else IMAGE
            case _:
                found += BLOB
    return found
