"""What of an upstream's failures reaches Codex, and how often the upstream is asked meanwhile."""

from __future__ import annotations

import pytest
from codex_cli import Codex
from conftest import Stage
from daemon import KEY, KEY_VARIABLE
from scripted import Reply, ScriptedUpstream, failure
from wiretap import Wiretap

pytestmark = pytest.mark.e2e

MODEL = "gpt-5.5"
DOWN = failure(503, "The engine is overloaded.", kind="server_error")


@pytest.fixture
def upstream():
    upstream = ScriptedUpstream(KEY)
    yield upstream
    upstream.close()


@pytest.fixture
def stage(codex_binary, tmp_path, start_daemon, upstream):
    """A daemon whose circuit is its own."""
    daemon = start_daemon(
        "--upstream-url", upstream.url, "--api-key-env", KEY_VARIABLE, "--breaker-seconds", "1"
    )  # fmt: skip
    wiretap = Wiretap(daemon.port)
    yield Stage(Codex(codex_binary, tmp_path, wiretap.base_url), wiretap, upstream)
    wiretap.close()


def fail_first(stage, times):
    return lambda request: DOWN if len(stage.requests) <= times else Reply(text="at last")


def test_codex_does_not_see_a_glitch(stage):
    run = stage.play(fail_first(stage, 2), model=MODEL)
    assert run.code == 0, run
    assert run.messages == ["at last"]
    assert run.errors == []
    assert len(stage.wiretap.posts) == 1
    assert len(stage.requests) == 3


def test_an_outage_of_seconds_is_outlasted(stage):
    """Codex alone gives up after six seconds; with an open circuit it waits as it is told."""
    run = stage.play(fail_first(stage, 7), model=MODEL)
    assert run.code == 0, run
    assert run.messages == ["at last"]
    assert len(stage.requests) == 8


def test_a_dead_upstream_is_asked_less_than_codex_alone_would(stage):
    run = stage.play(lambda request: DOWN, model=MODEL)
    assert run.code == 1, run
    assert len(stage.wiretap.posts) == 6
    # 5 until the circuit opens, and a probe for each time that Codex comes back.
    assert 5 <= len(stage.requests) <= 9
    assert "left alone" in run.failure
    assert "The engine is overloaded" in run.failure
