import json
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest
from bridge_process import PATIENCE, ROOT, TEST_KEY, Bridge, Upstream, environment, post, read_events

ASK = {"model": "m", "input": "hi", "stream": True}
COMMAND = [sys.executable, "-c", "from chatbridge.commands.main import main; main()"]


def chatbridge(*arguments):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=PATIENCE
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_turns_are_written_and_can_be_replayed(tmp_path, workers):
    folder = tmp_path / "traces"
    more = ["--trace", str(folder), "--workers", workers, "--store", "none"]
    with closing(Upstream()) as upstream:
        upstream.go_on.set()
        bridge = Bridge(tmp_path, "--upstream-url", upstream.url, *more, OPENAI_API_KEY=TEST_KEY)
        try:
            port = bridge.info()["port"]
            for _ in range(3):
                assert read_events(post(port, ASK))[-1]["type"] == "response.completed"
            deadline = time.monotonic() + PATIENCE
            while len(found := list(folder.glob("*.json"))) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.02)  # between two looks at what another process writes
        finally:
            bridge.signal()
            bridge.wait()
            bridge.close()
    assert "Traceback" not in bridge.output
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert TEST_KEY not in text
        assert json.loads(text)["facts"]["end"] == "completed"
        replayed = chatbridge("trace", "replay", str(path))
        assert (replayed.returncode, replayed.stdout, replayed.stderr) == (0, "the same\n", "")
    assert len(chatbridge("trace", "list", str(folder)).stdout.splitlines()) == 3


def test_a_folder_that_others_see(tmp_path):
    folder = tmp_path / "traces"
    folder.mkdir(mode=0o755)
    bridge = Bridge(tmp_path, "--practice", "--trace", str(folder))
    try:
        assert bridge.wait() == 1
        assert "must be a folder of this user alone" in bridge.output
        assert "Traceback" not in bridge.output
    finally:
        bridge.close()
