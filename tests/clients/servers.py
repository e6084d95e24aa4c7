"""The processes behind the clients: the daemon, and upstreams of other people."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENTS = Path(os.environ.get("CHATBRIDGE_CLIENTS", ROOT / ".clients"))
"""Where `.ci/clients` has installed the clients: a virtual environment, and a folder of npm's."""
NODE = CLIENTS / "node/node_modules/node/bin/node"
DAEMON_PYTHON = os.environ.get("CHATBRIDGE_PYTHON", str(ROOT / ".venv/bin/python"))
PATIENCE = 60.0
"""Seconds until a server that does not answer is taken for broken."""
_TWISTD = "from twisted.scripts.twistd import run; run()"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that serves HTTP on loopback; ready when *path* answers."""

    def __init__(self, command, port, path, log, **env):
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self._wait(f"http://127.0.0.1:{port}{path}")
        except BaseException:
            self.stop()
            raise

    def _wait(self, url):
        end = time.monotonic() + PATIENCE
        while not _answers(url):
            assert self._process.poll() is None, f"it ended at once:\n{self.log()}"
            assert time.monotonic() < end, f"it does not answer:\n{self.log()}"
            time.sleep(0.1)

    def log(self):
        return self._log.read_text(errors="replace")[-6000:]

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _answers(url):
    """Whether the server is ready. One that loads its model says 503 meanwhile."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False


def daemon(folder, upstream_url, *options):
    """Start the daemon in front of *upstream_url*."""
    port = free_port()
    command = [DAEMON_PYTHON, "-c", _TWISTD, "-n", "--pidfile=", "chatbridge", "--port", str(port)]
    # The upstream fails when it is asked to: one test's failures must not stop the answers to the next.
    command += ["--upstream-url", upstream_url, "--no-api-key", "--breaker-failures", "0", *options]
    return Server(command, port, "/healthz", folder / "daemon.log", PYTHONPATH=str(ROOT))


def aimock(folder):
    """Start npm's aimock with the answers beside this file."""
    port = free_port()
    program = CLIENTS / "node/node_modules/.bin/llmock"
    answers = Path(__file__).with_name("answers.json")
    command = [
        NODE,
        program,
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-f",
        answers,
        "--chunk-size",
        "6",
        "--log-level",
        "warn",
    ]
    return Server(command, port, "/v1/models", folder / "aimock.log")


def events(base_url, body):
    """Post *body* for a stream; return the events as (name of the `event:` line, decoded data)."""
    request = urllib.request.Request(
        f"{base_url}/responses",
        json.dumps({"model": "m", "stream": True, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    found = []
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        for block in response.read().decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and line)
            if lines:
                found.append((lines["event"], json.loads(lines["data"])))
    return found


if __name__ == "__main__":
    sys.exit("servers.py is for the tests beside it")
