"""packaging/supervisor/chatbridge.conf under a real supervisord."""

import getpass
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from bridge_process import PATIENCE, ROOT, TWISTD, Process, Upstream, environment, post, read_event, read_events

SUPERVISORD = shutil.which("supervisord")
CONF = ROOT / "packaging" / "supervisor" / "chatbridge.conf"
ASK = {"model": "m", "input": "hi", "stream": True}

pytestmark = pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed")

OWN = """
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
[unix_http_server]
file={folder}/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s
[include]
files={folder}/chatbridge.conf
"""


def wait_for(what):
    """Return the first true value of *what*."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true")


class Supervised:
    """A supervisord of its own with the project's configuration, changed only in what belongs to the machine."""

    def __init__(self, folder, upstream):
        self.folder = folder
        self.log = folder / "chatbridge.log"
        twistd = folder / "twistd"
        words = " ".join(f"'{word}'" for word in TWISTD)
        twistd.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        twistd.chmod(0o755)
        conf = CONF.read_text()
        for there, here in [
            ("/usr/bin/twistd3", str(twistd)),
            ("--port 8787", f"--port 0 --server-info {folder}/info.json --upstream-url {upstream.url} --no-api-key"),
            ("user=chatbridge", f"user={getpass.getuser()}"),
            ("/var/log/supervisor/chatbridge.log", str(self.log)),
        ]:
            assert conf.count(there) == 1
            conf = conf.replace(there, here)
        (folder / "chatbridge.conf").write_text(conf)
        (folder / "own.conf").write_text(OWN.format(folder=folder))
        self.process = Process([SUPERVISORD, "-c", str(folder / "own.conf")], folder, environment())

    def info(self, not_pid=None):
        """Return the server-info of a bridge that is not the process *not_pid*."""

        def read():
            try:
                info = json.loads((self.folder / "info.json").read_text())
            except FileNotFoundError:
                return None
            return info if info["pid"] != not_pid else None

        return wait_for(read)

    def control(self, *arguments):
        """Start supervisorctl."""
        supervisorctl = shutil.which("supervisorctl")
        return subprocess.Popen(
            [supervisorctl, "-c", str(self.folder / "own.conf"), *arguments],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def close(self):
        if self.process.process.poll() is None:
            self.process.signal()
            self.process.wait()
        self.process.close()


@pytest.fixture
def upstream():
    with closing(Upstream()) as upstream:
        yield upstream


@pytest.fixture
def supervised(upstream):
    # Not pytest's folder: the name of a socket is at most some hundred characters.
    with tempfile.TemporaryDirectory() as folder, closing(Supervised(Path(folder), upstream)) as supervised:
        yield supervised


def test_a_stop_during_a_stream_lets_it_end_whole(supervised, upstream):
    response = post(supervised.info()["port"], ASK)
    begun = read_event(response)
    with supervised.control("stop", "chatbridge") as stop:
        wait_for(lambda: "Stopping: 1 running answer(s)" in supervised.log.read_text())
        upstream.go_on.set()
        events = [begun, *read_events(response)]
        assert events[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert stop.communicate(timeout=PATIENCE)[0] == "chatbridge: stopped\n"
    assert not (supervised.folder / "info.json").exists()
    assert "Traceback" not in supervised.log.read_text()


def test_after_a_kill_it_serves_again(supervised, upstream):
    killed = supervised.info()["pid"]
    # Before startsecs are over a death counts as a failed start.
    wait_for(lambda: "RUNNING" in supervised.control("status", "chatbridge").communicate(timeout=PATIENCE)[0])
    begun = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    upstream.go_on.set()
    response = post(supervised.info(not_pid=killed)["port"], ASK)
    assert read_events(response)[-1]["type"] == "response.completed"
    assert time.monotonic() - begun < 5


def test_a_changed_program_is_taken_up_without_a_new_supervisord(supervised, upstream):
    before = supervised.info()["pid"]
    program = supervised.folder / "chatbridge.conf"
    program.write_text(program.read_text().replace("--drain-seconds 10", "--drain-seconds 11"))
    assert supervised.control("reread").communicate(timeout=PATIENCE)[0] == "chatbridge: changed\n"
    supervised.control("update").communicate(timeout=PATIENCE)
    upstream.go_on.set()
    response = post(supervised.info(not_pid=before)["port"], ASK)
    assert read_events(response)[-1]["type"] == "response.completed"
    assert b"\x00--drain-seconds\x0011\x00" in Path(f"/proc/{supervised.info()['pid']}/cmdline").read_bytes()
    # What it says is where the program says.
    assert "Listening on http://127.0.0.1:" in supervised.log.read_text()


def test_only_the_bridge_runs_and_not_as_root_by_default():
    lines = [line for line in CONF.read_text().splitlines() if line and not line.startswith(";")]
    assert [line for line in lines if line.startswith("[")] == ["[program:chatbridge]"]
    settings = dict(line.split("=", 1) for line in lines[1:])
    assert settings["user"] not in ("", "root")
    assert settings["stopsignal"] == "TERM"
    words = settings["command"].split()
    assert {"--nodaemon", "--pidfile="} < set(words)
    assert int(settings["stopwaitsecs"]) > int(words[words.index("--drain-seconds") + 1]) + 2
