"""``chatbridge config``: look at a configuration before the daemon does."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from twisted.python import usage

from chatbridge.commands.original import OriginalError, import_original
from chatbridge.service.listener import StartError, refuse_open
from chatbridge.service.options import Options
from chatbridge.service.secret import looks_secret, names_secret
from chatbridge.service.values import public_store
from chatbridge.web.guard import listen_address

_HEAD = """\
# chatbridge's configuration. Each line without its # is what holds without this file, or an example.
# The command line (--upstream-url) and the environment (CHATBRIDGE_UPSTREAM_URL) go before this file.
# No key stands here: api_key_env names the variable that holds it, api_key_file a file.
"""

TABLES = """\
# Several upstreams, each with its own of the options above that are about one, and routes between them; see
# docs/upstreams.md. Tables stand at the end of a file.
#[upstreams.local]
#upstream_url = "http://127.0.0.1:11434/v1"
#no_api_key = true
#upstream_streams = 1
# These go upstream with every request.
#headers = {X-Team = "red"}
#headers_env = {X-Secret = "VARIABLE"}

# The first that matches counts. Which requests: by model and host (globs), or by path, as team in /team/v1/responses.
#[[routes]]
#model = "gpt-*"
#path = ""
#host = ""
# Where to; the model's name there; and where next, when that one cannot answer.
#upstream = "local"
#send_model = "llama3"
#fallback = ["other", {upstream = "other", model = "small"}]
# What is taken out of requests, and which of the client's headers go on.
#drop_tools = ["web_search"]
#drop_fields = ["metadata"]
#forward_header = ["x-session"]
"""
"""What a file may hold besides options, as comments and examples."""


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser("config", help="check, show or begin a configuration")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say what is wrong with it, with file, line and key")
    check.set_defaults(run=_check)
    show = actions.add_parser("show", help="print what would be in force, and where each value came from")
    show.set_defaults(run=_show)
    init = actions.add_parser("init", help="write a file that explains each option")
    init.add_argument("file", nargs="?", default="chatbridge.toml")
    init.set_defaults(run=_init)
    original = actions.add_parser(
        "import-codex-chat-bridge", help="make a configuration of one of codex-chat-bridge, and say what became of it"
    )
    original.add_argument("file", metavar="FILE", help="its conf.toml")
    original.add_argument("--output", "-o", metavar="FILE", help="where to write; the standard output without it")
    original.set_defaults(run=_import)
    for action in (check, show):
        action.usage = f"{action.prog} [--config FILE] [any option of `twistd chatbridge`]"


def _check(_known: argparse.Namespace, rest: Sequence[str], _parser: argparse.ArgumentParser) -> int:
    options = parsed(rest)
    if options is None:
        return 1
    try:
        settings = options.settings(os.environ)
        refuse_open(settings, listen_address(settings.listen))
    except (usage.UsageError, StartError) as error:
        _complain(str(error))
        return 1
    print("The configuration is good.")  # noqa: T201 - a command's output
    return 0


def _show(_known: argparse.Namespace, rest: Sequence[str], _parser: argparse.ArgumentParser) -> int:
    options = parsed(rest)
    if options is None:
        return 1
    for name in sorted(options.kinds):
        _print(name, options[name], options.sources.get(name, "default"), options)
    for name, where, table in options.upstreams():
        print(f"\n[upstreams.{name}]  # {where}")  # noqa: T201
        for key, given in sorted(table.items()):
            _print(key, given.value, given.source, options)
    for where, table in options.routes():
        print(f"\n[[routes]]  # {where}")  # noqa: T201
        for key, given in table.items():
            _print(key, given.value, given.source, options)
    return 0


def _print(name: str, value: Any, source: str, options: Options) -> None:
    text = "none" if value is None else json.dumps(_shown(name, value, options))
    print(f"{name.replace('-', '_')} = {text}  # {source}")  # noqa: T201


def _init(known: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        with Path(known.file).open("x", encoding="utf-8") as file:
            file.write(template())
    except OSError as error:
        _complain(f"{known.file}: {error.strerror}")
        return 1
    print(f"Written: {known.file}. Check it with: chatbridge config check --config {known.file}")  # noqa: T201
    return 0


def _import(known: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        made = import_original(known.file, Path(known.file).read_bytes())
        if known.output is None:
            print(made.toml, end="")  # noqa: T201
        else:
            with Path(known.output).open("x", encoding="utf-8") as file:
                file.write(made.toml)
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")
        return 1
    except OriginalError as error:
        _complain(str(error))
        return 1
    for key, became, why in made.told:
        _complain(f"{key}: {became}{f' ({why})' if why else ''}")
    return 0


def template() -> str:
    """Return a configuration file in which every option is explained and none is set."""
    options = Options()
    parts = [_HEAD]
    for name, text in sorted(explanations(options).items()):
        if name == "config":
            continue
        example = {"flag": "false", "list": "[]", "text": '""'}[options.kinds[name]]
        default = re.search(r"\[default: ([^\], ]+)\]$", text)
        if default and options.kinds[name] == "text":
            example = '""' if default[1] == "none" else json.dumps(default[1])
        lines = [f"# {line}" for line in textwrap.wrap(text, 96)]
        parts.append("\n".join([*lines, f"#{name.replace('-', '_')} = {example}\n"]))
    return "\n".join([*parts, TABLES])


def parsed(rest: Sequence[str]) -> Options | None:
    """Return the daemon's options that *rest* gives; None after saying what is wrong with them."""
    options = Options()
    try:
        options.parseOptions(list(rest))
    except (usage.UsageError, StartError) as error:
        _complain(str(error))
        return None
    return options


def _shown(name: str, value: Any, options: Options) -> Any:
    if options.kinds.get(name) == "flag":
        return bool(value)
    if name == "headers":
        return {key: "<redacted>" if names_secret(key) or looks_secret(text) else text for key, text in value.items()}
    if name == "proxy" and value is not None:
        return re.sub(r"^([a-zA-Z]+://)?.*@", r"\1<redacted>@", value)
    if name == "upstream-url":
        parts = urlsplit(value)
        # Some vendors take the key in the query.
        return urlunsplit(parts._replace(query="<redacted>" if parts.query else ""))
    if name == "store":
        return public_store(value)
    return value


def explanations(options: Options) -> dict[str, str]:
    """Return what each option means, with its default, by name."""
    found = {str(name): str(text) for name, _, *_, text in (*options.optParameters, *options.optFlags)}
    found |= {
        name: (getattr(options, "opt_" + name.replace("-", "_")).__doc__ or "").strip()
        for name, kind in options.kinds.items()
        if kind == "list"
    }
    for name, printed in options.printed.items():
        found[name] += f" [default: {printed}]"
    return found


def _complain(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
