"""Tool calls as plain text: what a server passes on that has no parser for its model's calls (quirk S25).

They are noted, and read only where a profile says so (``tool_markup``): the same marks stand in texts about such
models. What is read is all or nothing: a text of which one call cannot be read, or calls a tool that was not offered,
stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chatbridge.protocol.jsontext import dumps_text

Calls = list[tuple[str, str]]
"""Names and arguments, in order."""

# DeepSeek's bars and blanks are of other kinds than those on the keyboard.
_BAR, _BLANK = r"[\uff5c|]", r"[\u2581_ ]"
_MARKS = re.compile(
    rf"<{_BAR}DSML{_BAR}|<{_BAR}tool{_BLANK}calls?|<\|?tool_calls_section_begin"
    r"|<tool_call>|<minimax:tool_call>|<function=\w|\[TOOL_CALLS\]|<\|python_tag\|>"
)
_LONGEST_MARK = 32

_NAME = r"[\w.:/-]{1,128}"
_FUNCTION = re.compile(rf"<function=({_NAME})>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(rf"<parameter=({_NAME})>(.*?)</parameter>", re.DOTALL)
_DSML = rf"(?:{_BAR}DSML{_BAR})?"
_INVOKE = re.compile(rf'<{_DSML}invoke name="({_NAME})">(.*?)</{_DSML}invoke>', re.DOTALL)
_INVOKES, _FUNCTIONS = re.compile(rf"<{_DSML}invoke name="), re.compile("<function=")
_ARGUMENT = re.compile(
    rf'<{_DSML}parameter name="({_NAME})"(?: string="(true|false)")?>(.*?)</{_DSML}parameter>', re.DOTALL
)
# A name, and what stands between it and the JSON of its arguments.
_NAMED = re.compile(
    rf"<{_BAR}tool{_BLANK}call{_BLANK}begin{_BAR}>(?:function<{_BAR}tool{_BLANK}sep{_BAR}>)?"
    rf"(?:functions\.)?(?P<name>[\w./-]{{1,128}})(?::\d+)?\s*"
    rf"(?:<{_BAR}tool{_BLANK}(?:sep|call{_BLANK}argument{_BLANK}begin){_BAR}>)?\s*(?:```json\s*)?(?=\{{)"
    rf"|(?:\[TOOL_CALLS\]|(?<=\}}))\s*(?P<mistral>{_NAME})(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*(?=\{{)"
)
_JSON_MARK = re.compile(r"<tool_call>\s*(?=[\[{])|\[TOOL_CALLS\]\s*(?=[\[{])|<\|python_tag\|>\s*(?=[\[{])")
_TAGS = re.compile(
    rf"</?{_BAR}[^>]*{_BAR}>|</?{_BAR}DSML{_BAR}[^>]*>|</?(?:tool_call|minimax:tool_call)>|\[/?TOOL_CALLS\]|```(?:json)?"
)
_decoder = json.JSONDecoder(strict=False)


def holds_calls(text: str) -> bool:
    """Tell whether *text* looks as if it held tool calls."""
    return ("<" in text or "[" in text) and _MARKS.search(text) is not None


def say_calls(items: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether what items of an answer say looks as if it held tool calls."""
    parts = [part for item in items for part in item.get("content") or item.get("summary") or ()]
    return holds_calls("\n".join([part.get("text") or part.get("refusal") or "" for part in parts]))


class Markup:
    """Lets text pass until a call begins in it, and holds back what follows."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False

    def feed(self, text: str) -> str:
        """Take a piece of text; return what is no part of a call."""
        held = self._held + text
        if not self._begun:
            mark = _MARKS.search(held)
            self._begun = mark is not None
            at = mark.start() if mark is not None else _undecided(held)
            held, passed = held[at:], held[:at]
            self._held = held
            return passed
        self._held = held
        return ""

    def rest(self) -> str:
        """Return what is held back, at the end."""
        held, self._held = self._held, ""
        return held


def _undecided(text: str) -> int:
    """Where something begins that may still become a mark."""
    near = max(len(text) - _LONGEST_MARK, 0)
    found = [at for at in (text.find("<", near), text.find("[", near)) if at >= 0]
    return min(found, default=len(text))


def read_calls(text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, Calls] | None:
    """Return the calls in *text* and what else it says, None where it holds none, or one that cannot be read.

    *tools* are those that were offered, in the form of chat/completions: only they can be called.
    """
    schemas = {
        tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools if "function" in tool
    }
    try:
        spans = list(_spans(text, schemas))
    except (ValueError, KeyError, TypeError):
        return None
    if not spans:
        return None
    rest, at, calls = [], 0, []
    for start, end, found in spans:
        rest.append(text[at:start])
        at = end
        calls += found
    left = _TAGS.sub("", "".join([*rest, text[at:]])).strip()
    return None if holds_calls(left) else (left, calls)


def _spans(text: str, schemas: Mapping[str, Any]) -> Iterator[tuple[int, int, Calls]]:
    """Yield where calls stand, and which. Raises ValueError, KeyError or TypeError for one that is none."""
    for begin, pattern, parameters in ((_INVOKES, _INVOKE, _ARGUMENT), (_FUNCTIONS, _FUNCTION, _PARAMETER)):
        found = list(pattern.finditer(text))
        if len(found) < len(begin.findall(text)):
            raise ValueError("a call is cut")
        for match in found:
            arguments = dict(_arguments(match[2], parameters, schemas[match[1]]))
            yield match.start(), match.end(), [(match[1], dumps_text(arguments))]
        if found:
            return
    at = 0
    while at < len(text):
        named, plain = _NAMED.search(text, at), _JSON_MARK.search(text, at)
        if named is None and plain is None:
            return
        if plain is None or (named is not None and named.start() < plain.start()):
            assert named is not None
            name = named["name"] or named["mistral"]
            value, end = _decoder.raw_decode(text, named.end())
            yield named.start(), end, [_call({"name": name, "arguments": value}, schemas)]
        else:
            value, end = _decoder.raw_decode(text, plain.end())
            entries = value if isinstance(value, list) else [value]
            yield plain.start(), end, [_call(entry, schemas) for entry in entries]
        at = end


def _call(entry: Any, schemas: Mapping[str, Any]) -> tuple[str, str]:
    spec = entry.get("function", entry) if isinstance(entry, dict) else {}
    name, arguments = spec["name"], spec.get("arguments", spec.get("parameters", {}))
    schemas[name]
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if not isinstance(arguments, dict):
        raise TypeError(name)
    return name, dumps_text(arguments)


def _arguments(body: str, pattern: re.Pattern[str], schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    properties = schema.get("properties") or {}
    for match in pattern.finditer(body):
        name, *said, text = match.groups()
        kind = (properties.get(name) or {}).get("type", "string")
        as_text = said[0] == "true" if said and said[0] else kind == "string"
        yield name, _plain(text) if as_text else _value(text)


def _plain(text: str) -> str:
    """A text without the line ends that set it apart."""
    return text.removeprefix("\n").removesuffix("\n")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _plain(text)
