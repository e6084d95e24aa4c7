"""What differs between vendors, as typed data.

One TOML file a vendor in ``chatbridge/vendors/data``; docs/vendors.md explains each key. A key that is left out has the
default of :class:`Profile`, which is what an unknown server most likely takes.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to talk to one vendor, and to one of its models."""

    name: str = "generic"

    # Where it is
    label: str = "an OpenAI-compatible server"
    base_url: str = ""
    """What ``--upstream NAME`` stands for."""
    hosts: tuple[str, ...] = ()
    """``host`` or ``host:port`` globs whose URLs choose this profile."""
    key_env: str = "OPENAI_API_KEY"
    """The usual variable for the key; empty where none is needed."""
    key_header: str = "Authorization"
    key_scheme: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the vendor wants on every request."""

    # Messages
    developer_role: str = "system"
    """The role of developer messages; few servers know ``developer`` (quirk R01)."""
    system_placement: str = "first"
    """``first``: one system message at the start, later ones become user text, since many chat templates refuse any
    other place (quirk R02). ``anywhere``: each in its place."""
    calls_content: str = "empty"
    """The content of an assistant message that only calls: ``empty`` (""), ``null`` or ``omit`` (quirk R20)."""
    name_in_results: bool = False
    """Tool messages carry the function's name."""
    user_after_results: bool = True
    """False: an assistant message must stand between results and user text (Mistral, quirk R22)."""
    alternate: bool = False
    """Neighbouring messages of one role are joined."""
    images: str = "object"
    """``object`` ({"url": …}), ``string``, ``data`` (data URLs only) or ``none`` (a note in their place)."""

    # Parameters
    drop: tuple[str, ...] = ()
    """Keys of the request that the vendor refuses (quirks R04, R24, R27)."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Keys that have another name there."""
    max_tokens_field: str = "max_tokens"
    max_tokens: int = 0
    """Sent when the client names no limit, where the vendor's own default is too small (quirk R28); 0 sends none."""
    stream_options: bool = True
    response_formats: tuple[str, ...] = ("json_object", "json_schema")
    body: Mapping[str, Any] = field(default_factory=dict)
    """Merged into every request."""
    body_with_tools: Mapping[str, Any] = field(default_factory=dict)
    """Merged into requests with tools."""
    max_bytes: int = 0
    """The largest request body; 0 knows no limit."""

    # Tools
    strict: str = "true"
    """When a tool's ``strict`` is sent: when it is ``true``, ``always`` or ``never`` (quirk R16)."""
    parallel_tool_calls: str = "false"
    """When it is sent: when it is ``false``, ``always`` or ``never`` (quirk R18)."""
    max_tools: int = 0
    """0 knows no limit."""
    tool_choice: Mapping[str, str] = field(default_factory=dict)
    """What ``required`` and ``named`` are sent as: ``required``, ``any``, ``auto`` or ``omit`` (quirk R17)."""
    schema: tuple[str, ...] = ()
    """Steps that rewrite the tools' schemas (quirk R15)."""
    name_starts_with_letter: bool = False
    call_id: str = "any"
    """``any``, ``40`` (at most so many characters) or ``alnum9`` (nine letters and digits, quirk R10)."""

    # Reasoning
    effort_field: str = "reasoning_effort"
    """Where the effort goes; a dot enters an object; empty sends none."""
    effort: Mapping[str, str] = field(default_factory=lambda: {"xhigh": "high", "max": "high", "ultra": "high"})
    """Efforts sent as another one; as ``""``, not at all."""
    thinking_on: Mapping[str, Any] = field(default_factory=dict)
    """Merged when an effort is asked for."""
    thinking_off: Mapping[str, Any] = field(default_factory=dict)
    """Merged in place of the effort ``none``."""
    replay: str = "none"
    """How earlier reasoning goes back: ``none``, ``reasoning_content``, ``reasoning``, ``reasoning_text``,
    ``reasoning_details``, ``content_parts`` or ``think_tags`` (quirks R06, R07, R09)."""
    replay_on: str = "calls"
    """On which assistant messages: those with ``calls``, those since the last user message (``loop``) or ``all``."""
    replay_placeholder: str | None = None
    """What stands in for reasoning that is lost; null leaves the field out."""
    signature_placeholder: str = ""
    """What stands in for a lost thought signature on a call (Gemini, quirk R08)."""
    think_tags: str = "start"
    """Where think tags in the content are reasoning: at the ``start``, or ``never``."""

    # Errors
    overflow: tuple[str, ...] = ()
    """Regular expressions for context overflow, besides those known of any vendor."""
    empty_error_is_overflow: bool = False
    """A 400 or 413 without a body means a context overflow (quirk E06)."""

    # Web search
    search: Mapping[str, Any] = field(default_factory=dict)
    """How the vendor searches on this endpoint: merged into a request that may search (docs/vendors.md)."""

    # Models
    context_window: int = 0
    """Tokens; 0 is not known."""
    models: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """(glob, keys that differ) for single models; all that match count, the last one most."""

    def for_model(self, model: str) -> Profile:
        """Return the profile for one model."""
        return _for_model(self, model) if self.models else self

    def __hash__(self) -> int:
        return hash((self.name, id(self)))


