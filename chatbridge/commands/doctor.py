"""``chatbridge doctor``: what stands between a client and an answer, one line each, with the cure."""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chatbridge.commands.codex import base_url
from chatbridge.commands.config import parsed
from chatbridge.service.settings import Settings
from chatbridge.upstream.catalogue import models_url
from chatbridge.vendors.profile import profile_for

TIMEOUT = 15.0
_READ_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. With a *cure* it is wrong."""

    what: str
    said: str
    cure: str = ""

    def __str__(self) -> str:
        return f"WRONG {self.what}: {self.said}. {self.cure}" if self.cure else f"ok    {self.what}: {self.said}"


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser(
        "doctor", help="look at the configuration, the port, the upstream and Codex's settings; say what is wrong"
    )
    parser.add_argument("--ask", metavar="MODEL", help="send one tiny request to this model as well; it may cost money")
    parser.add_argument(
        "--codex-config",
        type=Path,
        default=Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml",
        help="Codex's configuration file [default: %(default)s]",
    )
    parser.usage = f"{parser.prog} [--ask MODEL] [--codex-config FILE] [any option of `twistd chatbridge`]"
    parser.set_defaults(run=_doctor)


def _doctor(known: argparse.Namespace, rest: Sequence[str], _parser: argparse.ArgumentParser) -> int:
    options = parsed(rest)
    if options is None:
        return 1
    settings = options.settings(os.environ)
    wrong = 0
    for finding in _findings(settings, known.ask, known.codex_config):
        print(finding)  # noqa: T201 - a command's output
        wrong += bool(finding.cure)
    return 1 if wrong else 0


def _findings(settings: Settings, model: str | None, codex_config: Path) -> Iterator[Finding]:
    yield Finding("configuration", "it can be read, and the key is there" if settings.api_key else "it can be read")
    yield port(settings)
    for one in settings.upstreams or (settings,):
        if not one.practice:
            yield models(one)
    if model is not None and not settings.practice:
        yield answer(settings, model)
    if codex_config.exists():
        yield from codex(codex_config.read_bytes(), os.environ)
    else:
        yield Finding("Codex", f"there is no {codex_config}; `chatbridge codex` prints what to write there")


def port(settings: Settings) -> Finding:
    """Look at who listens where the daemon would."""
    parts = urlsplit(base_url(settings))
    if not parts.netloc.rpartition(":")[2].isdigit():
        return Finding("port", f"{settings.listen} is looked at when the daemon starts")
    where = (parts.hostname or "", parts.port or 0)
    try:
        socket.create_connection(where, timeout=2).close()
    except OSError:
        return Finding("port", f"{where[1]} is free")
    try:
        with urllib.request.urlopen(f"http://{parts.netloc}/healthz", timeout=5) as found:
            version = json.loads(found.read(_READ_LIMIT))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("port", f"something else listens on {where[1]}", "Choose another --port, or stop it")
    return Finding("port", f"chatbridge {version} answers on {where[1]}")


def models(settings: Settings) -> Finding:
    """Ask the upstream for its models."""
    url = models_url(settings.upstream_url)
    what = f"upstream {settings.name}"
    try:
        listed = json.loads(_fetch(settings, url))
    except urllib.error.HTTPError as error:
        if error.code in (404, 405):
            return Finding(what, f"it answers at {urlsplit(url).netloc}, but has no list of models")
        return Finding(what, f"{error.code} for its list of models", _cure(settings, error.code))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            what, f"{urlsplit(url).netloc} cannot be asked: {reason}", "Check --upstream-url and the network"
        )
    data = listed.get("data") if isinstance(listed, dict) else listed
    return Finding(what, f"{len(data) if isinstance(data, list) else 0} models at {urlsplit(url).netloc}")


def answer(settings: Settings, model: str) -> Finding:
    """Ask *model* for one word."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say ok."}]}
    try:
        _fetch(settings, settings.upstream_url, json.dumps(body).encode())
    except urllib.error.HTTPError as error:
        text = settings.api_key.redact(error.read(500).decode("utf-8", "replace"))
        return Finding(f"model {model}", f"{error.code}: {' '.join(text.split())}", _cure(settings, error.code))
    except OSError as error:
        return Finding(f"model {model}", f"no answer: {getattr(error, 'reason', error)}", "Check --upstream-url")
    return Finding(f"model {model}", "it answers")


