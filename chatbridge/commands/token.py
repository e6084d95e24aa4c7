"""``chatbridge token``: make a client's token, and look after the file that the daemon knows them from."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatbridge.web.access import TokenError, digest, read_tokens

_PREFIX = "cb-"


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser("token", help="make a token for a client; list or revoke those in a token file")
    parser.add_argument("name", nargs="?", help="the client's name, as it will stand in logs")
    parser.add_argument("--file", type=Path, help="the token file to add the line to, in place of printing it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the names in the file")
    what.add_argument("--revoke", action="store_true", help="take the name out of the file; SIGHUP makes that hold")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
    if rest or (known.name is None) != known.list:
        parser.error("give a name, or --list")
    if (known.list or known.revoke) and known.file is None:
        parser.error("--list and --revoke need --file")
    if known.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", known.name):
        parser.error("a name has letters, digits, dots, dashes and underscores, 64 at most")
    try:
        if known.list:
            print("\n".join(read_tokens(str(known.file))))  # noqa: T201 - a command's output
        elif known.revoke:
            _revoke(known.file, known.name)
        else:
            _make(known.file, known.name)
    except TokenError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"{known.file}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _make(file: Path | None, name: str) -> None:
    token = _PREFIX + secrets.token_urlsafe(32)
    # The line goes to the file as it is; the token is for the client, and is kept nowhere.
    line = f"{name} sha256:{digest(token).hex()}"
    if file is None:
        print(line)  # noqa: T201 - a command's output
    else:
        text = file.read_text("utf-8") if file.exists() else ""
        if text.strip() and name in read_tokens(str(file)):
            raise TokenError(f"{file}: the name {name} stands there already; --revoke it first")
        _write(file, text + ("" if not text or text.endswith("\n") else "\n") + line + "\n")
    print(f"The client's API key, shown once: {token}", file=sys.stderr)  # noqa: T201


def _revoke(file: Path, name: str) -> None:
    known = read_tokens(str(file))
    if name not in known:
        raise TokenError(f"{file}: there is no {name}")
    if len(known) == 1:
        # The daemon would refuse the empty file, and go on with what it knows.
        raise TokenError(f"{file}: {name} is the only one; add another first, or remove the file")
    lines = file.read_text("utf-8").splitlines(keepends=True)
    _write(file, "".join(line for line in lines if line.partition("#")[0].split()[:1] != [name]))


def _write(file: Path, text: str) -> None:
    """Put *text* in the place of the file, all at once and for whom the old one was for; a new one has mode 0600."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            if file.exists():
                status = file.stat()
                os.fchmod(descriptor, status.st_mode & 0o7777)
                os.fchown(descriptor, status.st_uid, status.st_gid)
            out.write(text)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink()
        raise
