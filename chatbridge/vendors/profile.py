"""What differs between vendors, as typed data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to talk to one vendor. The defaults are what an unknown server most likely takes."""

    name: str = "generic"
    hosts: tuple[str, ...] = ()
    """Host names whose URLs choose this profile."""
    developer_role: str = "system"
    """The role of developer messages; few servers know ``developer`` (quirk R01)."""
    system_placement: str = "first"
    """``first``: one system message at the start, later ones become user text, since many chat templates refuse any
    other place (quirk R02). ``anywhere``: each in its place."""
    max_tokens_field: str = "max_tokens"
    effort: Mapping[str, str] = field(default_factory=lambda: {"xhigh": "high", "max": "high", "ultra": "high"})
    """Reasoning efforts that are sent as another one."""


class ProfileError(ValueError):
    """A profile file is wrong; the text names file, key and what is allowed."""


_CHOICES = {
    "developer_role": ("system", "developer"),
    "system_placement": ("first", "anywhere"),
    "max_tokens_field": ("max_tokens", "max_completion_tokens"),
}


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile in TOML *text*; *name* is the file's. Raises :class:`ProfileError`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}: {error}") from None
    known = {item.name for item in fields(Profile)} - {"name"}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise ProfileError(f"{name}: unknown key {key!r}; allowed: {', '.join(sorted(known))}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ProfileError(f"{name}: {key} must be one of {', '.join(_CHOICES[key])}, not {value!r}")
        values[key] = value
    if "hosts" in values:
        values["hosts"] = tuple(_strings(values["hosts"], list, f"{name}: hosts must be a list of strings"))
    if "effort" in values:
        _strings(values["effort"], dict, f"{name}: effort must be a table of strings")
    return Profile(name=name, **values)


def _strings(value: Any, kind: type, wrong: str) -> Any:
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(isinstance(item, str) for item in items):
        raise ProfileError(f"{wrong}, not {value!r}")
    return value


@cache
def profiles() -> tuple[Profile, ...]:
    """Return the profiles that come with the package."""
    files = resources.files("chatbridge.vendors.data").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return tuple(parse_profile(name.removesuffix(".toml"), text) for name, text in sorted(texts.items()))


def profile_for(url: str) -> Profile:
    """Return the profile for an upstream URL, the generic one for an unknown host."""
    host = urlsplit(url).hostname or ""
    return next((profile for profile in profiles() if host in profile.hosts), Profile())
