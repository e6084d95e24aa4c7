"""Writes the manual pages from the programs' own tables of options, so that these stand in one place.

    python3 packaging/manpages.py FOLDER

The date is SOURCE_DATE_EPOCH's, or today's.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chatbridge import __version__
from chatbridge.commands.config import TABLES, explanations
from chatbridge.commands.main import parser
from chatbridge.service.options import Options

DAEMON = """\
.SH SYNOPSIS
.B twistd
.B \\-n \\-\\-pidfile=
.B chatbridge
.RI [ options ]
.SH DESCRIPTION
Serves OpenAI's Responses API
.RB ( "POST /v1/responses" )
on top of any upstream that serves chat/completions.
On Debian the command is
.BR twistd3 .
With
.B \\-n
it stays in the foreground; the empty
.B \\-\\-pidfile=
lets several run in one folder.
.PP
Every option can also stand in the file that
.B \\-\\-config
names, see
.BR chatbridge.toml (5),
and in the environment:
.B \\-\\-upstream\\-url
is
.BR CHATBRIDGE_UPSTREAM_URL .
The command line goes before the environment, that before the file.
"""

DAEMON_END = """\
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
The port closes, running answers finish, and what is left at the limit
.RB ( \\-\\-drain\\-seconds )
ends with
.BR response.failed .
.TP
.B SIGHUP
Reads the configuration file again, if there is one. Running answers keep the old one.
A file with a mistake changes nothing; the log says why.
.SH FILES
.TP
.I /etc/chatbridge/chatbridge.toml
The configuration of the service, where it is installed as a package.
.TP
.I /etc/chatbridge/environment
The environment of the service, with the upstream's key.
.SH EXIT STATUS
1 when the daemon cannot start: a wrong option, a missing key, a port that is taken.
"""

FILE = """\
.SH DESCRIPTION
A TOML file with the options of
.BR "twistd chatbridge" .
Numbers may stand with or without quotes; a flag is
.B true
or
.BR false ;
an option that may be repeated is an array of strings.
No key stands in it:
.B api_key_env
names the variable that holds it,
.B api_key_file
a file, which may begin with
.BR $CREDENTIALS_DIRECTORY .
.PP
.B chatbridge config check \\-\\-config
.I FILE
says what is wrong with a file, with the line.
"""

FILE_END = """\
.SH SEVERAL UPSTREAMS
Tables for more upstreams and for the routes between them, each line with its # taken off:
.PP
.EX
{tables}
.EE
.SH EXAMPLE
.EX
port = 8787
upstream = "deepseek"
api_key_env = "DEEPSEEK_API_KEY"
.EE
"""

COMMAND = """\
.SH SYNOPSIS
.B chatbridge
.I COMMAND
.RI [ arguments ]
.SH DESCRIPTION
What is done beside the daemon, which is
.BR twistd\\-chatbridge (8).
"""


def escaped(text: str) -> str:
    """Return *text* as roff shows it, never as a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def head(name: str, section: int, purpose: str) -> str:
    """Return a page's beginning."""
    when = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    title = f'.TH {escaped(name.upper())} {section} {when} "chatbridge {__version__}"\n'
    return f"{title}.SH NAME\n{escaped(name)} \\- {escaped(purpose)}\n"


def entry(term: str, text: str) -> str:
    """Return one item of a list of definitions."""
    return f".TP\n.B {escaped(term)}\n{escaped(text)}\n"


def daemon() -> str:
    """Return twistd-chatbridge(8)."""
    options = Options()
    takes = {"flag": "", "text": " VALUE", "list": " VALUE"}
    entries = [
        entry(f"--{name}{takes[options.kinds[name]]}", text) for name, text in sorted(explanations(options).items())
    ]
    begin = head("twistd-chatbridge", 8, "Responses API on top of chat/completions, a daemon")
    also = ".SH SEE ALSO\n.BR twistd3 (1),\n.BR chatbridge (1),\n.BR chatbridge.toml (5)\n"
    return f"{begin}{DAEMON}.SH OPTIONS\n{''.join(entries)}{DAEMON_END}{also}"


def file() -> str:
    """Return chatbridge.toml(5)."""
    options = Options()
    takes = {"flag": "true or false", "text": '"..."', "list": "[...]"}
    entries = [
        entry(f"{name.replace('-', '_')} = {takes[options.kinds[name]]}", text)
        for name, text in sorted(explanations(options).items())
        if name != "config"
    ]
    begin = head("chatbridge.toml", 5, "configuration of the chatbridge daemon")
    also = ".SH SEE ALSO\n.BR twistd\\-chatbridge (8),\n.BR chatbridge (1)\n"
    tables = "\n".join(escaped(line) for line in TABLES.strip().splitlines())
    return f"{begin}{FILE}.SH OPTIONS\n{''.join(entries)}{FILE_END.format(tables=tables)}{also}"


def command() -> str:
    """Return chatbridge(1)."""
    entries = [entry(_call(it), it.description or help_) for it, help_ in _actions(parser())]
    also = ".SH SEE ALSO\n.BR twistd\\-chatbridge (8),\n.BR chatbridge.toml (5)\n"
    begin = head("chatbridge", 1, "tools for the chatbridge daemon")
    return f"{begin}{COMMAND}.SH COMMANDS\n{''.join(entries)}{also}"


def _actions(of: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield the commands below *of* that have none below themselves, with their help."""
    for action in of._subparsers._group_actions if of._subparsers else ():  # noqa: SLF001 - argparse tells no other way
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        for name, below in (action.choices or {}).items():
            if below._subparsers:  # noqa: SLF001
                yield from _actions(below)
            else:
                yield below, helps.get(name, "")


def _call(of: argparse.ArgumentParser) -> str:
    usage = re.sub(r"^usage:\s*", "", of.format_usage()).replace("[-h] ", "").replace(" [-h]", "")
    return " ".join(usage.split())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"chatbridge.1": command(), "twistd-chatbridge.8": daemon(), "chatbridge.toml.5": file()}
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
