"""``chatbridge codex``: the settings with which Codex uses the daemon."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from chatbridge.commands.config import parsed
from chatbridge.service.settings import Settings
from chatbridge.vendors.profile import profile_for
from chatbridge.web.guard import bound_address

COMPACT_AT = 0.85
"""How full the window may be when Codex compacts; a turn's tool output still has to fit in."""


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser("codex", help="print the settings with which Codex CLI uses the daemon")
    parser.add_argument("--model", default="YOUR-MODEL", help="the model's name, as the upstream has it")
    parser.usage = f"{parser.prog} [--model MODEL] [any option of `twistd chatbridge`]"
    parser.set_defaults(run=_codex)


def _codex(known: argparse.Namespace, rest: Sequence[str], _parser: argparse.ArgumentParser) -> int:
    options = parsed(rest)
    if options is None:
        return 1
    print("\n".join(settings_for(options.settings(os.environ), known.model)))  # noqa: T201 - a command's output
    return 0


def settings_for(settings: Settings, model: str) -> Iterator[str]:
    """Yield the lines for Codex's config.toml."""
    yield "# ~/.codex/config.toml; the lines before the table must stand above every [table] there is."
    yield f"model = {json.dumps(model)}"
    yield 'model_provider = "chatbridge"'
    window = (settings.profile or profile_for(settings.upstream_url)).for_model(model).context_window
    if window:
        yield f"model_context_window = {window}"
        yield f"model_auto_compact_token_limit = {int(window * COMPACT_AT)}"
    else:
        yield "# The profile does not know this model's window; without a line Codex takes 272000 tokens for it."
        yield "#model_context_window = 128000"
    yield ""
    yield "[model_providers.chatbridge]"
    yield 'name = "chatbridge"'
    yield f"base_url = {json.dumps(base_url(settings))}"
    yield 'wire_api = "responses"'
    if settings.client_tokens:
        yield "# export CHATBRIDGE_TOKEN with what `chatbridge token` printed for you."
        yield 'env_key = "CHATBRIDGE_TOKEN"'


def base_url(settings: Settings) -> str:
    """Return the daemon's address for clients; PORT where it is not fixed."""
    kind, _, rest = settings.listen.partition(":")
    port = rest.partition(":")[0]
    host = bound_address(settings.listen) or "127.0.0.1"
    scheme = "https" if kind in ("ssl", "tls") else "http"
    shown = port if kind in ("tcp", "tcp6", "ssl") and port.isdigit() and port != "0" else "PORT"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{shown}/v1"
