"""``chatbridge config import-codex-chat-bridge``: the configuration of the bridge in Rust of that name, as our own.

What each of its keys means here is a table in docs/from-codex-chat-bridge.md, from which this is written.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from twisted.python import usage

from chatbridge.service.config import syntax_error
from chatbridge.service.secret import looks_secret, names_secret
from chatbridge.service.values import header_name, header_value
from chatbridge.upstream.client import FORWARDED
from chatbridge.web.guard import is_loopback

_FEATURES = (
    "enable_previous_response_id", "enable_tool_argument_stream_events", "enable_extended_stream_events",
    "enable_reasoning_stream_events", "enable_provider_specific_fields", "enable_extended_input_types",
)  # fmt: skip
_SHARED = {
    "upstream_url": str, "upstream_wire": str, "upstream_http_headers": dict, "forward_incoming_headers": list,
    "api_key_env": str, "drop_tool_types": list, "drop_request_fields": list, "features": dict,
    "tool_transform_mode": str,
}  # fmt: skip
_TOP: dict[str, type] = {**_SHARED, "server_info": str, "http_shutdown": bool, "verbose_logging": bool, "routers": dict}
_ROUTER: dict[str, type] = {
    **_SHARED, "incoming_url": str, "upstream_model": str, "upstream_model_opus": str, "upstream_model_sonnet": str,
    "upstream_model_haiku": str, "anthropic_preserve_thinking": bool, "anthropic_enable_openrouter_reasoning": bool,
}  # fmt: skip
_ALIASES = {"http_headers": "upstream_http_headers", "model": "upstream_model"}
_WIRES = {"responses": "/responses", "messages": "/messages"}
_SUFFIX = re.compile(r"(?:/v1)?(?:/(?:responses|chat/completions|messages))?$")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TAKEN = ("v1", "responses", "healthz", "readyz", "metrics", "shutdown")
_FAMILIES = ("opus", "sonnet", "haiku")


class OriginalError(Exception):
    """A file that is not one of the original's; the text says why, without a value."""


@dataclass(slots=True)
class Imported:
    """*toml* is the configuration, *told* what became of each key: its name, one word, and the reason."""

    toml: str = ""
    told: list[tuple[str, str, str]] = field(default_factory=list)


def import_original(path: str, data: bytes) -> Imported:
    """Translate the content of the file at *path*. Raises :exc:`OriginalError`."""
    try:
        values = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise OriginalError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise OriginalError(syntax_error(path, str(error), data)) from None
    return _Translation(path, values).run()


