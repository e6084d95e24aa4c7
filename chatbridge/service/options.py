"""twistd's command line, and how it becomes :class:`Settings`."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from twisted.copyright import version as twisted_version
from twisted.python import usage

from chatbridge import __version__
from chatbridge.service.config import Config, ConfigError, Given, Kind, from_environment, read_config
from chatbridge.service.listener import StartError
from chatbridge.service.secret import Secret
from chatbridge.service.settings import DEFAULT_UPSTREAM_URL, Settings
from chatbridge.vendors.profile import Profile, ProfileError, profile_named
from chatbridge.web.access import TokenError, digest, read_tokens
from chatbridge.web.guard import host_name, is_loopback

# Until the practice upstream listens and its true address is known, nothing may go anywhere else.
_PRACTICE_URL = "http://127.0.0.1:0/v1/chat/completions"

_UPSTREAM = ("upstream", "upstream-url", "practice")
_KEY_LIMIT = 64 * 1024
_TOKEN_LENGTH = 16

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


# Twisted prints the default behind the text itself, where it is a value and not a rule.
def _parameter(name: str, text: str, default: str | None = None) -> list[str | None]:
    return [name, None, default, text]


def _flag(name: str, text: str) -> list[str | None]:
    return [name, None, text]


_PARAMETERS = [
    _parameter(
        "config",
        "A TOML file with these options, as upstream_url; the command line and CHATBRIDGE_… variables go before it. "
        "[default: none]",
    ),
    _parameter(
        "port",
        "A port number on --host, or a Twisted endpoint description such as unix:/run/chatbridge.sock. "
        "[default: a free port, which the log names]",
    ),
    _parameter("host", "The address to listen on, with a --port that is a number. [default: 127.0.0.1]"),
    _parameter(
        "upstream-url",
        "The upstream's chat/completions address; to a base URL that ends in /v1, /chat/completions is added. "
        f"[default: {DEFAULT_UPSTREAM_URL}]",
    ),
    _parameter(
        "upstream",
        "A vendor by name, as deepseek or ollama: fills in the address, the profile and the key's variable. "
        "[default: none]",
    ),
    _parameter(
        "profile",
        "The vendor profile to talk to the upstream with, by name. [default: chosen by the upstream's address]",
    ),
    _parameter(
        "api-key-env",
        "The environment variable that holds the upstream's API key. "
        "[default: OPENAI_API_KEY, or the vendor's own with --upstream]",
    ),
    _parameter(
        "api-key-file",
        "A file that holds the upstream's API key and nothing else, in place of a variable. [default: none]",
    ),
    _parameter(
        "server-info",
        "A file to write one JSON line to (port, pid, version, upstream_url, started_at) when the port is open. "
        "Removed at a clean stop. [default: none]",
    ),
    _parameter(
        "client-token-env",
        "The environment variable that holds the token which clients must send as their API key. [default: none]",
    ),
    _parameter(
        "client-token-file",
        "A file with the tokens of several clients, made with `chatbridge token`. [default: none]",
    ),
    _parameter("client-streams", "Requests that one client may have running; 0 is no limit.", "0"),
    _parameter("client-rate", "Requests that one client may make in a minute; 0 is no limit.", "0"),
    _parameter("drain-seconds", "Seconds that running answers may go on after a stop.", "10"),
    _parameter(
        "max-request-bytes",
        "The largest request body, as sent and decoded: a number of bytes, or one with k, M or G.",
        "32M",
    ),
    _parameter("header-timeout", "Seconds a client has for the whole head of a request.", "10"),
]

_FLAGS = [
    _flag("no-api-key", "Send no API key; only for an upstream on this machine. [default: off]"),
    _flag(
        "vendor-search",
        "Let the vendor search the web when the client offers web_search and allows live access: each search costs "
        "money and sends its query on. [default: off]",
    ),
    _flag(
        "allow-anyone",
        "Listen beyond loopback without client tokens: whoever reaches the port uses your upstream. [default: off]",
    ),
    _flag("http-shutdown", "Let GET /shutdown stop the daemon. [default: off]"),
    _flag(
        "practice",
        "Answer from a scripted upstream inside the daemon: no model, no key, for trying things out. [default: off]",
    ),
]


class Options(usage.Options):
    """The options of ``twistd chatbridge``.

    Every wrong value is a :exc:`usage.UsageError`; under twistd, a :exc:`StartError` with its text.
    """

    optParameters = _PARAMETERS
    optFlags = _FLAGS
    longdesc = (
        "Serves the Responses API on top of a chat/completions upstream. "
        "If an option that may not be repeated is given twice, the last one wins."
    )

    def __init__(self) -> None:
        super().__init__()
        self.printed = {name: value for name, value in self.items() if isinstance(value, str)}
        """The defaults that are values, as the help prints them."""
        # So that what was given can be told from what was not.
        self.update(dict.fromkeys(self.printed))
        self["allow-host"] = []
        self["allow-origin"] = []
        self.kinds: dict[str, Kind] = {
            name: "list" if value == [] else "text" if value is None else "flag" for name, value in self.items()
        }
        """What each option takes, by name."""
        self.sources: dict[str, str] = {}
        """Where each option's value came from; the defaults are not in it."""
        self._line: dict[str, Any] = {}

    def opt_allow_host(self, name: str) -> None:
        """A host name to accept besides localhost and loopback addresses. May be repeated. [default: none]"""
        self["allow-host"].append(_host_name(name))

    def opt_allow_origin(self, origin: str) -> None:
        """A web origin, as https://example.org, whose pages may ask. May be repeated. [default: none]"""
        self["allow-origin"].append(_origin(origin))

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"chatbridge {__version__} (Twisted {twisted_version})")  # noqa: T201 (what it is for)
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            if self.parent is None:
                raise
            # twistd before 26.10 prints such an error, and exits with status 0.
            raise StartError(f"chatbridge: {error}\nTry: twistd chatbridge --help") from error

    def postOptions(self) -> None:
        self._line = dict(self)
        # Here, so that what is missing is noticed before anything else happens.
        self.settings(os.environ)

    def settings(self, environ: Mapping[str, str]) -> Settings:
        """Return the settings: the command line's before *environ*'s before the file's.

        The API key is read from *environ*. May be called again: the file is then read again.
        """
        try:
            self._layer(environ)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        try:
            return self._settings(environ)
        except usage.UsageError as error:
            raise usage.UsageError(self._placed(str(error))) from None

    def _layer(self, environ: Mapping[str, str]) -> None:
        given = {name: Given(value, f"--{name}") for name, value in self._line.items() if value not in (None, 0, [])}
        around = from_environment(environ, self.kinds)
        path = given.get("config") or around.get("config")
        file = read_config(path.value, self.kinds) if path else Config()
        found = _stacked(given, around, {name: it for name, it in file.options.items() if name != "config"})
        self.sources = {name: it.source for name, it in found.items()}
        for name, kind in self.kinds.items():
            absent: Any = {"text": self.printed.get(name), "flag": 0, "list": []}[kind]
            self[name] = self._checked(name, found[name]) if name in found else absent

    def _checked(self, name: str, given: Given) -> Any:
        """Return a list's words as the command line would have taken them."""
        if self.kinds[name] != "list" or given.source.startswith("--"):
            return given.value
        self[name] = []
        for word in given.value:
            try:
                getattr(self, "opt_" + name.replace("-", "_"))(word)
            except usage.UsageError as error:
                raise ConfigError(_placed(str(error), name, given.source)) from None
        return self[name]

    def _placed(self, text: str) -> str:
        """Return an error's *text* with the place of the value that it is about."""
        match = re.match(r"--([a-z-]+):", text)
        source = self.sources.get(match[1]) if match else None
        return text if match is None or source is None else _placed(text, match[1], source)

    def _settings(self, environ: Mapping[str, str]) -> Settings:
        vendor = self._named("upstream")
        upstream_url = self._upstream_url(vendor)
        return Settings(
            listen=self._listen(),
            upstream_url=upstream_url,
            profile=self._named("profile") or vendor,
            vendor_search=bool(self["vendor-search"]),
            api_key=self._api_key(upstream_url, vendor, environ),
            api_key_env=self["api-key-file"] or self._key_variable(vendor),
            server_info=self._server_info(),
            http_shutdown=bool(self["http-shutdown"]),
            practice=bool(self["practice"]),
            drain_seconds=_seconds("--drain-seconds", self["drain-seconds"]),
            max_request_bytes=_bytes("--max-request-bytes", self["max-request-bytes"]),
            header_timeout=_seconds("--header-timeout", self["header-timeout"], zero=False),
            client_tokens=self._client_tokens(environ),
            client_streams=_count("--client-streams", self["client-streams"]),
            client_rate=_count("--client-rate", self["client-rate"]),
            allow_anyone=bool(self["allow-anyone"]),
            allow_hosts=tuple(self["allow-host"]),
            allow_origins=tuple(self["allow-origin"]),
        )

    def _listen(self) -> str:
        port: str | None = self["port"]
        if port is not None and not _is_number(port):
            return self._endpoint(port)
        number = int(port or "0")
        if number > 65535:
            raise usage.UsageError(f"--port: {number} is not a port number (0 to 65535)")
        host = _listen_host(self["host"])
        kind = "tcp6" if ":" in host else "tcp"
        return f"{kind}:{number}:interface={host.translate(_ESCAPES)}"

    def _endpoint(self, port: str) -> str:
        if ":" not in port:
            raise usage.UsageError(f"--port: {port!r} is neither a port number nor an endpoint description")
        if self["host"] is not None:
            raise usage.UsageError("--host goes with a port number; an endpoint description holds its own address")
        return port

    def _named(self, option: str) -> Profile | None:
        name: str | None = self[option]
        try:
            return None if name is None else profile_named(name)
        except ProfileError as error:
            raise usage.UsageError(f"--{option}: {error}") from None

    def _upstream_url(self, vendor: Profile | None) -> str:
        url: str | None = self["upstream-url"]
        if not self["practice"]:
            if url is not None or vendor is None:
                return _upstream_url(DEFAULT_UPSTREAM_URL if url is None else url)
            try:
                return vendor.chat_url()
            except ProfileError as error:
                raise usage.UsageError(f"--upstream: {error}") from None
        for option in ("upstream-url", "upstream"):
            if self[option] is not None:
                raise usage.UsageError(f"--practice is an upstream of its own: leave out one of --practice, --{option}")
        return _PRACTICE_URL

    def _key_variable(self, vendor: Profile | None) -> str:
        given: str | None = self["api-key-env"]
        if given is not None:
            return given
        return vendor.key_env if vendor is not None and vendor.key_env else "OPENAI_API_KEY"

    def _api_key(self, upstream_url: str, vendor: Profile | None, environ: Mapping[str, str]) -> Secret:
        if self["practice"]:
            return Secret("")
        if vendor is not None and not vendor.key_env and not self["api-key-env"] and not self["api-key-file"]:
            return Secret("")  # a local server
        if self["no-api-key"]:
            if not is_loopback(host_name(urlsplit(upstream_url).netloc) or ""):
                raise usage.UsageError("--no-api-key is only for an upstream on this machine (--upstream-url)")
            return Secret("")
        if self["api-key-file"] is not None:
            return _key_in(self["api-key-file"])
        return _key(self._key_variable(vendor), environ)

    def _client_tokens(self, environ: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
        found: dict[str, bytes] = {}
        if self["client-token-file"] is not None:
            try:
                found.update(read_tokens(self["client-token-file"]))
            except TokenError as error:
                raise usage.UsageError(f"--client-token-file: {error}") from None
        name: str | None = self["client-token-env"]
        if name is not None:
            found["client"] = digest(_token(name, environ))
        return tuple(found.items())

    def _server_info(self) -> str | None:
        path: str | None = self["server-info"]
        if path == "":
            raise usage.UsageError("--server-info: the file name is empty")
        return path


def _stacked(*layers: dict[str, Given]) -> dict[str, Given]:
    """Return the options of all *layers*, the first one's before the next one's."""
    found: dict[str, Given] = {}
    for layer in layers:
        # Who names an upstream means it: one from below would be another; and another vendor's key is not sent to it.
        settled = {*_UPSTREAM} if any(name in found for name in _UPSTREAM) else set()
        if "upstream" in found:
            settled.update(("profile", "api-key-env", "api-key-file", "no-api-key"))
        found.update({name: it for name, it in layer.items() if name not in found and name not in settled})
    return found


def _placed(text: str, name: str, source: str) -> str:
    if source.startswith("--"):
        return text
    return text.replace(
        f"--{name}", source if source.startswith("CHATBRIDGE_") else f"{source}: {name.replace('-', '_')}", 1
    )


# What means something in an endpoint description.
_ESCAPES = str.maketrans({"\\": "\\\\", ":": "\\:", "=": "\\="})


def _listen_host(host: str | None) -> str:
    """Return the address to listen on, an IPv6 one without brackets."""
    if host is None:
        return "127.0.0.1"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not bare.isprintable() or re.search(r"[\s/\[\]]", bare):
        raise usage.UsageError(f"--host: {host!r} is not an address")
    if ":" in bare:
        _ipv6("--host", bare)
    return bare


def _ipv6(option: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise usage.UsageError(f"{option}: {host!r} is not an IPv6 address") from None


def _upstream_url(url: str) -> str:
    """Return the full address of chat/completions."""
    parts = _split_url(url)
    path = parts.path.rstrip("/")
    if not path:
        path = "/v1"
    if re.search(r"/v[0-9]+$", path):
        path += "/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _split_url(url: str) -> SplitResult:
    # The address itself is not repeated in what is said: it may hold a password or a key.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise usage.UsageError("--upstream-url: contains a character that cannot stand in an address")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise usage.UsageError("--upstream-url: must be http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    if "@" in parts.netloc:
        raise usage.UsageError("--upstream-url: must not hold a user name or password; see --api-key-env")
    return parts


def _key(name: str, environ: Mapping[str, str]) -> Secret:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # Not repeated in the text: people paste the key itself.
        raise usage.UsageError("--api-key-env: takes the name of an environment variable, not the key itself")
    key = environ.get(name, "").strip()
    if not key:
        raise usage.UsageError(
            f"missing or empty env var: {name} (an upstream on this machine may do without: --no-api-key; "
            "to try things out: --practice)"
        )
    return _secret(f"env var {name}", key)


def _key_in(path: str) -> Secret:
    try:
        with Path(path).open(encoding="utf-8") as file:
            key = file.read(_KEY_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise usage.UsageError(f"--api-key-file: {path}: {reason}") from None
    if not key:
        raise usage.UsageError(f"--api-key-file: {path}: the file is empty")
    return _secret(f"--api-key-file: {path}", key)


def _secret(where: str, key: str) -> Secret:
    if not key.isascii() or not key.isprintable():
        raise usage.UsageError(f"{where}: the key contains a character that cannot stand in an HTTP header")
    return Secret(key)


def _token(name: str, environ: Mapping[str, str]) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise usage.UsageError("--client-token-env: takes the name of an environment variable, not the token itself")
    token = environ.get(name, "").strip()
    if len(token) < _TOKEN_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise usage.UsageError(
            f"--client-token-env: {name} must hold a token of at least {_TOKEN_LENGTH} printable characters"
        )
    return token


def _count(option: str, text: Any) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise usage.UsageError(f"{option}: {text!r} is not a whole number of at least 0")
    return int(text)


def _seconds(option: str, text: Any, *, zero: bool = True) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise usage.UsageError(f"{option}: {text!r} is not a number of seconds{'' if zero else ' above 0'}")
    return value


def _bytes(option: str, text: Any) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([kKmMgG]?)", text)
    value = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if value <= 0:
        raise usage.UsageError(f"{option}: {text!r} is not a number of bytes (as 1000000, 512k, 32M or 1G)")
    return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _host_name(name: str) -> str:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare:
        _ipv6("--allow-host", bare)
        return bare.lower()
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?", bare):
        raise usage.UsageError(f"--allow-host: {name!r} is not a host name (without scheme, port or path)")
    return bare.lower()


def _origin(origin: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?", origin) or not origin.isascii():
        raise usage.UsageError(
            f"--allow-origin: {origin!r} is not an origin, as https://example.org or http://HOST:PORT"
        )
    return origin.lower().rstrip("/")
