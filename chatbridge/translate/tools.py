"""Tools, there and back: the Responses kinds and namespaces on one side, plain functions on the other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from chatbridge.protocol.checks import missing, optional, wrong
from chatbridge.protocol.errors import ApiError
from chatbridge.protocol.kept import Kept
from chatbridge.translate.custom_input import ARGUMENT
from chatbridge.translate.declared import Declarations, Declared
from chatbridge.translate.notes import Notes
from chatbridge.translate.schema import tool_parameters
from chatbridge.translate.search import may_search
from chatbridge.vendors.profile import Profile

NAME_LIMIT = 64
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
# Codex takes calls of this namespace's tools with and without it; models know them by their bare names.
_BARE_NAMESPACE = "functions"
TOOL_SEARCH = "tool_search"
_known: Declarations[Declared] = Declarations()
_lists: Declarations[Tools] = Declarations()


@dataclass(frozen=True, slots=True)
class Tool:
    """What a chat function stands for: ``function``, ``custom`` or ``tool_search``, and its Responses name."""

    kind: str
    name: str
    namespace: str | None = None


class Tools:
    """The tools of one request.

    Entries come from ``tools``, ``additional_tools`` items and ``tool_search_output`` items, in that order. The first
    of two with the same name and namespace counts, so that the list sent upstream keeps its beginning from turn to
    turn. Names are legal chat names (``[a-zA-Z0-9_-]``, at most 64); what had to be changed carries a hash of the
    original, so the same tool has the same name in every turn, process and worker.
    """

    def __init__(self, notes: Notes, profile: Profile = Profile(), *, vendor_search: bool = False) -> None:  # noqa: B008 - frozen
        self.chat: list[Kept] = []
        """The tools in the form of chat/completions."""
        self.echo: list[dict[str, Any]] = []
        """The function tools, normalised, for ``response.tools``."""
        self.search = False
        """The vendor is to search the web where the model wants it."""
        self._vendor_search = vendor_search
        self._notes = notes
        self._profile = profile
        self._flat: dict[tuple[str | None, str], str] = {}
        self._taken: set[str] = set()
        self._tools: dict[str, Tool] = {}

    def add(self, entries: Any, path: str) -> None:
        """Take a list of Responses tools; *path* is where it stands in the request, for errors."""
        if entries is None:
            return
        if not isinstance(entries, list):
            raise ApiError(400, f"{path} must be an array of tools.", param=path, code="invalid_type")
        if entries and not self._flat:
            self._begin(_lists.find(entries, (self._profile, self._vendor_search), lambda: self._first(entries, path)))
        else:
            self._add_all(entries, path)

    def _first(self, entries: list[Any], path: str) -> Tools:
        """Return what *entries* make of a request without any tool."""
        first = Tools(Notes(), self._profile, vendor_search=self._vendor_search)
        first._add_all(entries, path)
        return first

    def _begin(self, first: Tools) -> None:
        self.chat, self.echo, self.search = first.chat.copy(), first.echo.copy(), first.search or self.search
        self._flat, self._taken, self._tools = first._flat.copy(), first._taken.copy(), first._tools.copy()
        for kind, text in first._notes:
            self._notes.add(kind, text)

    def _add_all(self, entries: list[Any], path: str) -> None:
        for index, entry in enumerate(entries):
            self._add(entry, None, f"{path}[{index}]")

    def _add(self, entry: Any, namespace: str | None, path: str) -> None:
        if not isinstance(entry, dict):
            raise ApiError(400, f"{path} must be an object.", param=path, code="invalid_type")
        match entry.get("type"):
            case "function":
                self._function(entry, namespace, path)
            case "custom":
                self._custom(entry, namespace, path)
            case "namespace" if namespace is None:
                name = _name(entry, path)
                for index, inner in enumerate(optional(entry.get("tools"), list, f"{path}.tools") or ()):
                    self._add(inner, name, f"{path}.tools[{index}]")
            case "tool_search" if entry.get("execution", "client") == "client":
                self._tool_search(entry, path)
            case str(kind) if kind.startswith("web_search") and self._vendor_search:
                self.search = may_search(entry, self._profile, self._notes) or self.search
            case str(kind):
                self._notes.add(f"tool:{kind}", f"tool of type {kind!r} left out: chat/completions has none")
            case None:
                raise missing(f"{path}.type")
            case _:
                raise wrong(f"{path}.type", "must be a string", "invalid_type")

    def _function(self, entry: dict[str, Any], namespace: str | None, path: str) -> None:
        inner = entry.get("function")
        spec = inner if isinstance(inner, dict) else entry
        tool = Tool("function", _name(spec, path), namespace)
        declared = _known.find(spec, ("function", *self._how), lambda: self._function_declared(spec, path))
        if self._declare(tool, declared) and namespace is None and declared.echo is not None:
            self.echo.append(declared.echo)

    def _function_declared(self, spec: dict[str, Any], path: str) -> Declared:
        function = self._declaration(spec, path)
        strict = optional(spec.get("strict"), bool, f"{path}.strict")
        if self._profile.strict == "always" or (strict and self._profile.strict == "true"):
            function["strict"] = bool(strict)
        echo = {
            "type": "function",
            "name": spec["name"],
            "description": spec.get("description"),
            "parameters": spec.get("parameters"),
            "strict": strict,
        }
        return Declared(function, echo)

    def _custom(self, entry: dict[str, Any], namespace: str | None, path: str) -> None:
        tool = Tool("custom", _name(entry, path), namespace)
        self._declare(tool, _known.find(entry, ("custom", *self._how), lambda: self._custom_declared(entry, path)))

    def _custom_declared(self, entry: dict[str, Any], path: str) -> Declared:
        text = {"type": "string", "description": "The raw text, with no JSON, quotes or code fence around it."}
        parameters = {
            "type": "object",
            "properties": {ARGUMENT: text},
            "required": [ARGUMENT],
            "additionalProperties": False,
        }
        description = _custom_description(entry, path)
        return Declared(
            {"description": description, "parameters": tool_parameters(parameters, self._profile.schema)}, None
        )

    def _tool_search(self, entry: dict[str, Any], path: str) -> None:
        declared = _known.find(entry, ("search", *self._how), lambda: Declared(self._declaration(entry, path), None))
        self._declare(Tool(TOOL_SEARCH, TOOL_SEARCH), declared)

    @property
    def _how(self) -> tuple[Any, ...]:
        """What of the profile changes a declaration."""
        return self._profile.schema, self._profile.strict

    def _declaration(self, entry: dict[str, Any], path: str) -> dict[str, Any]:
        function: dict[str, Any] = {}
        if description := optional(entry.get("description"), str, f"{path}.description"):
            function["description"] = description
        function["parameters"] = tool_parameters(
            optional(entry.get("parameters"), dict, f"{path}.parameters"), self._profile.schema
        )
        return function

    def _declare(self, tool: Tool, declared: Declared) -> bool:
        if _key(tool.name, tool.namespace) in self._flat:
            known = self._tools.get(self.flat(tool.name, tool.namespace))
            if known is not None and known.kind != tool.kind:
                self._notes.add("tool:twice", "a second tool of the same name, but another kind, left out")
            return False
        name = self.flat(tool.name, tool.namespace)
        self._tools[name] = tool
        self.chat.append(declared.chat(name))
        return True

    def characters(self) -> int:
        """Return the length of what is offered, for an estimate of its tokens."""
        return sum(len(tool.text) for tool in self.chat)

    def flat(self, name: str, namespace: str | None = None) -> str:
        """Return the chat name of a Responses name, also of one that only the history knows."""
        key = (None, name) if namespace is None else _key(name, namespace)
        found = self._flat.get(key)
        if found is None:
            found, tries = _flat_name(name, namespace, letter_first=self._profile.name_starts_with_letter), 0
            while found in self._taken:
                found, tries = _hashed(found, name, namespace, tries), tries + 1
            self._taken.add(found)
            self._flat[key] = found
        return found

    def resolve(self, name: str) -> Tool:
        """Return what a chat name stands for. A name that was not offered is a function of that name.

        Models also write ``namespace.name`` or leave the namespace out; when only one tool can be meant, it is.
        """
        found = self._tools.get(name) or self._tools.get(_ILLEGAL.sub("_", name.replace(".", "__")))
        if found is not None:
            return found
        bare = re.split(r"\.|__", name)[-1]
        meant = [tool for tool in self._tools.values() if tool.name == bare]
        return meant[0] if len(meant) == 1 else Tool("function", name)

    def choice(self, choice: Any) -> Any:
        """Return ``tool_choice`` for chat/completions, None when it says nothing new.

        ``allowed_tools`` narrows :attr:`chat`: no chat server but OpenAI's knows it. A hosted tool that was left out
        cannot be forced. Raises :class:`ApiError` for a tool that is not offered.
        """
        if choice is None or choice == "auto":
            return None
        if choice == "none":
            if self._profile.tool_choice.get("none") != "omit":
                return "none"
            self.chat = []  # what is not offered is not called
            return None
        if choice == "required":
            return self._required()
        if isinstance(choice, dict):
            match choice.get("type"):
                case "function" | "custom" | "tool_search":
                    return self._named(self._offered(choice))
                case "allowed_tools":
                    return self._allow(choice)
                case str(kind):
                    self._notes.add(f"tool_choice:{kind}", f"tool_choice of type {kind!r}: the model chooses")
                    return None
        raise ApiError(
            400, "tool_choice is not one that the Responses API has.", param="tool_choice", code="invalid_value"
        )

    def _allow(self, choice: dict[str, Any]) -> str | None:
        inner = choice.get("allowed_tools")
        spec = inner if isinstance(inner, dict) else choice
        entries = spec.get("tools")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ApiError(
                400, "tool_choice.tools must be an array of tools.", param="tool_choice.tools", code="invalid_type"
            )
        wanted: set[str] = set()
        for entry in entries:
            match entry.get("type"):
                case "function" | "custom" | "tool_search":
                    wanted.add(self._offered(entry))
                case "namespace":
                    inside = entry.get("name")
                    wanted.update(flat for flat, tool in self._tools.items() if tool.namespace == inside)
                case kind:
                    self._notes.add(
                        f"allowed:{kind}", f"tool_choice allows a tool of type {kind!r}, which was left out"
                    )
        self.chat = [tool for tool in self.chat if tool["function"]["name"] in wanted]
        self.search = self.search and any(str(entry.get("type")).startswith("web_search") for entry in entries)
        return self._required() if spec.get("mode") == "required" and self.chat else None

    def _required(self) -> str | None:
        word = self._profile.tool_choice.get("required", "required")
        if word in ("auto", "omit"):
            self._notes.add("tool_choice:required", "tool_choice 'required': this model cannot be forced")
            return None
        return word

    def _named(self, name: str) -> Any:
        word = self._profile.tool_choice.get("named")
        if word is None:
            return {"type": "function", "function": {"name": name}}
        if word in ("auto", "omit"):
            self._notes.add("tool_choice:named", "a named tool_choice: this model cannot be forced")
            return None
        # The vendor can be made to call, but not told which: so it is offered only that one.
        self.chat = [tool for tool in self.chat if tool["function"]["name"] == name]
        return word

    def _offered(self, choice: dict[str, Any]) -> str:
        inner = choice.get("function")
        spec = inner if isinstance(inner, dict) else choice
        name = TOOL_SEARCH if choice.get("type") == "tool_search" else spec.get("name")
        namespace = spec.get("namespace")
        for flat, tool in self._tools.items():
            if tool.name == name and (namespace is None or tool.namespace == namespace):
                return flat
        raise ApiError(400, f"Tool choice {name!r} not found in 'tools'.", param="tool_choice", code="invalid_value")


def _name(entry: dict[str, Any], path: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError(400, f"{path}.name must be a non-empty string.", param=f"{path}.name", code="invalid_type")
    return name


def _custom_description(entry: dict[str, Any], path: str) -> str:
    lines = [(optional(entry.get("description"), str, f"{path}.description") or "").strip()]
    lines.append(f"Call this tool with one string argument, `{ARGUMENT}`: the raw text itself.")
    form = optional(entry.get("format"), dict, f"{path}.format")
    if form and form.get("definition"):
        lines.append(f"The text must match this {form.get('syntax', '')} grammar:\n{form['definition']}")
    return "\n\n".join(line for line in lines if line)


def _key(name: str, namespace: str | None) -> tuple[str | None, str]:
    return (None if namespace in (None, "", _BARE_NAMESPACE) else namespace, name)


def _flat_name(name: str, namespace: str | None, *, letter_first: bool) -> str:
    namespace, name = _key(name, namespace)
    joined = name if namespace is None else f"{namespace}__{name}"
    legal = _ILLEGAL.sub("_", joined)
    if letter_first and not (legal[0].isalpha() or legal[0] == "_"):
        legal = f"_{legal}"
    return legal if legal == joined and len(legal) <= NAME_LIMIT else _hashed(legal, name, namespace)


def _hashed(legal: str, name: str, namespace: str | None, tries: int = 0) -> str:
    original = f"{namespace or ''}\0{name}" + (f"\0{tries}" if tries else "")
    digest = hashlib.sha256(original.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{legal[: NAME_LIMIT - 9]}_{digest}"
