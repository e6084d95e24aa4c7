"""What differs between vendors, as typed data.

One TOML file a vendor in ``chatbridge/vendors/data``; docs/vendors.md explains each key. A key that is left out has the
default of :class:`Profile`, which is what an unknown server most likely takes.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib import resources
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from chatbridge.vendors.checks import EFFORTS, OPENAI_KEYS, ProfileError, check, check_allowed


# Compared and hashed by identity: it holds tables, and each vendor has one.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """How to talk to one vendor, and to one of its models."""

    name: str = "generic"

    # Where it is
    label: str = "an OpenAI-compatible server"
    base_url: str = ""
    """What ``--upstream NAME`` stands for; a part in braces is the user's own."""
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
    other place (quirk R02). ``anywhere``: each in its place. ``user``: all become user text."""
    calls_content: str = "empty"
    """The content of an assistant message that only calls: ``empty`` (""), ``null`` or ``omit`` (quirk R20)."""
    name_in_results: bool = False
    """Tool messages carry the function's name."""
    user_after_results: bool = True
    """False: an assistant message must stand between results and user text (Mistral, quirk R22)."""
    assistant_last: bool = True
    """False: the last message must be the user's or a result (quirk R22)."""
    alternate: bool = False
    """Neighbouring messages of one role are joined."""
    images: str = "object"
    """``object`` ({"url": …}), ``string``, ``data`` (data URLs only) or ``none`` (a note in their place)."""
    parts: tuple[str, ...] = ("file", "input_audio")
    """What messages may hold besides text and images: ``file`` (with ``file_data``), ``file_id`` (one that is stored
    there), ``file_url`` (a URL in place of ``file_data``), ``input_audio``."""

    # Parameters
    drop: tuple[str, ...] = ()
    """Keys of the request that the vendor refuses (quirks R04, R24)."""
    openai_keys: tuple[str, ...] = OPENAI_KEYS
    """Which of OpenAI's own keys are sent (quirks R26, R27)."""
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
    tools_for_calls: bool = False
    """A request whose history has calls must offer tools, even one that wants text only (quirk R13)."""
    strict: str = "true"
    """When a tool's ``strict`` is sent: when it is ``true``, ``always`` or ``never`` (quirk R16)."""
    parallel_tool_calls: str = "false"
    """When it is sent: when it is ``false``, ``always`` or ``never`` (quirk R18)."""
    max_tools: int = 0
    """0 knows no limit."""
    tool_choice: Mapping[str, str] = field(default_factory=dict)
    """What ``required`` and ``named`` are sent as: ``required``, ``any``, ``auto`` or ``omit`` (quirk R17). A named
    tool that becomes ``required`` or ``any`` is the only one offered. ``none`` as ``omit`` offers no tools."""
    schema: tuple[str, ...] = ()
    """Steps that rewrite the tools' schemas (quirk R15)."""
    name_starts_with_letter: bool = False
    call_id: str = "any"
    """``any``, ``40`` (at most so many characters), ``word`` (letters, digits, ``_`` and ``-``) or ``alnum9`` (nine
    letters and digits), quirk R10."""

    # Reasoning
    effort_field: str = "reasoning_effort"
    """Where the effort goes; a dot enters an object; empty sends none."""
    efforts: tuple[str, ...] = ("none", "minimal", "low", "medium", "high")
    """Those that the vendor knows. Another one is sent as the next higher one, or the highest; only ``none`` itself is
    ever sent as ``none``."""
    effort: Mapping[str, str | int] = field(default_factory=dict)
    """Efforts sent as another one all the same, as a number of tokens, or as ``""``, not at all."""
    effort_with_tools: str = ""
    """The one effort that requests with tools may have, and must name; empty: any."""
    thinking_on: Mapping[str, Any] = field(default_factory=dict)
    """Merged when an effort other than ``none`` is asked for."""
    thinking_off: Mapping[str, Any] = field(default_factory=dict)
    """Merged in place of the effort ``none``."""
    replay: str = "none"
    """How earlier reasoning goes back: ``none``, ``reasoning_content``, ``reasoning``, ``reasoning_text``,
    ``reasoning_details``, ``content_parts`` or ``think_tags`` (quirks R06, R07, R09)."""
    replay_on: str = "calls"
    """On which assistant messages: those with ``calls``, those since the last user message (``loop``) or ``all``."""
    replay_placeholder: str | None = None
    """What stands in for reasoning that is lost; without it the field is left out. ``reasoning_details`` that are lost
    are replaced by the field ``reasoning``."""
    signature_placeholder: str = ""
    """What stands in for a lost thought signature on a call (Gemini, quirk R08)."""
    think_tags: str = "start"
    """Where think tags in the content are reasoning: at the ``start``; ``open`` where the first tag stands in the
    prompt, so that the content begins inside; ``never`` (quirk S34)."""

    tool_markup: str = "text"
    """What tool calls are that come as text, in the model's own marks: ``text``, or ``calls`` where tools were offered
    and no other call came (quirk S25)."""

    # Errors
    overflow: tuple[str, ...] = ()
    """Regular expressions for context overflow, besides those known of any vendor."""
    empty_error_is_overflow: bool = False
    """A 400 or 413 without a body means a context overflow (quirk E06)."""

    # Web search
    search: Mapping[str, Any] = field(default_factory=dict)
    """How the vendor searches on this endpoint: ``body`` is merged into a request that may search, ``tools`` are
    appended to its tools."""

    # Models
    context_window: int = 0
    """Tokens; 0 is not known."""
    models: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """(globs with ``|`` between them, keys that differ) for single models; all that match count, the last one most."""

    def for_model(self, model: str) -> Profile:
        """Return the profile for one model; letter case does not count."""
        return _for_model(self, model) if self.models else self

    def chat_url(self) -> str:
        """Return the address of chat/completions. Raises :class:`ProfileError` where the vendor has no fixed one."""
        if not self.base_url or "{" in self.base_url:
            example = f", as {self.base_url}/chat/completions" if self.base_url else ""
            raise ProfileError(f"{self.name} has no address of its own: give the upstream's URL{example}")
        return f"{self.base_url}/chat/completions"

    def sends(self, key: str) -> bool:
        """Return whether the request's *key* may be sent."""
        return key not in _unsent(self)

    def unsent(self, keys: Collection[str]) -> list[str]:
        """Return those of the request's *keys* that may not be sent."""
        refused = _unsent(self)
        return [] if refused.isdisjoint(keys) else [key for key in keys if key in refused]

    def reasoning(self, effort: str) -> dict[str, Any]:
        """Return the keys that ask for *effort*: a new table, empty where there is no such dial."""
        if effort == "none" and self.thinking_off:
            return deepcopy(dict(self.thinking_off))
        asked = {} if effort == "none" else deepcopy(dict(self.thinking_on))
        value = self._effort(effort) if self.effort_field else ""
        if value != "":
            *objects, key = self.effort_field.split(".")
            table = asked
            for name in objects:
                table = table.setdefault(name, {})
            table[key] = value
        return asked

    def _effort(self, effort: str) -> str | int:
        if effort in self.effort:
            return self.effort[effort]
        if effort in self.efforts or effort not in EFFORTS:
            return effort if self.efforts else ""
        known = [word for word in EFFORTS if word in self.efforts and word != "none"]
        above = [word for word in known if EFFORTS.index(word) > EFFORTS.index(effort)]
        return next(iter(above or reversed(known)), "")


