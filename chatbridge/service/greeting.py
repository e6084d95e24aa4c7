"""What the log says at start: where the daemon listens, which upstream it asks, and commands to try it with."""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Callable, Iterator

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from chatbridge.service.serverinfo import public_url
from chatbridge.service.settings import DEFAULT_UPSTREAM_URL, Settings
from chatbridge.web.guard import is_loopback

# With these the commands work as they are; other upstreams have models of their own.
_PRACTICE_MODEL = "practice"
_OPENAI_MODEL = "gpt-5.5"

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared with, not bound to)


class Greeting(Service):
    """Logs the greeting when it starts; *address* and *upstream_url* are asked then."""

    _log = Logger()

    def __init__(self, settings: Settings, address: Callable[[], IAddress], upstream_url: Callable[[], str]) -> None:
        self._settings = settings
        self._address = address
        self._upstream_url = upstream_url

    def startService(self) -> None:
        super().startService()
        address = self._address()
        for warning in warnings(self._settings, address):
            self._log.warn("{line}", line=warning)
        for line in greeting(self._settings, address, self._upstream_url()):
            self._log.info("{line}", line=line)


def warnings(settings: Settings, address: IAddress) -> Iterator[str]:
    """Yield what whoever starts the daemon must not overlook."""
    if settings.practice:
        yield (
            "PRACTICE UPSTREAM: answers are scripted, no model is asked. "
            "Set OPENAI_API_KEY or --upstream-url to use a real one."
        )
    host = getattr(address, "host", None)
    if host is not None and not is_loopback(host) and not settings.client_tokens:
        yield (
            f"OPEN TO THE NETWORK: {host} is not a loopback address, and chatbridge asks its clients for no key. "
            "Whoever reaches this port uses your upstream."
        )


def greeting(settings: Settings, address: IAddress, upstream_url: str) -> Iterator[str]:
    """Yield the lines of the greeting."""
    model = _model(settings)
    body = json.dumps({"model": model, "input": "Say hello", "stream": True})
    if isinstance(address, UNIXAddress):
        path = address.name.decode("utf-8", "backslashreplace") if address.name else "(no name)"
        yield f"Listening on unix:{path}, path /v1"
        base = "http://localhost/v1"
        options = ["--unix-socket", path]
    else:
        base = base_url(settings, address)
        yield f"Listening on {base}"
        options = []
    yield f"Upstream: {public_url(upstream_url)}{'' if settings.api_key else ' (no API key)'}"
    if not options:
        yield f"Try Codex: {codex_command(base, model)}"
    curl = ["curl", "-N", *options, f"{base}/responses", "-H", "content-type: application/json", "-d", body]
    yield f"Try curl: {shlex.join(curl)}"


def base_url(settings: Settings, address: IAddress) -> str:
    """Return the base URL for a client on this machine; *address* is a TCP one."""
    host: str = getattr(address, "host", "")
    host = _WILDCARDS.get(host, host)
    scheme = "https" if settings.listen.startswith(("ssl:", "tls:")) else "http"
    return f"{scheme}://{_bracketed(host)}:{getattr(address, 'port', 0)}/v1"


def codex_command(base: str, model: str) -> str:
    """Return a shell command that runs Codex on the bridge without a change to Codex's own configuration."""
    provider = f'model_providers.chatbridge={{name="chatbridge",base_url="{base}",wire_api="responses"}}'
    settings = ["-c", "model_provider=chatbridge", "-c", provider, "-m", model]
    return shlex.join(["codex", "exec", "--skip-git-repo-check", *settings, "Say hello"])


def _model(settings: Settings) -> str:
    if settings.practice:
        return _PRACTICE_MODEL
    return _OPENAI_MODEL if settings.upstream_url == DEFAULT_UPSTREAM_URL else "MODEL"


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
