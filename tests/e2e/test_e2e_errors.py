"""What Codex does and shows when the upstream fails: few requests, and the upstream's own words."""

from __future__ import annotations

import socket

import pytest
from codex_cli import Codex
from daemon import KEY, KEY_VARIABLE
from scripted import Reply, failure, text_of
from wiretap import Wiretap

pytestmark = pytest.mark.e2e

TRIES = 6
"""What Codex makes of a failure that may pass: the request and five more."""
MODEL = "gpt-5.5"


def always(reply):
    return lambda request: reply


def fails(stage, reply, *, requests, **options):
    """Run Codex on an upstream that always gives *reply*; return the text with which Codex ends."""
    run = stage.play(always(reply), model=MODEL, **options)
    assert run.code == 1, run
    assert len(stage.wiretap.asked) == requests, run
    assert len(stage.requests) == requests
    assert run.errors[-1] == run.failure
    return run


@pytest.mark.parametrize("via", ["provider", "openai_base_url"])
def test_a_wrong_key(stage, via):
    words = "Incorrect API key provided."
    run = fails(stage, failure(401, words, code="invalid_api_key"), requests=1, via=via)
    assert run.errors == [run.failure]
    assert run.failure.count(words[:-1]) == 1
    assert "401" in run.failure
    assert KEY_VARIABLE in run.failure


def test_a_quoted_key_is_not_shown(stage):
    run = fails(stage, failure(401, f"Incorrect API key provided: {KEY}.", code="invalid_api_key"), requests=1)
    assert "Incorrect API key provided" in run.failure
    assert KEY not in str(run)


def test_forbidden(stage):
    run = fails(stage, failure(403, "Your organization may not use this model."), requests=1)
    assert run.failure.count("Your organization may not use this model") == 1
    assert "403" in run.failure


@pytest.mark.parametrize("code", [None, "model_not_found"])
def test_not_found(stage, code):
    run = fails(stage, failure(404, "There is no such model here.", code=code), requests=1)
    assert run.errors == [run.failure]
    assert run.failure.count("There is no such model here") == 1
    assert "404" in run.failure
    assert "--upstream-url" in run.failure


def test_a_refused_parameter(stage):
    run = fails(stage, failure(400, "Unsupported value: 'temperature'.", code="unsupported_value"), requests=1)
    assert run.failure.count("Unsupported value: 'temperature'") == 1


def test_no_credit(stage):
    run = fails(stage, failure(402, "Your balance is empty."), requests=1)
    assert run.failure.count("Your balance is empty") == 1


def test_a_used_up_quota(stage):
    reply = failure(429, "You exceeded your current quota.", code="insufficient_quota", kind="insufficient_quota")
    run = fails(stage, reply, requests=1)
    assert run.failure.count("You exceeded your current quota") == 1


def test_a_full_context(stage):
    words = "This model's maximum context length is 8192 tokens."
    run = fails(stage, failure(400, words, code="context_length_exceeded"), requests=1)
    assert "ran out of room in the model's context window" in run.failure


def test_a_rate_limit_with_retry_after(stage):
    reply = failure(
        429, "Slow down, please.", code="rate_limit_exceeded", kind="requests", headers={"Retry-After": "1"}
    )
    run = fails(stage, reply, requests=TRIES)
    assert "Slow down, please" in run.failure
    assert "429" in run.failure


def test_a_rate_limit_without_retry_after(stage):
    """Codex would give up at the first one; the bridge names a delay."""
    reply = failure(429, "Slow down, please.", code="rate_limit_exceeded", kind="requests")
    run = fails(stage, reply, requests=2, config=["model_providers.bridge.stream_max_retries=1"])
    assert "Slow down, please" in run.failure


def test_a_server_error(stage):
    run = fails(stage, failure(500, "The server had an error.", kind="server_error"), requests=TRIES)
    assert "The server had an error" in run.failure
    assert "500" in run.failure


def test_a_web_page_in_place_of_an_answer(stage):
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    run = fails(stage, Reply(status=502, content=page, headers={"Content-Type": "text/html"}), requests=TRIES)
    assert "502" in run.failure
    assert "<" not in run.failure


def test_a_break_in_the_text(stage):
    run = fails(stage, Reply(text="half of a sentence that goes on", cut="text"), requests=TRIES)
    assert run.messages == []
    assert "127.0.0.1" in run.failure


def test_a_break_in_a_tool_call(stage):
    def script(request):
        return Reply(calls=(request.shell("echo ran > ran.txt; echo and more"),), cut="arguments")

    run = stage.play(script, model=MODEL)
    assert run.code == 1, run
    assert len(stage.requests) == len(stage.wiretap.posts) == TRIES
    assert not (stage.codex.work / "ran.txt").exists()
    assert run.items("command_execution") == []


def test_one_failure_is_got_over(stage):
    """What was done before the break is not done twice."""

    def script(request):
        if request.rounds == 0:
            return Reply(calls=(request.shell("echo once >> times.txt"),))
        if len(stage.requests) == 2:
            return Reply(text="half of a sentence that goes on", cut="text")
        if len(stage.requests) == 3:
            return failure(500, "The server had an error.", kind="server_error")
        return Reply(text=f"at last: {text_of(request.messages[0])[:5]}")

    run = stage.play(script, model=MODEL)
    assert run.code == 0, run
    assert run.messages[-1].startswith("at last")
    assert len(stage.requests) == 4
    assert (stage.codex.work / "times.txt").read_text() == "once\n"


def test_a_content_filter_in_the_middle_keeps_what_was_said(stage):
    run = fails(stage, Reply(text="This much may be said.", finish="content_filter"), requests=1)
    assert run.messages == ["This much may be said."]
    assert run.failure.count("content filter stopped the answer") == 1


def test_nobody_listens(start_daemon, codex_binary, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    daemon = start_daemon(
        "--upstream-url", f"http://127.0.0.1:{port}/v1/chat/completions", "--no-api-key", "--breaker-seconds", "1"
    )
    wiretap = Wiretap(daemon.port)
    run = Codex(codex_binary, tmp_path, wiretap.base_url).run("do it", model=MODEL)
    wiretap.close()
    assert run.code == 1, run
    assert len(wiretap.posts) == TRIES
    assert f"127.0.0.1:{port}" in run.failure
    assert "refused" in run.failure
