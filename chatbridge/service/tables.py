"""What the tables of the configuration file mean that no single option can say: routes, headers, keys of profiles."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from twisted.python import usage

from chatbridge.service.config import ConfigError, Given, Kind
from chatbridge.service.routes import Route, Step
from chatbridge.service.settings import Settings
from chatbridge.service.values import header_name, header_value
from chatbridge.vendors.checks import ProfileError
from chatbridge.vendors.profile import profile_for, with_keys

OF_A_ROUTE: dict[str, Kind] = {
    "upstream": "text", "model": "text", "path": "text", "host": "text", "send-model": "text",
    "drop-tools": "list", "drop-fields": "list", "forward-header": "list", "fallback": "steps",
}  # fmt: skip
"""What a ``[[routes]]`` table may hold."""
_PATHS = ("v1", "responses", "healthz", "readyz", "metrics", "shutdown")


def route(where: str, table: Mapping[str, Given], default: str, names: frozenset[str]) -> Route:
    """Return what a ``[[routes]]`` table says; *where* it stands, *names* are the upstreams, *default* one of them.

    Raises :exc:`usage.UsageError`.
    """
    keys = {key.replace("-", "_"): given.value for key, given in table.items()}
    keys |= {key: tuple(value) for key, value in keys.items() if isinstance(value, list)}
    places = {key.replace("-", "_"): given.source for key, given in table.items()}
    upstream = keys.setdefault("upstream", default)
    if upstream not in names:
        raise usage.UsageError(f"{places['upstream']}: upstream: {_no_upstream(upstream, names)}")
    keys["fallback"] = tuple(Step(**step) for step in keys.get("fallback", ()))
    for step in keys["fallback"]:
        if step.upstream and step.upstream not in names:
            raise usage.UsageError(f"{places['fallback']}: fallback: {_no_upstream(step.upstream, names)}")
    keys["forward_header"] = tuple(
        header_name(name, f"{places['forward_header']}: forward_header") for name in keys.get("forward_header", ())
    )
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", keys.get("path", "")) or keys.get("path") in _PATHS:
        raise usage.UsageError(f"{places['path']}: path: one word of letters, digits, dashes, underscores")
    if not {"model", "path", "host"} & {key for key, value in keys.items() if value}:
        raise usage.UsageError(f"{where}: a route needs one of model, path and host")
    return Route(**keys)


def _no_upstream(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"there is no [upstreams.{name}]" + (f"; did you mean {near[0]!r}?" if near else "")


def with_headers(
    settings: Settings, given: Given | None, variables: Given | None, environ: Mapping[str, str]
) -> Settings:
    """Return *settings* of an upstream with the headers that its table has, and those that *variables* hold.

    Raises :exc:`usage.UsageError`, without a value.
    """
    headers = {}
    if given is not None:
        headers = {header_name(name, given.source): header_value(it, given.source) for name, it in given.value.items()}
    if variables is not None:
        where = f"{variables.source}: headers_env"
        for name, variable in variables.value.items():
            value = environ.get(variable, "").strip()
            if not value:
                raise usage.UsageError(f"{where}: {name}: missing or empty env var: {variable}")
            headers[header_name(name, where)] = header_value(value, where)
    if not headers:
        return settings
    profile = settings.profile or profile_for(settings.upstream_url)
    return replace(settings, profile=replace(profile, headers={**profile.headers, **headers}))


def with_profile_keys(settings: Settings, given: Given | None) -> Settings:
    """Return *settings* of an upstream with the single keys of a profile that its table has.

    Raises :exc:`ConfigError`.
    """
    if given is None:
        return settings
    profile = settings.profile or profile_for(settings.upstream_url)
    try:
        return replace(settings, profile=with_keys(profile, given.value, f"{given.source}: profile_keys"))
    except ProfileError as error:
        raise ConfigError(str(error)) from None
