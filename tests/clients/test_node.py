"""openai-node and the Vercel AI SDK: each test of theirs is run by Node's own runner."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import servers

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["openai_node", "openai_node_stored", "ai_sdk"])
def test_all_checks_of_a_node_client(base_url, name):
    env = {**os.environ, "BASE_URL": base_url, "CLIENTS_NODE": str(servers.CLIENTS / "node")}
    done = subprocess.run(
        [servers.NODE, "--test", "--test-reporter=spec", HERE / f"{name}.test.mjs"],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
