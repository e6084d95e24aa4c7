"""packaging/run_codex_with_bridge.sh with the real Codex."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from codex_cli import QUIET, ROOT, Codex, execute
from daemon import KEY, KEY_VARIABLE
from scripted import Reply, ScriptedUpstream, failure

pytestmark = pytest.mark.e2e

SCRIPT = ROOT / "packaging/run_codex_with_bridge.sh"
ARGUMENTS = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
ARGUMENTS += [part for setting in QUIET for part in ("-c", setting)]


@pytest.fixture
def upstream():
    upstream = ScriptedUpstream(KEY)
    yield upstream
    upstream.close()
    assert upstream.problems == []


@pytest.fixture
def codex(codex_binary, tmp_path):
    return Codex(codex_binary, tmp_path, base_url=None)


def environment(codex, url):
    env = codex.environment() | {"CODEX_BIN": codex.binary, "UPSTREAM_URL": url}
    twistd = Path(sys.executable).with_name("twistd")
    return env | {"TWISTD": str(twistd)} if twistd.exists() else env


def run_script(codex, upstream, *arguments, **variables):
    line = [SCRIPT, "do it", *ARGUMENTS, *arguments]
    return execute(line, cwd=codex.work, env=environment(codex, upstream.url) | variables, timeout=90)


def test_it_runs_codex_and_stops_the_bridge(codex, upstream, tmp_path):
    info = tmp_path / "folder/server-info.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    written = []

    def script(request):
        written.append(json.loads(info.read_text()))
        if request.rounds == 0:
            return Reply(calls=(request.shell("echo made > made.txt"),))
        return Reply(text="done by the script")

    upstream.script = script
    variables = {"API_KEY_ENV": KEY_VARIABLE, KEY_VARIABLE: KEY, "SERVER_INFO": str(info), "BRIDGE_PORT": str(port)}
    run = run_script(codex, upstream, "-m", "gpt-5.5", **variables)
    assert run.code == 0, run
    assert run.messages == ["done by the script"]
    assert (codex.work / "made.txt").read_text() == "made\n"
    assert [request.body["model"] for request in upstream.requests] == ["gpt-5.5"] * 2
    assert written[0]["port"] == port
    assert not info.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(ProcessLookupError):
        os.kill(written[0]["pid"], 0)


def test_its_status_is_that_of_codex(codex, upstream):
    upstream.script = lambda request: failure(401, "Incorrect API key provided.", code="invalid_api_key")
    run = run_script(codex, upstream, API_KEY_ENV=KEY_VARIABLE, **{KEY_VARIABLE: KEY})
    assert run.code == 1, run
    assert "Incorrect API key provided" in run.failure
    assert len(upstream.requests) == 1


def test_an_upstream_on_this_machine_needs_no_key(codex):
    upstream = ScriptedUpstream(key=None)
    run = run_script(codex, upstream, API_KEY_ENV="E2E_NO_SUCH_KEY")
    upstream.close()
    assert run.messages == ["plain answer"], run
    assert upstream.problems == []


def test_a_bridge_that_cannot_start(codex, tmp_path):
    env = environment(codex, "https://upstream.invalid/v1") | {"API_KEY_ENV": "E2E_NO_SUCH_KEY"}
    ended = subprocess.run([SCRIPT, "do it"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "missing or empty env var: E2E_NO_SUCH_KEY" in ended.stderr
