"""The ``chatbridge`` command: what is done beside the daemon, which ``twistd chatbridge`` runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from chatbridge import __version__
from chatbridge.commands import codex, config, doctor, token, trace


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="chatbridge", description="Tools for the daemon; the daemon itself is `twistd -n chatbridge`."
    )
    parser.add_argument("--version", action="version", version=f"chatbridge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    config.add_to(commands)
    doctor.add_to(commands)
    codex.add_to(commands)
    token.add_to(commands)
    trace.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that *arguments* name (the process's own by default), and exit with its status."""
    line = parser()
    # The daemon's own options, which some commands take, are not argparse's business.
    known, rest = line.parse_known_args(arguments)
    sys.exit(known.run(known, rest, line))
