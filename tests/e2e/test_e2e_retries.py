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
        "--upstream-url", upstream.url, "--api-key-env", KEY_VARIABLE, "--breaker-seconds", "1",
        "--breaker-failures", "3",
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
    run = stage.play(fail_first(stage, 8), model=MODEL)
    assert run.code == 0, run
    assert run.messages == ["at last"]
    assert len(stage.requests) == 9


def test_a_dead_upstream_is_asked_less_than_codex_alone_would(stage):
    run = stage.play(lambda request: DOWN, model=MODEL)
    assert run.code == 1, run
    assert len(stage.wiretap.posts) == 6
    # 7 until the third answer opens the circuit, and a probe for each time that Codex comes back.
    assert len(stage.requests) == 10
    assert "left alone" in run.failure
    assert "The engine is overloaded" in run.failure


def test_another_model_finishes_what_the_first_began(codex_binary, tmp_path, start_daemon, upstream):
    """The account of the first one is used up in the middle of the work."""
    config = tmp_path / "chatbridge.toml"
    config.write_text(f"""\
[upstreams.first]
upstream_url = "{upstream.url}"
api_key_env = "{KEY_VARIABLE}"

[upstreams.second]
upstream_url = "{upstream.url}"
api_key_env = "{KEY_VARIABLE}"

[[routes]]
model = "{MODEL}"
send_model = "big"
fallback = [{{upstream = "second", model = "small"}}]
""")
    wiretap = Wiretap(start_daemon("--config", str(config)).port)

    def script(request):
        if request.body["model"] == "big" and request.rounds:
            return failure(402, "Insufficient balance.")
        if not request.rounds:
            return Reply(reasoning="Let me do it.", calls=(request.shell("echo once >> times.txt"),))
        return Reply(text=f"done by {request.body['model']}")

    upstream.script = script
    codex = Codex(codex_binary, tmp_path, wiretap.base_url)
    run = codex.run("do it", model=MODEL)
    wiretap.close()
    assert run.code == 0, run
    assert run.messages == ["done by small"]
    assert run.errors == []
    assert (codex.work / "times.txt").read_text() == "once\n"
    assert [request.body["model"] for request in upstream.requests] == ["big", "big", "small"]
    assert not upstream.problems
