"""``chatbridge token``: make a client's token."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from chatbridge.web.access import digest

_PREFIX = "cb-"


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser("token", help="make a token for a client: the token, and the line for the token file")
    parser.add_argument("name", help="the client's name, as it will stand in logs")
    parser.set_defaults(run=_make)


def _make(known: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if rest or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", known.name):
        parser.error("a name has letters, digits, dots, dashes and underscores, 64 at most")
    token = _PREFIX + secrets.token_urlsafe(32)
    # The line goes to the file as it is; the token is for the client, and is kept nowhere.
    print(f"{known.name} sha256:{digest(token).hex()}")  # noqa: T201 - a command's output
    print(f"The client's API key, shown once: {token}", file=sys.stderr)  # noqa: T201
    return 0
