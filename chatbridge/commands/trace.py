"""``chatbridge trace``: look at what ``--trace DIR`` wrote, and run it again through the translator."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chatbridge.protocol.errors import ApiError
from chatbridge.translate.replay import comparable, encoded, replay
from chatbridge.vendors.checks import ProfileError

Run = Callable[[argparse.Namespace], int]


class UnreadableError(Exception):
    """A file that is no trace; the text says why."""


def add_to(commands: Any) -> None:
    """Add the command to argparse's *commands*."""
    parser = commands.add_parser("trace", help="list, show or replay the turns that the daemon's --trace DIR wrote")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line for each turn in a folder, the newest last")
    listing.add_argument("folder", type=Path)
    _does(listing, _list)
    show = actions.add_parser("show", help="print the turn's four bodies and facts")
    show.add_argument("file", type=Path)
    _does(show, _show)
    again = actions.add_parser(
        "replay", help="translate it again as this version does; exit status 1 where that differs from then"
    )
    again.add_argument("file", type=Path)
    _does(again, _replay)


def _does(parser: argparse.ArgumentParser, action: Run) -> None:
    def run(known: argparse.Namespace, rest: Sequence[str], parser: argparse.ArgumentParser) -> int:
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        try:
            return action(known)
        except UnreadableError as error:
            print(error, file=sys.stderr)  # noqa: T201 - a command's output
            return 2

    parser.set_defaults(run=run)


def _list(known: argparse.Namespace) -> int:
    if not known.folder.is_dir():
        raise UnreadableError(f"{known.folder}: no such folder")
    for path in sorted(known.folder.glob("*.json")):
        try:
            trace = _read(path)
        except UnreadableError as error:
            print(error, file=sys.stderr)  # noqa: T201
            continue
        facts = trace["facts"]
        words = [trace["time"], facts.get("model", "-"), facts.get("upstream", "-"), facts.get("end", "-")]
        print(path.name, *words)  # noqa: T201
    return 0


def _show(known: argparse.Namespace) -> int:
    trace = _read(known.file)
    for title, text in _parts(trace):
        print(f"=== {title}\n{text.rstrip()}\n")  # noqa: T201
    return 0


def _parts(trace: dict[str, Any]) -> Iterator[tuple[str, str]]:
    upstream = trace["upstream"]
    facts = {name: trace[name] for name in ("time", "chatbridge", "facts", "profile", "options", "error")}
    yield "facts", _pretty(facts)
    yield "the client's request", _pretty(trace["client"])
    yield f"the request to {upstream['url']}", _pretty(json.loads(upstream["request"]))
    whole = "" if upstream["whole"] else ", not to its end"
    title = f"the upstream's answer: {upstream['status'] or 'none'}, {len(upstream['reads'])} reads{whole}"
    yield title, _printable("".join(upstream["reads"]))
    yield "what was sent to the client", _printable(trace["sent"])


def _replay(known: argparse.Namespace) -> int:
    trace = _read(known.file)
    if trace["truncated"]:
        raise UnreadableError(f"{known.file}: was too large to be kept whole, and cannot be replayed")
    try:
        now = replay(trace)
    except ApiError as error:
        print(f"the request is refused today: {error.message}")  # noqa: T201
        return 1
    except ProfileError as error:
        raise UnreadableError(f"{known.file}: {error}") from None
    then_request, now_request = (_pretty(json.loads(it)) for it in (trace["upstream"]["request"], now.request))
    different = [
        *_different("the request to the upstream", then_request.splitlines(), now_request.splitlines()),
        *_different("what is sent to the client", comparable(encoded(trace["sent"])), comparable(now.sent)),
    ]
    print("\n".join(different) if different else "the same")  # noqa: T201
    return 1 if different else 0


def _different(title: str, then: list[str], now: list[str]) -> Iterator[str]:
    return difflib.unified_diff(then, now, f"{title}, then", f"{title}, now", lineterm="")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("ascii"))
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise UnreadableError(f"{path}: not a trace") from None
    if not isinstance(value, dict) or value.get("version") != 1:
        raise UnreadableError(f"{path}: not a trace that this version knows")
    return value


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