def _fetch(settings: Settings, url: str, body: bytes | None = None) -> bytes:
    profile = settings.profile or profile_for(settings.upstream_url)
    headers = {"Accept": "application/json", "Content-Type": "application/json", **profile.headers}
    if settings.api_key:
        headers[profile.key_header] = f"{profile.key_scheme} {settings.api_key.reveal()}".strip()
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - http and https only, see the option
    context = ssl.create_default_context(cafile=settings.ca_file)
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as found:  # noqa: S310 - as above
        data: bytes = found.read(_READ_LIMIT)
    return data


def _cure(settings: Settings, status: int) -> str:
    if status in (401, 403):
        key = f"Check the key in {settings.api_key_env}" if settings.api_key else "Give it a key (--api-key-env)"
        return f"{key}; it may be another vendor's"
    return "Check the model's name and --upstream-url" if status in (400, 404) else "Try again later"


def codex(data: bytes, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at Codex's config.toml for what people stumble over."""
    if environ.get("OPENAI_BASE_URL"):
        yield Finding("Codex", "OPENAI_BASE_URL is set, which Codex ignores", "Use a provider: `chatbridge codex`")
    try:
        config = tomllib.loads(data.decode())
    except ValueError as error:
        yield Finding("Codex", f"its config.toml cannot be read: {error}", "Mend the line that it names")
        return
    for table in _tables_with(config, "model_provider"):
        yield Finding(
            "Codex",
            f"model_provider stands below [{table}], where Codex does not look for it",
            "Move it above the first [table]",
        )
    name = config.get("model_provider")
    if name is None:
        if "openai_base_url" not in config:
            yield Finding("Codex", "no model_provider, so it asks OpenAI", "Add the lines of `chatbridge codex`")
        return
    provider = (config.get("model_providers") or {}).get(name)
    if not isinstance(provider, dict):
        yield Finding("Codex", f"there is no [model_providers.{name}]", "Add the lines of `chatbridge codex`")
        return
    yield from _provider(name, provider, environ)
    if "model_context_window" not in config and "model_catalog_url" not in provider:
        yield Finding(
            "Codex",
            "no model_context_window: it takes 272000 tokens for a model that it does not know, and compacts too late",
            "Add model_context_window = … above the first [table]",
        )


def _provider(name: str, provider: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Finding]:
    url = provider.get("base_url")
    if not isinstance(url, str) or not url.rstrip("/").endswith("/v1"):
        yield Finding("Codex", f"base_url of {name} is {url!r}", "It ends in /v1, as http://127.0.0.1:8787/v1")
    if provider.get("wire_api", "responses") != "responses":
        yield Finding("Codex", f"wire_api of {name} is {provider['wire_api']!r}", 'Make it wire_api = "responses"')
    variable = provider.get("env_key")
    if variable and not environ.get(str(variable)):
        yield Finding(
            "Codex", f"{variable} is not set, and Codex will not start without it", "Export it, or drop env_key"
        )
    else:
        yield Finding("Codex", f"it asks {url}")


def _tables_with(config: Mapping[str, Any], key: str, path: str = "") -> Iterator[str]:
    """Yield the tables that hold *key*, without the top and the profiles, where it belongs."""
    for name, value in config.items():
        if isinstance(value, dict):
            here = f"{path}.{name}" if path else name
            if key in value and not here.startswith("profiles."):
                yield here
            yield from _tables_with(value, key, here)
