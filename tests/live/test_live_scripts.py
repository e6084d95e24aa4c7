"""The shell scripts in packaging, with stand-ins for what they start."""

import json
import os
import signal
import sys
from contextlib import closing

import pytest
from bridge_process import ROOT, TEST_KEY, TWISTD, Process, Upstream, environment, names

RUN = ROOT / "packaging" / "run.sh"
RUN_CODEX = ROOT / "packaging" / "run_codex_with_bridge.sh"
REMOTE = "https://example.org/v1"
LOCAL = "http://127.0.0.1:1/v1"


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def execute(command, cwd, **env):
    with closing(Process(command, cwd, environment(**env))) as process:
        return process.wait(), process.output


# --- run.sh


@pytest.fixture
def run(tmp_path):
    """Run run.sh with a twistd that prints its arguments."""
    script(tmp_path / "twistd", '#!/bin/sh\nprintf "%s\\n" "$@"\n')

    def run(**env):
        status, output = execute([str(RUN), str(tmp_path)], tmp_path, **env)
        return status, output.splitlines()

    return run


COMMON = ["-n", "--pidfile=", "chatbridge", "--port"]


@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        ({}, ["8787", "--practice"]),
        ({"OPENAI_API_KEY": "", "CHATBRIDGE_UPSTREAM_URL": "", "CHATBRIDGE_PORT": ""}, ["8787", "--practice"]),
        ({"CHATBRIDGE_PORT": "1234"}, ["1234", "--practice"]),
        ({"OPENAI_API_KEY": TEST_KEY}, ["8787"]),
        ({"OPENAI_API_KEY": TEST_KEY, "CHATBRIDGE_UPSTREAM_URL": REMOTE}, ["8787", "--upstream-url", REMOTE]),
        ({"OPENAI_API_KEY": TEST_KEY, "CHATBRIDGE_UPSTREAM_URL": LOCAL}, ["8787", "--upstream-url", LOCAL]),
        ({"CHATBRIDGE_UPSTREAM_URL": LOCAL}, ["8787", "--upstream-url", LOCAL, "--no-api-key"]),
        ({"CHATBRIDGE_UPSTREAM_URL": "http://[::1]/v1"}, ["8787", "--upstream-url", "http://[::1]/v1", "--no-api-key"]),
        (
            {"CHATBRIDGE_UPSTREAM_URL": "http://localhost"},
            ["8787", "--upstream-url", "http://localhost", "--no-api-key"],
        ),
    ],
)
def test_run(run, env, arguments):
    assert run(**env) == (0, [*COMMON, *arguments])


def test_run_with_a_remote_upstream_and_no_key(run):
    status, (line,) = run(CHATBRIDGE_UPSTREAM_URL=REMOTE)
    assert status == 1
    assert "OPENAI_API_KEY, the key for it, is not" in line


# --- run_codex_with_bridge.sh

# Finds the bridge in its arguments as Codex does, asks it, shows what it was started with, and ends with status 7.
CODEX = r"""
import http.client, json, os, re, sys
provider = next(a for a in sys.argv if a.startswith("model_providers.chatbridge="))
port = int(re.search(r'base_url="http://127\.0\.0\.1:(\d+)/v1"', provider)[1])
info = json.load(open(os.environ["SERVER_INFO"])) if "SERVER_INFO" in os.environ else {"port": port}
connection = http.client.HTTPConnection("127.0.0.1", port)
connection.request("GET", "/healthz")
healthz = json.load(connection.getresponse())["status"]
print(json.dumps({"argv": sys.argv[1:], "healthz": healthz, "info": info["port"] == port}), flush=True)
if "wait" in sys.argv:
    sys.stdin.close()
    os.read(os.open(sys.argv[-1], os.O_RDONLY), 1)
sys.exit(7)
"""


@pytest.fixture
def run_codex(tmp_path):
    """Start run_codex_with_bridge.sh in an empty folder, with a codex and a twistd of this interpreter."""
    (tmp_path / "codex.py").write_text(CODEX)
    folders = [tmp_path / "work", tmp_path / "temporary"]
    for folder in folders:
        folder.mkdir()
    codex = script(tmp_path / "codex", f'#!/bin/sh\nexec {sys.executable} {tmp_path}/codex.py "$@"\n')
    words = " ".join(f"'{word}'" for word in TWISTD)
    twistd = script(tmp_path / "twistd", f'#!/bin/sh\nexec {words} "$@"\n')
    started = []

    def run_codex(*arguments, **env):
        env = {"CODEX_BIN": codex, "TWISTD": twistd, "TMPDIR": str(folders[1]), **env}
        command = [str(RUN_CODEX), *arguments]
        started.append(Process(command, folders[0], environment(**env)))
        return started[-1]

    yield run_codex
    for process in started:
        process.close()
    assert [names(folder) for folder in folders] == [[], []]


def seen(process):
    """Return what the codex of the test printed."""
    return json.loads(process.expect('{"argv"'))


def test_codex_runs_through_a_bridge_of_its_own(run_codex):
    process = run_codex("do 'it', $HOME", "-m", "some model", UPSTREAM_URL=LOCAL)
    got = seen(process)
    assert got["healthz"] == "ok"
    assert got["argv"][0] == "exec"
    assert "model_provider=chatbridge" in got["argv"]
    assert got["argv"][-4:] == ["-m", "some model", "--", "do 'it', $HOME"]
    assert process.wait() == 7
    assert "Listening" not in process.output


def test_another_key_variable_and_server_info(run_codex, tmp_path):
    path = tmp_path / "info" / "x.json"
    process = run_codex("hi", API_KEY_ENV="MY_KEY", MY_KEY=TEST_KEY, SERVER_INFO=str(path), UPSTREAM_URL=REMOTE)
    assert seen(process)["info"] is True
    assert process.wait() == 7
    assert not path.exists()


def test_a_server_info_file_left_by_a_bridge_that_was_killed(run_codex, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"port": 1, "pid": 1}\n')
    process = run_codex("hi", SERVER_INFO=str(path), UPSTREAM_URL=LOCAL)
    assert seen(process)["info"] is True
    assert process.wait() == 7


def test_without_a_key_the_log_of_the_bridge_is_shown(run_codex):
    process = run_codex("hi")
    assert process.wait() == 1
    assert "missing or empty env var: OPENAI_API_KEY" in process.output
    assert "the bridge did not start" in process.output


def test_a_key_as_the_name_of_the_variable_is_not_repeated(run_codex):
    process = run_codex("hi", API_KEY_ENV=TEST_KEY)
    assert process.wait() == 1
    assert TEST_KEY not in process.output


@pytest.mark.parametrize("name", ["CODEX_BIN", "TWISTD"])
def test_a_program_that_is_not_there(run_codex, name):
    process = run_codex("hi", **{name: "/does/not/exist"})
    assert process.wait() == 1
    assert f"cannot run /does/not/exist ({name})" in process.output


def test_no_prompt(run_codex):
    process = run_codex()
    assert process.wait() == 2
    assert "run_codex_with_bridge.sh PROMPT" in process.output


def test_a_signal_ends_codex_and_the_bridge(run_codex, tmp_path):
    path = tmp_path / "x.json"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with closing(Upstream()) as upstream:
        process = run_codex(str(pipe), "wait", SERVER_INFO=str(path), UPSTREAM_URL=upstream.url)
        seen(process)
        bridge = json.loads(path.read_text())["pid"]
        process.signal()
        assert process.wait() == 128 + signal.SIGTERM
    assert not path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(bridge, 0)
