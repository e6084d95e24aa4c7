"""The configuration file and the environment: what stands below the command line.

Both know the same names as the command line: ``--upstream-url`` is ``upstream_url`` in the file and
``CHATBRIDGE_UPSTREAM_URL`` in the environment.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "flag", "list", "table", "steps", "tree"]
"""What an option takes: one text, nothing (it is on or off), a text each time it is given, texts by name, names of
upstreams, each of which may be a table with a model, or a table whose keys are not checked here."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
UPSTREAM = ("upstream", "upstream-url", "practice")
"""The options that name one: of these only one counts."""
KEYS = ("api-key-env", "api-key-envs", "api-key-file", "no-api-key")
"""The options that say where the key comes from: who names one means it, whatever stands below."""
_LIMIT = 1024 * 1024
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_WANTED = {
    "text": "a string or a number",
    "flag": "true or false",
    "list": "an array of strings",
    "table": "a table of strings",
    "steps": 'an array of upstreams\' names and tables, as ["other", {upstream = "other", model = "small"}]',
    "tree": "a table",
}
_STEP = ("upstream", "model")
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
    """A configuration file: its options by command-line name, and where each stands.

    *upstreams* are the ``[upstreams.NAME]`` tables, *routes* the ``[[routes]]``, each with its place. *profile_keys*
    are those of the upstream that stands outside of the tables.
    """

    options: Mapping[str, Given] = field(default_factory=dict)
    upstreams: Mapping[str, tuple[str, Mapping[str, Given]]] = field(default_factory=dict)
    routes: tuple[tuple[str, Mapping[str, Given]], ...] = ()
    profile_keys: Given | None = None


@dataclass(frozen=True, slots=True)
class Kinds:
    """What there is to configure: *options* anywhere, and the keys of *upstreams* and *routes* in the file."""

    options: Mapping[str, Kind]
    upstreams: Mapping[str, Kind] = field(default_factory=dict)
    routes: Mapping[str, Kind] = field(default_factory=dict)


def read_config(path: str, kinds: Kinds) -> Config:
    """Read the TOML file at *path*. Raises :class:`ConfigError`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise ConfigError(f"{path}: larger than {_LIMIT} bytes")
    return parse_config(path, data, kinds)


def parse_config(path: str, data: bytes, kinds: Kinds) -> Config:
    """Read a file's content; *path* is for the texts."""
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(syntax_error(path, str(error), data)) from None
    file = _File(path, text)
    upstreams, routes = values.pop("upstreams", {}), values.pop("routes", [])
    kept = file.keys({key: values.pop(key) for key in ("profile_keys",) if key in values}, {"profile-keys": "tree"}, 0)
    return Config(
        file.keys(values, kinds.options, 0, ("upstreams", "routes", "profile_keys")),
        file.upstreams(upstreams, kinds.upstreams),
        tuple(file.routes(routes, kinds.routes)),
        kept.get("profile-keys"),
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A file's text, in which keys are looked up for their lines; the TOML library does not tell them."""

    path: str
    text: str

    def keys(
        self, table: Mapping[str, Any], kinds: Mapping[str, Kind], start: int, others: tuple[str, ...] = ()
    ) -> dict[str, Given]:
        """Return a table's values by option name. *start* is where in the text it begins."""
        names = {_key(name): name for name in kinds}
        found = {}
        for key, value in table.items():
            where = self.where(key, start)
            if key not in names:
                raise ConfigError(f"{where}: {_unknown(key, (*names, *others))}")
            found[names[key]] = Given(_value(f"{where}: {key}", value, kinds[names[key]]), where)
        return found

    def upstreams(self, tables: Any, kinds: Mapping[str, Kind]) -> dict[str, tuple[str, dict[str, Given]]]:
        """Return the ``[upstreams.NAME]`` tables by name, with where each stands."""
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise ConfigError(f"{self.where('upstreams')}: upstreams must be tables, as [upstreams.local]")
        found = {}
        for name, table in tables.items():
            header = rf"^[ \t]*\[[ \t]*upstreams[ \t]*\.[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*\]"
            match = re.search(header, self.text, re.MULTILINE)
            start = match.start() if match else 0
            where = f"{self.path}:{self._line(start)}"
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{where}: an upstream's name has letters, digits, dashes and underscores")
            found[name] = (where, self.keys(table, kinds, start))
        return found

    def routes(self, tables: Any, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, dict[str, Given]]]:
        """Yield the ``[[routes]]`` tables, with where each stands."""
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ConfigError(f"{self.where('routes')}: routes must be tables, each under [[routes]]")
        starts = [match.start() for match in re.finditer(r"^[ \t]*\[\[[ \t]*routes[ \t]*\]\]", self.text, re.MULTILINE)]
        for number, table in enumerate(tables):
            start = starts[number] if number < len(starts) else 0
            yield f"{self.path}:{self._line(start)}", self.keys(table, kinds, start)

    def where(self, key: str, start: int = 0) -> str:
        """Return the place at which *key*, or the table of that name, first stands after *start*."""
        name = rf"(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')"
        pattern = re.compile(
            rf"^[ \t]*(?:{name}[ \t]*[.=]|\[\[?[ \t]*(?:[^\]]*\.[ \t]*)?{name}[ \t]*[\].])", re.MULTILINE
        )
        match = pattern.search(self.text, start)
        return f"{self.path}:{self._line(match.start() if match else start)}"

    def _line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1


