"""The configuration file and the environment: what stands below the command line.

Both know the same names as the command line: ``--upstream-url`` is ``upstream_url`` in the file and
``CHATBRIDGE_UPSTREAM_URL`` in the environment.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "flag", "list"]
"""What an option takes: one text, nothing (it is on or off), or a text each time it is given."""

_LIMIT = 1024 * 1024
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_WANTED = {"text": "a string or a number", "flag": "true or false", "list": "an array of strings"}
_SECRETS = ("api_key", "key", "token", "client_token", "password")


class ConfigError(Exception):
    """A file or variable that cannot be used; the text says where and why, never a value that may be a key."""


@dataclass(frozen=True, slots=True)
class Given:
    """An option's value, and where it came from: ``FILE:LINE`` or the variable's name."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file: its options by command-line name, and where each stands."""

    options: Mapping[str, Given] = field(default_factory=dict)


def read_config(path: str, kinds: Mapping[str, Kind]) -> Config:
    """Read the TOML file at *path*; *kinds* are the options that there are. Raises :class:`ConfigError`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise ConfigError(f"{path}: larger than {_LIMIT} bytes")
    return parse_config(path, data, kinds)


def parse_config(path: str, data: bytes, kinds: Mapping[str, Kind]) -> Config:
    """Read a file's content; *path* is for the texts."""
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax(path, str(error), data)) from None
    names = {_key(name): name for name in kinds}
    found = {}
    for key, value in values.items():
        where = f"{path}:{_line(text, key)}"
        if key not in names:
            raise ConfigError(f"{where}: {_unknown(key, names)}")
        found[names[key]] = Given(_value(f"{where}: {key}", value, kinds[names[key]]), where)
    return Config(found)


def from_environment(environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Given]:
    """Return the options that ``CHATBRIDGE_…`` variables give; an empty one gives nothing."""
    found = {}
    for name, kind in kinds.items():
        variable = "CHATBRIDGE_" + _key(name).upper()
        text = environ.get(variable, "").strip()
        if text:
            found[name] = Given(_from_text(variable, text, kind), variable)
    return found


def _key(name: str) -> str:
    return name.replace("-", "_")


def _from_text(variable: str, text: str, kind: Kind) -> Any:
    if kind == "list":
        return re.split(r"[,\s]+", text)
    if kind == "text":
        return text
    value = _WORDS.get(text.lower())
    if value is None:
        raise ConfigError(f"{variable}: must be true or false")
    return value


def _value(where: str, value: Any, kind: Kind) -> Any:
    if kind == "text" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    fits = {
        "text": isinstance(value, str),
        "flag": isinstance(value, bool),
        "list": isinstance(value, list) and all(isinstance(word, str) for word in value),
    }
    if not fits[kind]:
        raise ConfigError(f"{where}: must be {_WANTED[kind]}")
    return value


def _unknown(key: str, names: Mapping[str, str]) -> str:
    if key in _SECRETS:
        return f"{key}: a key does not stand in this file; api_key_env names the variable that holds it"
    near = difflib.get_close_matches(key.replace("-", "_").lower(), names, 1)
    return f"there is no option {key!r}; {f'did you mean {near[0]!r}?' if near else 'see twistd chatbridge --help'}"


def _line(text: str, key: str) -> int:
    """Return the line on which the top-level *key*, or the table of that name, begins."""
    name = rf"(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')"
    match = re.search(rf"^[ \t]*(?:{name}[ \t]*[.=]|\[\[?[ \t]*{name}[ \t]*[\].])", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 1


def _syntax(path: str, said: str, data: bytes) -> str:
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", said, re.DOTALL)
    if match is None:
        return f"{path}: {said}"
    return f"{path}:{match[2] or data.count(bytes([10])) + 1}: {match[1]}"
