"""A daemon of its own as a process, a scripted upstream for it, and a client that reads what it sends."""

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
PATIENCE = 30
"""Seconds until what must happen is taken for missing."""

TEST_KEY = "sk-test-0123456789"


def environment(**more):
    """Return a small environment, in which Python finds the plugin of this checkout."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def names(folder):
    """Return the names of what is in *folder*, in order."""
    return sorted(path.name for path in folder.iterdir())


def _default_signals():
    # A shell starts background jobs with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """A process whose output is read as it comes."""

    def __init__(self, command, cwd, env, pass_fds=()):
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_default_signals,
        )
        self.lines = []
        self._new = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self._new.put(line)
        self._new.put(None)

    @property
    def output(self):
        return "".join(self.lines)

    def expect(self, text):
        """Wait for a line of output with *text*, and return it."""
        while (line := self._new.get(timeout=PATIENCE)) is not None:
            if text in line:
                return line
        raise AssertionError(f"{text!r} did not come:\n{self.output}")

    def wait(self):
        """Wait for the end; return the exit status, or minus the signal's number."""
        status = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return status

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=PATIENCE)
        self.process.stdout.close()


class Bridge(Process):
    """``twistd -n chatbridge`` with *options* in the folder *cwd*, its server-info file in ``info.json`` there."""

    def __init__(self, cwd, *options, twistd=("-n", "--pidfile="), start=TWISTD, pass_fds=(), **env):
        self.info_path = Path(cwd, "info.json")
        command = [*start, *twistd, "chatbridge", "--server-info", "info.json", *options]
        super().__init__(command, cwd, environment(**env), pass_fds)

    def info(self):
        """Return the server-info once the daemon is up."""
        self.expect("Try curl: ")
        return json.loads(self.info_path.read_text())


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def post(port, body):
    """Send *body* to /v1/responses; return the response as soon as its head is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/v1/responses", json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def read_event(response):
    """Return the next event's data, or None at the whole end of the stream."""
    data = None
    while line := response.readline():
        if line.startswith(b"data: "):
            data = line[6:]
        if line == b"\n" and data is not None:
            return json.loads(data)
    return None


def read_events(response):
    """Return all events up to the end; a stream that is cut off is an :exc:`http.client.IncompleteRead`."""
    lines = response.read().split(b"\n")
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


class Upstream:
    """A chat/completions server that streams *first*, waits for :attr:`go_on`, and streams *rest*.

    :attr:`asked` is set when a request is there; :attr:`bodies` are those of the requests.
    """

    def __init__(self, first=("one ",), rest=("two",)):
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.bodies = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                upstream.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                upstream.asked.set()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(OSError):  # the bridge may leave
                    for text in first:
                        self._send({"delta": {"content": text}})
                    upstream.go_on.wait(PATIENCE)
                    for text in rest:
                        self._send({"delta": {"content": text}})
                    self._send({"delta": {}, "finish_reason": "stop"})
                    self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def _send(self, choice):
                chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)