_OF_THE_VENDOR = frozenset({"label", "base_url", "hosts", "key_env", "key_header", "key_scheme", "headers"})
_KEYS = tuple(item.name for item in fields(Profile) if item.name not in ("name", "models"))
_MODEL_KEYS = tuple(key for key in _KEYS if key not in _OF_THE_VENDOR)
# An upstream's address and key are said elsewhere.
_SETTABLE = tuple(key for key in _KEYS if key not in ("base_url", "hosts", "key_env"))


def _toml_type(hint: Any) -> type:
    plain = get_args(hint)[0] if isinstance(hint, UnionType) else get_origin(hint) or hint
    found: type = {tuple: list, Mapping: dict}.get(plain, plain)
    return found


_TYPES = {key: _toml_type(hint) for key, hint in get_type_hints(Profile).items()}


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile in TOML *text*; *name* is the file's. Raises :class:`ProfileError`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}: {error}") from None
    models = data.pop("models", {})
    profile = Profile(name=name.rpartition("/")[2].removesuffix(".toml"), **_checked(name, _KEYS, data))
    _check_efforts(name, profile)
    return replace(profile, models=tuple(_models(name, models, profile)))


def with_keys(profile: Profile, data: Mapping[str, Any], where: str) -> Profile:
    """Return *profile* with single keys set otherwise, for all models; ``models`` in *data* is as in a file.

    Raises :class:`ProfileError` that begins with *where*.
    """
    models = data.get("models", {})
    given = _checked(where, _SETTABLE, {key: value for key, value in data.items() if key != "models"})
    _check_efforts(where, replace(profile, models=(), **given))
    # Behind what the profile says of single models, so that it holds for them, too.
    everywhere = {key: value for key, value in given.items() if key in _MODEL_KEYS}
    more = [("*", everywhere)] if everywhere and profile.models else []
    changed = replace(profile, **given)
    return replace(changed, models=(*profile.models, *more, *_models(where, models, changed)))


def _models(where: str, models: Any, profile: Profile) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(models, dict) or not all(isinstance(keys, dict) for keys in models.values()):
        raise ProfileError(f'{where}: models must be tables, as [models."gpt-*"]')
    single: list[tuple[str, Mapping[str, Any]]] = []
    elsewhere = any("effort" in keys for _, keys in profile.models)
    for globs, keys in models.items():
        place = f"{where}: models.{globs}"
        checked = _checked(place, _MODEL_KEYS, keys)
        single.append((globs, checked))
        if "effort" in checked or not elsewhere:
            _check_efforts(place, replace(profile, **checked))
    return single


def _checked(where: str, known: tuple[str, ...], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return *data* as :class:`Profile` takes it. Raises :class:`ProfileError`."""
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
            raise ProfileError(f"{where}: unknown key {key!r}; {hint}")
        check(f"{where}: {key}", key, value, _TYPES[key])
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _check_efforts(where: str, profile: Profile) -> None:
    """No effort may be sent as one that the vendor does not know."""
    allowed = ("", *profile.efforts)
    check_allowed(f"{where}: effort", [word for word in profile.effort.values() if isinstance(word, str)], allowed)


# Bounded, since clients choose the model's name.
@lru_cache(256)
def _for_model(profile: Profile, model: str) -> Profile:
    found: dict[str, Any] = {}
    for globs, keys in profile.models:
        if any(fnmatchcase(model.lower(), glob.lower()) for glob in globs.split("|")):
            found.update(keys)
    return replace(profile, models=(), **found)


@lru_cache(256)
def _unsent(profile: Profile) -> frozenset[str]:
    return frozenset(profile.drop) | (frozenset(OPENAI_KEYS) - frozenset(profile.openai_keys))


@cache
def profiles() -> Mapping[str, Profile]:
    """Return the profiles that come with the package, by name. Raises :class:`ProfileError`."""
    files = resources.files("chatbridge.vendors.data").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    found = [parse_profile(name, text) for name, text in sorted(texts.items())]
    return {profile.name: profile for profile in found}


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