def from_environment(environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Given]:
    """Return the options that ``CHATBRIDGE_…`` variables give; an empty one gives nothing."""
    found = {}
    for name, kind in kinds.items():
        variable = "CHATBRIDGE_" + _key(name).upper()
        text = environ.get(variable, "").strip()
        if text:
            found[name] = Given(_from_text(variable, text, kind), variable)
    return found


def stacked(*layers: dict[str, Given]) -> dict[str, Given]:
    """Return the options of all *layers*, the first one's before the next one's."""
    found: dict[str, Given] = {}
    for layer in layers:
        # Who names an upstream means it: one from below would be another; and another vendor's key is not sent to it.
        settled = {*UPSTREAM} if any(name in found for name in UPSTREAM) else set()
        if "upstream" in found:
            settled.update(("profile", "ca-file", *KEYS))
        if any(name in found for name in KEYS):
            settled.update(KEYS)
        found.update({name: it for name, it in layer.items() if name not in found and name not in settled})
    return found


def placed(text: str, name: str, source: str) -> str:
    """Return an error's *text* about the option *name* with the place that it was given at, where that is no option."""
    if source.startswith("--"):
        return text
    return text.replace(
        f"--{name}", source if source.startswith("CHATBRIDGE_") else f"{source}: {name.replace('-', '_')}", 1
    )


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
        "table": isinstance(value, dict) and all(isinstance(word, str) for word in value.values()),
        "steps": isinstance(value, list) and all(isinstance(step, str | dict) for step in value),
        "tree": isinstance(value, dict),
    }
    if kind == "steps" and fits[kind]:
        return [_step(where, {"upstream": step} if isinstance(step, str) else step) for step in value]
    if not fits[kind]:
        raise ConfigError(f"{where}: must be {_WANTED[kind]}")
    return value


def _step(where: str, step: Mapping[str, Any]) -> Mapping[str, str]:
    for key, value in step.items():
        if key not in _STEP:
            raise ConfigError(f"{where}: {_unknown(key, _STEP)}")
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}: {key}: must be a name")
    if not step:
        raise ConfigError(f"{where}: a step needs an upstream or a model")
    return step


def _unknown(key: str, names: Sequence[str]) -> str:
    if key in _SECRETS:
        return f"{key}: a key does not stand in this file; api_key_env names the variable that holds it"
    near = difflib.get_close_matches(key.replace("-", "_").lower(), names, 1)
    return f"there is no option {key!r}; {f'did you mean {near[0]!r}?' if near else 'see twistd chatbridge --help'}"


def syntax_error(path: str, said: str, data: bytes) -> str:
    """Return what the TOML library *said* of *data*, with file and line in front."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", said, re.DOTALL)
    if match is None:
        return f"{path}: {said}"
    return f"{path}:{match[2] or data.count(bytes([10])) + 1}: {match[1]}"