class ProfileError(ValueError):
    """A profile is wrong; the text names file, key and what is allowed."""


_CHOICES = {
    "developer_role": ("system", "developer"),
    "system_placement": ("first", "anywhere"),
    "calls_content": ("empty", "null", "omit"),
    "images": ("object", "string", "data", "none"),
    "max_tokens_field": ("max_tokens", "max_completion_tokens"),
    "strict": ("true", "always", "never"),
    "parallel_tool_calls": ("false", "always", "never"),
    "call_id": ("any", "40", "alnum9"),
    "replay": (
        "none",
        "reasoning_content",
        "reasoning",
        "reasoning_text",
        "reasoning_details",
        "content_parts",
        "think_tags",
    ),
    "replay_on": ("calls", "loop", "all"),
    "think_tags": ("start", "never"),
}
_EACH = {
    "response_formats": ("json_object", "json_schema"),
    "schema": (
        "inline_refs",
        "drop:$schema",
        "drop:additionalProperties",
        "drop_false:additionalProperties",
        "drop:propertyNames",
        "drop:pattern",
        "drop:format",
        "drop:minItems",
        "nullable_from_type_list",
        "push_type_into_any_of",
        "tuple_to_prefix_items",
    ),
}
_TOOL_CHOICES = ("required", "any", "auto", "omit")
_KEYS = tuple(item.name for item in fields(Profile) if item.name != "name")
_TYPES = get_type_hints(Profile)


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile in TOML *text*; *name* is the file's. Raises :class:`ProfileError`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}: {error}") from None
    models = data.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(keys, dict) for keys in models.values()):
        raise ProfileError(f"{name}: models must be tables, as [models.\"gpt-*\"]")
    values = {key: _checked(name, key, value) for key, value in data.items()}
    single = tuple(
        (glob, {key: _checked(f"{name}: models.{glob}", key, value) for key, value in keys.items()})
        for glob, keys in models.items()
    )
    return Profile(name=name.rpartition("/")[2].removesuffix(".toml"), models=single, **values)


def _checked(where: str, key: str, value: Any) -> Any:
    """Return *value* as the field *key* holds it. Raises :class:`ProfileError`."""
    if key not in _KEYS or key == "models":
        near = difflib.get_close_matches(key, _KEYS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(_KEYS)}"
        raise ProfileError(f"{where}: unknown key {key!r}; {hint}")
    kind = _TYPES[key]
    plain = next(iter(get_args(kind))) if isinstance(kind, UnionType) else get_origin(kind) or kind
    wanted: type = {tuple: list, Mapping: dict}.get(plain, plain)
    if type(value) is not wanted:
        raise ProfileError(f"{where}: {key} must be {_TOML_NAMES[wanted]}, not {value!r}")
    if wanted is list and not all(isinstance(item, str) for item in value):
        raise ProfileError(f"{where}: {key} must be an array of strings")
    _check_allowed(where, key, value, _CHOICES.get(key), [value])
    if key in _EACH:
        _check_allowed(where, key, value, _EACH[key], value)
    if key == "tool_choice":
        _check_allowed(where, key, value, _TOOL_CHOICES, value.values())
        _check_allowed(where, key, value, ("required", "named"), value)
    return tuple(value) if wanted is list else value


def _check_allowed(where: str, key: str, value: Any, allowed: tuple[str, ...] | None, given: Any) -> None:
    wrong = [item for item in given if item not in allowed] if allowed is not None else []
    if wrong and allowed is not None:
        raise ProfileError(f"{where}: {key} = {value!r}: {wrong[0]!r} is none of {', '.join(allowed)}")


_TOML_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "an array", dict: "a table"}


@cache
def _for_model(profile: Profile, model: str) -> Profile:
    found: dict[str, Any] = {}
    for glob, keys in profile.models:
        if fnmatchcase(model.lower(), glob.lower()):
            found.update(keys)
    return replace(profile, models=(), **found) if found else replace(profile, models=())


@cache
def profiles() -> Mapping[str, Profile]:
    """Return the profiles that come with the package, by name. Raises :class:`ProfileError`."""
    files = resources.files("chatbridge.vendors.data").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    found = [parse_profile(name, text) for name, text in sorted(texts.items())]
    return {profile.name: profile for profile in [Profile(), *found]}


def profile_named(name: str) -> Profile:
    """Return the profile *name*. Raises :class:`ProfileError` naming those that there are."""
    found = profiles().get(name)
    if found is None:
        near = difflib.get_close_matches(name, profiles(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(profiles())}"
        raise ProfileError(f"no vendor profile {name!r}; {hint}")
    return found


@cache
def profile_for(url: str) -> Profile:
    """Return the profile for an upstream URL, the generic one for an unknown host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for profile in profiles().values():
        if any(fnmatchcase(f"{host}:{port}" if ":" in glob else host, glob) for glob in profile.hosts):
            return profile
    return profiles()["generic"]
