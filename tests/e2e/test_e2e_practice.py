"""A real Codex talks to the practice upstream, as after a plain ``make run``."""

from __future__ import annotations

import pytest
from codex_cli import Codex

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def practice(start_daemon):
    return start_daemon("--practice")


@pytest.fixture
def codex(practice, codex_binary, tmp_path):
    return Codex(codex_binary, tmp_path, f"http://127.0.0.1:{practice.port}/v1")


@pytest.mark.parametrize("model", ["qwen3-coder", "gpt-5.5", None], ids=["unknown", "gpt-5.5", "default"])
def test_a_tool_call_is_practised(codex, model):
    run = codex.run("please use a tool", model=model)
    assert run.code == 0, run
    assert "hello from chatbridge practice" in run.messages[-1]
    assert run.errors == []


def test_the_greeting_is_shown(codex):
    run = codex.run("hello there")
    assert run.code == 0, run
    assert "built-in practice upstream" in run.messages[-1]
    assert "hello there" in run.messages[-1]
