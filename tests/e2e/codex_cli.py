"""Runs the real Codex CLI in a throwaway home, and reads what it prints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.169.0"
ROOT = Path(__file__).resolve().parents[2]
INSTALL = f"npm install --prefix .e2e @openai/codex@{VERSION} --no-audit --no-fund"
CLIENT_KEY = "sk-client-key-that-stays-here"
_INSTALLED = ".e2e/node_modules/@openai/codex-linux-*/vendor/*/bin/codex"


def find():
    """Return the path of the Codex binary, or ``None``."""
    named = os.environ.get("CODEX_BIN")
    return named or next(map(str, sorted(ROOT.glob(_INSTALLED))), None)


@dataclass
class Run:
    """What one run of Codex left: the exit code, its JSON events, and what it wrote to standard error."""

    code: int
    events: list
    stderr: str

    def items(self, kind):
        return [e["item"] for e in self.events if e["type"] == "item.completed" and e["item"]["type"] == kind]

    @property
    def messages(self):
        """The texts that the assistant said."""
        return [item["text"] for item in self.items("agent_message")]

    @property
    def errors(self):
        """The texts of all errors, those of its retries too, in order."""
        return [e["message"] for e in self.events if e["type"] == "error"]

    @property
    def failure(self):
        """The text with which the turn failed, or ``None``."""
        return next((e["error"]["message"] for e in self.events if e["type"] == "turn.failed"), None)


class Codex:
    """One user's Codex: a home, a work folder, and the bridge as its model provider."""

    def __init__(self, binary, root, base_url):
        self.binary = binary
        self._base_url = base_url
        self._root = root
        self.work = root / "work"
        for folder in ("home", "codex", "tmp", "work"):
            (root / folder).mkdir()

    def environment(self):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._root / "home"),
            "CODEX_HOME": str(self._root / "codex"),
            "TMPDIR": str(self._root / "tmp"),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "RUST_LOG": "error",
            "OPENAI_API_KEY": CLIENT_KEY,
            "CODEX_API_KEY": CLIENT_KEY,
        }

    def run(
        self,
        prompt=None,
        *,
        model=None,
        via="provider",
        command=("exec",),
        config=(),
        arguments=(),
        timeout=90,
        sandbox=False,
    ):
        """Run ``codex exec`` once; *via* is how the bridge is configured: a key of :data:`PROVIDERS`."""
        settings = [*QUIET, *PROVIDERS[via](self._base_url), *config]
        line = [self.binary, *command, "--skip-git-repo-check", "--json"]
        line += [] if sandbox else ["--dangerously-bypass-approvals-and-sandbox"]
        line += [part for setting in settings for part in ("-c", setting)]
        line += ["-m", model] if model else []
        line += [*arguments, "--", prompt] if prompt is not None else arguments
        return execute(line, cwd=self.work, env=self.environment(), timeout=timeout)

    def add_mcp_server(self):
        """Return the settings for an MCP server ``demo`` that has one tool, ``add``."""
        server = Path(__file__).with_name("mcp_add.py")
        return [f'mcp_servers.demo.command="{sys.executable}"', f'mcp_servers.demo.args=["{server}"]']

    def picture(self, name="red.png"):
        path = self.work / name
        path.write_bytes(_red_square())
        return path

    def repository(self):
        """Make the work folder a git repository with a change that is not committed."""
        git = [shutil.which("git"), "-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]
        for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
            subprocess.run([*git, *arguments], cwd=self.work, env=self.environment(), check=True)
        (self.work / "new.txt").write_text("new\n")


def execute(line, *, cwd, env, timeout):
    """Run a command that prints Codex's JSON events; one that does not end in time is stopped with what it started."""
    process = subprocess.Popen(
        line,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, stderr = process.communicate()
        raise AssertionError(f"no end after {timeout} s:\n{output[-3000:]}\n{stderr[-3000:]}") from None
    return Run(process.returncode, [json.loads(line) for line in output.splitlines() if line.startswith("{")], stderr)


def _custom(name, more=""):
    return lambda url: [
        f'model_providers.bridge={{name="{name}",base_url="{url}",env_key="OPENAI_API_KEY",wire_api="responses"{more}}}',
        'model_provider="bridge"',
    ]


PROVIDERS = {
    "provider": _custom("Chat Bridge"),
    "websocket": _custom("Chat Bridge", ",supports_websockets=true"),
    "searching": _custom("Chat Bridge", ",supports_standalone_web_search=true"),
    "provider named OpenAI": _custom("OpenAI"),
    "openai_base_url": lambda url: [f'openai_base_url="{url}"'],
}
QUIET = ["analytics.enabled=false", "check_for_update_on_startup=false"]


def _red_square():
    """Return a PNG of 8 by 8 red pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\xff\0\0" * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