class _Translation:
    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        self._values = values
        self._told: list[tuple[str, str, str]] = []
        self._names: set[str] = set()
        self._path = path
        self._port = 0

    def run(self) -> Imported:
        top = self._known("", self._values, _TOP)
        routers = {
            name: self._known(f"routers.{name}.", table, _ROUTER)
            for name, table in top.pop("routers", {}).items()
            if self._is_table(f"routers.{name}", table)
        }
        daemon = self._daemon(top)
        parts: list[str] = []
        self._routes: list[dict[str, Any]] = []
        upstream, way = self._upstream("", top), self._way("", top)
        if routers:  # which have what they leave out from the top
            parts = [self._router(name, top, router, daemon) for name, router in routers.items()]
        else:
            if "headers" in upstream:
                parts.append(_table("[upstreams.default]", upstream))
            else:
                daemon |= upstream
            if way:
                self._routes.append({"model": "*"} | way)
        # The first that matches counts here, and the closest one there.
        self._routes.sort(key=lambda route: ("host" not in route, "path" not in route, route.get("model", "*") == "*"))
        parts += [_table("[[routes]]", route) for route in self._routes]
        head = f"# Made from {self._path.rpartition('/')[2]} of codex-chat-bridge.\n"
        return Imported("\n".join([head + _lines(daemon), *parts]), self._told)

    def _tell(self, key: str, became: str, why: str = "") -> None:
        self._told.append((key, became, why))

    def _is_table(self, key: str, value: Any) -> bool:
        if not isinstance(value, dict):
            self._tell(key, "not carried", "it is no table")
        return isinstance(value, dict)

    def _known(self, where: str, table: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
        """Return what is known and of the right type, by its first name."""
        found: dict[str, Any] = {}
        for key, value in table.items():
            name = _ALIASES.get(key, key)
            if name not in kinds:
                self._tell(where + key, "not carried", "codex-chat-bridge 0.4.15 does not know it either")
            elif not isinstance(value, kinds[name]):
                self._tell(where + key, "not carried", f"it should be a {kinds[name].__name__}")
            else:
                found[name] = value
        return found

    # --- the daemon

    def _daemon(self, top: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in ("server_info", "http_shutdown"):
            if key in top:
                found[key] = top[key]
                self._tell(key, "kept")
        if "verbose_logging" in top:
            why = 'bodies are never in the log; each request is one line, and log_format = "json" has all of it'
            self._tell("verbose_logging", "not carried", why)
        return found

    def _router(self, name: str, top: dict[str, Any], router: dict[str, Any], daemon: dict[str, Any]) -> str:
        where = f"routers.{name}."
        kept = self._name(name)
        self._tell(where[:-1], "kept" if kept == name else "renamed", f"[upstreams.{kept}]")
        upstream = self._upstream(where, {**top, **router}, router)
        match = self._incoming(where, kept, router.get("incoming_url"), daemon)
        way = self._way(where, {**top, **router}, router)
        for family in _FAMILIES:
            model = router.get(f"upstream_model_{family}")
            if model is not None:
                self._tell(f"{where}upstream_model_{family}", "renamed", f'a route with model = "*{family}*"')
                some = match | {"model": f"*{family}*", "upstream": kept}
                self._routes.append(some | way | {"send_model": model})
        if way or match:
            self._routes.append((match or {"model": "*"}) | {"upstream": kept} | way)
        return _table(f"[upstreams.{kept}]", upstream)

    def _name(self, router: str) -> str:
        """Return a name of our own for an upstream; each is another one."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", router).strip("-")[:60] or "router"
        while name in self._names or name in _TAKEN:
            name += "-"
        self._names.add(name)
        return name

    def _incoming(self, where: str, name: str, url: Any, daemon: dict[str, Any]) -> dict[str, Any]:
        """Return what of a route the address stands for; the first one's is the daemon's own."""
        key = where + "incoming_url"
        if url is None:
            return {"path": name}
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            host, port = parts.hostname or "", parts.port or 80
        except ValueError:
            valid = False
        if not valid:
            self._tell(key, "not carried", f"it is no URL; the base URL is /{name}/v1")
            return {"path": name}
        first = "port" not in daemon
        if first:
            daemon["port"], self._port = str(port), port
            if host not in ("127.0.0.1", "localhost", "") and _is_address(host):
                daemon["host"] = host
        path = _SUFFIX.sub("", parts.path.rstrip("/")).strip("/")
        match: dict[str, Any] = {}
        if host and not _is_address(host) and host != "localhost":
            match["host"] = host
            if not is_loopback(host):
                daemon.setdefault("allow_host", [])
                daemon["allow_host"] = [*dict.fromkeys([*daemon["allow_host"], host])]
        if path or not (first or port == self._port):
            fits = _NAME.fullmatch(path) is not None and path not in _TAKEN and port == self._port
            match["path"] = path if fits else name
        base = f"/{match['path']}/v1" if "path" in match else "/v1"
        moved = port != self._port or (path and match.get("path") != path)
        if "host" in daemon and first and not is_loopback(host):
            self._tell(key, "kept", "beyond loopback the daemon wants client_token_file, or allow_anyone")
        why = f"one port for all: its base URL is now http://{host or '127.0.0.1'}:{self._port}{base}"
        self._tell(key, "renamed", why if moved else f"port, host and path; its base URL is {base} there")
        return match

    # --- an upstream

    def _upstream(self, where: str, table: dict[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the keys of our table; only what is the router's *own* is told, the rest was the top's."""
        tell = self._tell if own is None else lambda key, *rest: self._tell(where + key, *rest) if key in own else None
        found: dict[str, Any] = {}
        if "upstream_url" in table:
            found["upstream_url"] = self._url(table, tell)
        if "upstream_wire" in table:
            wire = table["upstream_wire"]
            if wire == "chat":
                tell("upstream_wire", "always on")
            else:
                why = "chatbridge asks upstreams for chat/completions only: the vendor must have that too"
                tell("upstream_wire", "not carried", why)
        if "api_key_env" in table:
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", table["api_key_env"]):
                found["api_key_env"] = table["api_key_env"]
                tell("api_key_env", "kept")
            else:
                tell("api_key_env", "not carried", "it is not the name of a variable")
        headers = self._headers(table.get("upstream_http_headers", {}), tell)
        if headers:
            found["headers"] = headers
        forward = self._forwarded(table.get("forward_incoming_headers", []), tell)
        if forward:
            found["forward_header"] = forward
        self._features(table, tell)
        return found

    def _url(self, table: Mapping[str, Any], tell: Any) -> str:
        parts = urlsplit(table["upstream_url"])
        path, notes = parts.path.rstrip("/"), []
        for wire, end in _WIRES.items():
            if path.endswith(end):
                path = path.removesuffix(end) + "/chat/completions"
                notes.append(f"its chat/completions in place of its {wire}, which the vendor must have")
        netloc = parts.netloc
        if "@" in netloc:
            netloc = netloc.rpartition("@")[2]
            notes.append("without the user name and password: put a key into the variable of api_key_env")
        query = parse_qsl(parts.query, keep_blank_values=True)
        safe = [(name, value) for name, value in query if not names_secret(name) and not looks_secret(value)]
        if len(safe) < len(query):
            notes.append("without the key in its query: put it into the variable of api_key_env")
        tell("upstream_url", "kept" if not notes else "changed", "; ".join(notes))
        return str(urlunsplit((parts.scheme, netloc, path, urlencode(safe), "")))

    def _headers(self, given: Mapping[str, Any], tell: Any) -> dict[str, str]:
        found, left = {}, []
        for name, value in given.items():
            try:
                header_name(name, "")
                header_value(str(value), "")
            except usage.UsageError:
                left.append(f"{name} is the bridge's own")
                continue
            if names_secret(name) or looks_secret(str(value)):
                left.append(f"{name} looks like a secret: see api_key_env and headers_env")
            else:
                found[name] = str(value)
        if given:
            tell(
                "upstream_http_headers",
                "renamed" if found else "not carried",
                "; ".join(["headers"][: len(found)] + left),
            )
        return found

    def _forwarded(self, given: list[Any], tell: Any) -> list[str]:
        found, left = [], []
        for name in given:
            if str(name).lower() in FORWARDED:
                continue  # goes on anyhow
            try:
                found.append(header_name(str(name), ""))
            except usage.UsageError:
                left.append(f"{name} is the bridge's own")
        if given:
            became = "renamed" if found else "not carried" if left else "always on"
            tell("forward_incoming_headers", became, "; ".join(["forward_header"][: len(found)] + left))
        return found

    def _features(self, table: Mapping[str, Any], tell: Any) -> None:
        features = {**table.get("features", {})}
        if "tool_transform_mode" in table:
            features.setdefault("tool_transform_mode", table["tool_transform_mode"])
            tell("tool_transform_mode", *_transform(table["tool_transform_mode"]))
        told = []
        for name, value in features.items():
            if name in _FEATURES:
                told.append(f"{name}: always on")
            elif name == "tool_transform_mode":
                told.append(f"{name}: {_transform(value)[0]}")
            else:
                told.append(f"{name}: not known")
        if "features" in table:
            tell("features", "always on", "; ".join(told))
        for name in ("anthropic_preserve_thinking", "anthropic_enable_openrouter_reasoning"):
            if name in table:
                tell(name, "always on", "reasoning goes back as the vendor's profile says")

    def _way(self, where: str, table: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what a route does with its requests."""
        found: dict[str, Any] = {}
        for key, ours in (("upstream_model", "send_model"), ("drop_tool_types", "drop_tools"),
                          ("drop_request_fields", "drop_fields")):  # fmt: skip
            if key in table:
                value = table[key]
                found[ours] = value if isinstance(value, str) else [str(word) for word in value]
                if own is None or key in own:
                    self._tell(where + key, "renamed", f"{ours} of its route")
        return {key: value for key, value in found.items() if value}


def _transform(value: Any) -> tuple[str, str]:
    if value == "legacy_convert":
        return "always on", "every kind of tool is carried as a function"
    return "not carried", "chat/completions knows functions only"


def _is_address(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", host) is not None


def _table(header: str, values: Mapping[str, Any]) -> str:
    return f"{header}\n{_lines(values)}"


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else _text(value)


def _text(value: Any) -> str:
    """JSON's strings are TOML's, but for what JSON leaves unescaped."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
