"""twistd's command line, and how it becomes :class:`Settings`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.copyright import version as twisted_version
from twisted.python import usage

from chatbridge import __version__
from chatbridge.service.certificates import CertificateError, trust_of
from chatbridge.service.config import (
    UPSTREAM,
    Config,
    ConfigError,
    Given,
    Kind,
    Kinds,
    from_environment,
    placed,
    read_config,
    stacked,
)
from chatbridge.service.listener import StartError
from chatbridge.service.logs import LEVELS
from chatbridge.service.parameters import FLAGS, PARAMETERS
from chatbridge.service.proxy import Proxy, ProxyURLError, proxy_from, read_proxy
from chatbridge.service.routes import Routes
from chatbridge.service.secret import Secret
from chatbridge.service.settings import DEFAULT_UPSTREAM_URL, Settings
from chatbridge.service.tables import OF_A_ROUTE, route, with_headers, with_profile_keys
from chatbridge.service.values import (
    ESCAPES,
    chat_url,
    count,
    header_name,
    host_name_given,
    in_credentials,
    is_number,
    key_in_variable,
    keys_in_file,
    listen_host,
    one_of,
    search_url,
    seconds,
    size,
    store,
    token,
    web_origin,
)
from chatbridge.upstream.keys import Key
from chatbridge.vendors.checks import ProfileError
from chatbridge.vendors.profile import Profile, parse_profile, profile_named
from chatbridge.web.access import TokenError, digest, read_tokens
from chatbridge.web.guard import host_name, is_loopback

# Until the practice upstream listens and its true address is known, nothing may go anywhere else.
_PRACTICE_URL = "http://127.0.0.1:0/v1/chat/completions"

_OF_AN_UPSTREAM = (
    "upstream", "upstream-url", "practice", "profile", "api-key-env", "api-key-file", "no-api-key", "vendor-search",
    "repair-json",
    "connect-timeout", "first-byte-timeout", "idle-timeout", "total-timeout", "forward-header", "api-key-envs",
    "proxy", "ca-file", "retries", "retry-seconds", "breaker-failures", "breaker-seconds", "upstream-streams",
    "upstream-rate", "queue-seconds",
)  # fmt: skip
"""What an ``[upstreams.NAME]`` table may hold, with ``headers``, ``headers_env`` and ``profile_keys``."""
WORKERS_LIMIT = 64


class Options(usage.Options):
    """The options of ``twistd chatbridge``.

    Every wrong value is a :exc:`usage.UsageError`; under twistd, a :exc:`StartError` with its text.
    """

    optParameters = PARAMETERS
    optFlags = FLAGS
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
        self["forward-header"] = []
        self["api-key-envs"] = []
        self.kinds: dict[str, Kind] = {
            name: "list" if value == [] else "text" if value is None else "flag" for name, value in self.items()
        }
        """What each option takes, by name."""
        self.sources: dict[str, str] = {}
        """Where each option's value came from; the defaults are not in it."""
        self._line: dict[str, Any] = {}
        self._file = Config()
        self._proxies: dict[str, dict[str, Given]] = {}

    def opt_allow_host(self, name: str) -> None:
        """A host name to accept besides localhost and loopback addresses. May be repeated. [default: none]"""
        self["allow-host"].append(host_name_given(name))

    def opt_allow_origin(self, origin: str) -> None:
        """A web origin, as https://example.org, whose pages may ask. May be repeated. [default: none]"""
        self["allow-origin"].append(web_origin(origin))

    def opt_forward_header(self, name: str) -> None:
        """A header of the client that goes upstream too, as x-session. May be repeated. [default: none]"""
        self["forward-header"].append(header_name(name))

    def opt_api_key_envs(self, name: str) -> None:
        """A variable that holds one of several keys for the upstream, in the order to use them. May be repeated.
        [default: none]
        """
        self["api-key-envs"].append(name)

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"chatbridge {__version__} (Twisted {twisted_version})")  # noqa: T201 (what it is for)
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            error = usage.UsageError(self._nearest(str(error)))
            if self.parent is None:
                raise error from None
            # twistd before 26.10 prints such an error, and exits with status 0.
            raise StartError(f"chatbridge: {error}\nTry: twistd chatbridge --help") from error

    def _nearest(self, text: str) -> str:
        """Return an error's *text*, with the option that an unknown one may have been meant for."""
        match = re.fullmatch(r"option --(\S+) not recognized", text)
        near = difflib.get_close_matches(match[1], self.kinds, 1) if match else []
        return f"{text}; did you mean --{near[0]}?" if near else text

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
            if self._file.upstreams or self._file.routes:
                return self._several(environ)
            return self._default(environ)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        except usage.UsageError as error:
            raise usage.UsageError(self._placed(str(error))) from None

    @property
    def rereadable(self) -> bool:
        """Whether there is anything that SIGHUP could read again, or somebody who sends it for that."""
        files = ("config", "api-key-file", "client-token-file")
        return any(self[name] is not None for name in files) or "NOTIFY_SOCKET" in os.environ

    @property
    def log_file(self) -> str | None:
        """The file that twistd was told to log to, or will take as a daemon."""
        twistd: Mapping[str, Any] = self.parent or {}
        path: str | None = twistd.get("logfile")
        if path is None and not twistd.get("nodaemon", True):
            path = "twistd.log"
        return None if path == "-" else path

    @property
    def log_elsewhere(self) -> bool:
        """Whether twistd was told to log to anything but the standard output."""
        twistd: Mapping[str, Any] = self.parent or {}
        names = ("logfile", "logger", "syslog")
        return not twistd.get("nodaemon") or any(twistd.get(name) not in (None, 0, "-") for name in names)

    def upstreams(self) -> Iterator[tuple[str, str, Mapping[str, Given]]]:
        """Yield the name, place and content of each ``[upstreams.NAME]``: all its keys, the defaults too."""
        absent = {name: Given(self._absent(name), "default") for name in _OF_AN_UPSTREAM}
        for name, (where, table) in self._file.upstreams.items():
            yield name, where, {**absent, **self._proxies.get(name, {}), **table}

    def routes(self) -> Iterator[tuple[str, Mapping[str, Given]]]:
        """Yield place and content of each of the ``[[routes]]``."""
        yield from self._file.routes

    def _several(self, environ: Mapping[str, str]) -> Settings:
        """Return the settings for several upstreams. The options outside of their tables are those of the default one.

        ``upstream`` may name one of the tables, which then is the default one.
        """
        tables = self._file.upstreams
        named: str | None = self["upstream"]
        if named in tables:
            self["upstream"] = None
            upstreams = [self._one(name, environ) for name in tables]
            default = next(one for one in upstreams if one.name == named)
        elif any(self[name] for name in UPSTREAM) or not tables:
            default = self._default(environ)
            upstreams = [default, *(self._one(name, environ) for name in tables)]
        else:
            upstreams = [self._one(name, environ) for name in tables]
            default = upstreams[0]
        if (kept := self._file.profile_keys) is not None and default.name in tables:
            text = "there is no upstream outside of the tables; they go under [upstreams.NAME.profile_keys]"
            raise ConfigError(f"{kept.source}: profile_keys: {text}")
        names = frozenset(one.name for one in upstreams)
        if len(names) < len(upstreams):
            raise usage.UsageError(
                f"{tables[default.name][0]}: the upstream outside of the tables has this name already"
            )
        found = tuple(route(where, table, default.name, names) for where, table in self._file.routes)
        return replace(default, upstreams=tuple(upstreams), routes=Routes(found, default.name, names))

    def _default(self, environ: Mapping[str, str]) -> Settings:
        """Return the settings for the upstream that stands outside of the tables."""
        return with_profile_keys(self._settings(environ), self._file.profile_keys)

    def _one(self, name: str, environ: Mapping[str, str]) -> Settings:
        """Return the settings for the upstream of the table *name*: what it leaves out is the default."""
        where, table = self._file.upstreams[name]
        kept, sources = dict(self), self.sources
        self.sources = {key: given.source for key, given in table.items()}
        try:
            for key in _OF_AN_UPSTREAM:
                self[key] = self._checked(key, table[key]) if key in table else self._absent(key)
            try:
                found = replace(self._settings(environ), name=name)
                if "proxy" not in table and "proxy" in self.sources:
                    self._proxies[name] = {"proxy": Given(self["proxy"], self.sources["proxy"])}
            except usage.UsageError as error:
                text = self._placed(str(error))
                raise usage.UsageError(text if text != str(error) else f"{where}: upstreams.{name}: {error}") from None
        finally:
            self.update(kept)
            self.sources = sources
        return with_headers(
            with_profile_keys(found, table.get("profile-keys")), table.get("headers"), table.get("headers-env"), environ
        )

    def _layer(self, environ: Mapping[str, str]) -> None:
        given = {name: Given(value, f"--{name}") for name, value in self._line.items() if value not in (None, 0, [])}
        around = from_environment(environ, self.kinds)
        path = given.get("config") or around.get("config")
        file = self._file = read_config(path.value, self._kinds()) if path else Config()
        found = stacked(given, around, {name: it for name, it in file.options.items() if name != "config"})
        self.sources = {name: it.source for name, it in found.items()}
        for name in self.kinds:
            self[name] = self._checked(name, found[name]) if name in found else self._absent(name)

    def _absent(self, name: str) -> Any:
        absent: Any = {"text": self.printed.get(name), "flag": 0, "list": []}[self.kinds[name]]
        return absent

    def _kinds(self) -> Kinds:
        upstreams = {name: self.kinds[name] for name in _OF_AN_UPSTREAM} | {
            "headers": "table",
            "headers-env": "table",
            "profile-keys": "tree",
        }
        return Kinds(self.kinds, upstreams, OF_A_ROUTE)

    def _checked(self, name: str, given: Given) -> Any:
        """Return a list's words as the command line would have taken them."""
        if self.kinds[name] != "list" or given.source.startswith("--"):
            return given.value
        self[name] = []
        for word in given.value:
            try:
                getattr(self, "opt_" + name.replace("-", "_"))(word)
            except usage.UsageError as error:
                raise ConfigError(placed(str(error), name, given.source)) from None
        return self[name]

    def _placed(self, text: str) -> str:
        """Return an error's *text* with the place of the value that it is about."""
        match = re.match(r"--([a-z-]+):", text)
        source = self.sources.get(match[1]) if match else None
        return text if match is None or source is None else placed(text, match[1], source)

    def _settings(self, environ: Mapping[str, str]) -> Settings:
        vendor = self._named("upstream")
        upstream_url = self._upstream_url(vendor)
        place, password = store("--store", self["store"])
        keys = self._api_keys(upstream_url, vendor, environ)
        return Settings(
            listen=self._listen(),
            upstream_url=upstream_url,
            profile=self._named("profile") or vendor,
            vendor_search=bool(self["vendor-search"]),
            repair_json=bool(self["repair-json"]),
            api_key=keys[0].secret,
            api_key_env=keys[0].name,
            api_keys=keys if len(keys) > 1 else (),
            proxy=self._proxy(upstream_url, environ),
            ca_file=self._ca_file(),
            search_url=search_url(self["search-url"]),
            search_open=one_of("--search-open", self["search-open"], ("results", "any", "none")),
            search_always=bool(self["search-always"]),
            connect_timeout=seconds("--connect-timeout", self["connect-timeout"], zero=False),
            first_byte_timeout=seconds("--first-byte-timeout", self["first-byte-timeout"], zero=False),
            idle_timeout=seconds("--idle-timeout", self["idle-timeout"], zero=False),
            total_timeout=seconds("--total-timeout", self["total-timeout"], zero=False),
            retries=count("--retries", self["retries"]),
            retry_seconds=seconds("--retry-seconds", self["retry-seconds"]),
            breaker_failures=count("--breaker-failures", self["breaker-failures"] or self._patience()),
            breaker_seconds=seconds("--breaker-seconds", self["breaker-seconds"], zero=False),
            upstream_streams=count("--upstream-streams", self["upstream-streams"]),
            upstream_rate=count("--upstream-rate", self["upstream-rate"]),
            queue_seconds=seconds("--queue-seconds", self["queue-seconds"], zero=False),
            forward_headers=tuple(self["forward-header"]),
            store=place,
            store_password=password,
            store_seconds=seconds("--store-days", self["store-days"], zero=False) * 86400,
            log_format=one_of("--log-format", self["log-format"], ("text", "json")),
            log_level=one_of("--log-level", self["log-level"], LEVELS),
            trace=self["trace"] or None,
            trace_bytes=size("--trace-size", self["trace-size"]),
            server_info=self._server_info(),
            http_shutdown=bool(self["http-shutdown"]),
            practice=bool(self["practice"]),
            drain_seconds=seconds("--drain-seconds", self["drain-seconds"]),
            max_request_bytes=size("--max-request-bytes", self["max-request-bytes"]),
            header_timeout=seconds("--header-timeout", self["header-timeout"], zero=False),
            client_tokens=self._client_tokens(environ),
            client_streams=count("--client-streams", self["client-streams"]),
            client_rate=count("--client-rate", self["client-rate"]),
            max_streams=count("--max-streams", self["max-streams"]),
            max_connections=count("--max-connections", self["max-connections"]),
            workers=self._workers(),
            client_websockets=count("--client-websockets", self["client-websockets"]),
            allow_anyone=bool(self["allow-anyone"]),
            allow_hosts=tuple(self["allow-host"]),
            allow_origins=tuple(self["allow-origin"]),
        )

    def _patience(self) -> str:
        """Return after how many failures in a row an upstream is left alone.

        The only one is not left soon: nobody else answers meanwhile, and the failures may be those of one client, whose
        requests the upstream's other clients should not pay for. One client alone, answer by answer, with the retries'
        waits between, does not come to fifty in a minute.
        """
        return "5" if len(self._file.upstreams) > 1 else "50"

    def _listen(self) -> str:
        port: str | None = self["port"]
        if port is not None and not is_number(port):
            return self._endpoint(port)
        number = int(port or "0")
        if number > 65535:
            raise usage.UsageError(f"--port: {number} is not a port number (0 to 65535)")
        host = listen_host(self["host"])
        kind = "tcp6" if ":" in host else "tcp"
        return f"{kind}:{number}:interface={host.translate(ESCAPES)}"

    def _endpoint(self, port: str) -> str:
        if ":" not in port:
            raise usage.UsageError(f"--port: {port!r} is neither a port number nor an endpoint description")
        if self["host"] is not None:
            raise usage.UsageError("--host goes with a port number; an endpoint description holds its own address")
        return port

    def _named(self, option: str) -> Profile | None:
        name: str | None = self[option]
        try:
            if name is None or not (os.sep in name or name.endswith(".toml")):
                return None if name is None else profile_named(name)
            return parse_profile(name, Path(name).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise usage.UsageError(f"--{option}: {name}: {getattr(error, 'strerror', None) or error}") from None
        except ProfileError as error:
            raise usage.UsageError(f"--{option}: {error}") from None

    def _upstream_url(self, vendor: Profile | None) -> str:
        url: str | None = self["upstream-url"]
        if not self["practice"]:
            if url is not None or vendor is None:
                return chat_url(DEFAULT_UPSTREAM_URL if url is None else url)
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

    def _api_keys(self, upstream_url: str, vendor: Profile | None, environ: Mapping[str, str]) -> tuple[Key, ...]:
        """Return the upstream's keys, at least one; an empty one stands for none."""
        variable = self._key_variable(vendor)
        none = (Key(variable, Secret("")),)
        if self["practice"]:
            return none
        names = self["api-key-envs"]
        if vendor is not None and not vendor.key_env and not (names or self["api-key-env"] or self["api-key-file"]):
            return none  # a local server
        if self["no-api-key"]:
            if not is_loopback(host_name(urlsplit(upstream_url).netloc) or ""):
                raise usage.UsageError("--no-api-key: only for an upstream on this machine (--upstream-url)")
            return none
        if self["api-key-file"] is not None:
            return keys_in_file(in_credentials("--api-key-file", self["api-key-file"], environ))
        if names:
            return tuple(Key(name, self._key_in("api-key-envs", name, environ)) for name in dict.fromkeys(names))
        return (Key(variable, self._key_in("api-key-env", variable, environ)),)

    def _key_in(self, option: str, variable: str, environ: Mapping[str, str]) -> Secret:
        """Return the key in *variable*. Where a file or a variable names that one, an error has the place in front."""
        below = not self.sources.get(option, "--").startswith("--")
        return key_in_variable(variable, environ, f"--{option}", missing=f"--{option}: " if below else "")

    def _proxy(self, upstream_url: str, environ: Mapping[str, str]) -> Proxy | None:
        if self["practice"]:
            return None
        try:
            if self["proxy"] is not None:
                return read_proxy(self["proxy"])
        except ProxyURLError as error:
            raise usage.UsageError(f"--proxy: {error}") from None
        try:
            variable, found = proxy_from(environ, upstream_url)
        except ProxyURLError as error:
            raise usage.UsageError(str(error)) from None
        if found is not None:  # so that `config show` can tell
            self["proxy"], self.sources["proxy"] = environ[variable], variable
        return found

    def _ca_file(self) -> str | None:
        path: str | None = self["ca-file"]
        if path is not None:
            try:
                trust_of(path)
            except CertificateError as error:
                raise usage.UsageError(f"--ca-file: {error}") from None
        return path

    def _client_tokens(self, environ: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
        found: dict[str, bytes] = {}
        if self["client-token-file"] is not None:
            try:
                path = in_credentials("--client-token-file", self["client-token-file"], environ)
                found.update(read_tokens(path))
            except TokenError as error:
                raise usage.UsageError(f"--client-token-file: {error}") from None
        name: str | None = self["client-token-env"]
        if name is not None:
            found["client"] = digest(token(name, environ))
        return tuple(found.items())

    def _workers(self) -> int:
        number = count("--workers", self["workers"])
        if not 1 <= number <= WORKERS_LIMIT:
            raise usage.UsageError(f"--workers: {number} is not from 1 to {WORKERS_LIMIT}")
        if number > 1 and self["store"] == "memory":
            raise usage.UsageError(
                f"--workers: {number} processes cannot share a store in memory, and a client's next request may reach "
                "any of them; name one that they share (--store sqlite:///PATH), or --store none"
            )
        return number

    def _server_info(self) -> str | None:
        path: str | None = self["server-info"]
        if path == "":
            raise usage.UsageError("--server-info: the file name is empty")
        return path
