"""Codex over a WebSocket: what goes over it, and what Codex does when the upstream fails."""

from __future__ import annotations

import time

import pytest
from codex_cli import Codex
from daemon import KEY_VARIABLE
from scripted import Reply, failure, text_of

pytestmark = pytest.mark.e2e

VIA = pytest.mark.parametrize("via", ["websocket", "openai_base_url"])
MODELS = pytest.mark.parametrize("model", ["gpt-5.5", None], ids=["gpt-5.5", "default"])


def look(request):
    """Two commands, then text."""
    if request.rounds < 2:
        return Reply(calls=(request.shell(f"echo looked-{request.rounds}"),))
    return Reply(text="seen")


@MODELS
@VIA
def test_only_what_is_new_is_sent(stage, model, via):
    run = stage.play(look, prompt="look twice", model=model, via=via)
    assert run.messages == ["seen"]
    assert run.errors == []
    handshakes = [exchange for exchange in stage.wiretap.exchanges if exchange.upgrade]
    assert [exchange.status for exchange in handshakes] == [101]
    prewarm, *turns = stage.wiretap.messages
    assert prewarm["generate"] is False
    assert len(turns) == len(stage.requests) == 3
    ids = [turn["previous_response_id"] for turn in turns]
    assert len(set(ids)) == 3
    assert [len(turn["input"]) for turn in turns[1:]] == [1, 1]
    last = stage.requests[-1]
    assert last.says("look twice", "user")
    assert ["looked-0" in last.results[0], "looked-1" in last.results[1]] == [True, True]
    assert last.tools  # the default model's stand in the first message only


@VIA
def test_the_answer_comes_while_it_is_written(stage, via):
    run = stage.play(lambda request: Reply(text="a long answer " * 500), via=via, model="gpt-5.5")
    assert run.messages == ["a long answer " * 500]


def test_a_failure_that_may_pass(stage):
    """Over HTTP again when the WebSocket did not help; each has its own tries."""
    run = stage.play(lambda request: failure(503, "Overloaded today."), model="gpt-5.5", via="websocket", timeout=150)
    assert run.code == 1
    assert "Overloaded today" in run.failure
    posts = [exchange for exchange in stage.wiretap.exchanges if exchange.method == "POST"]
    assert len(stage.wiretap.asked) - len(posts) == 6
    assert len(posts) == 6


def test_a_failure_that_passes_is_not_seen(stage):
    answers = iter([failure(500, "Once."), Reply(text="fine")])
    run = stage.play(lambda request: next(answers), model="gpt-5.5", via="websocket")
    assert run.messages == ["fine"]
    assert run.errors == []
    assert not stage.wiretap.posts


def test_a_broken_answer(stage):
    answers = iter([Reply(text="half of it", cut="text"), Reply(text="all of it")])
    run = stage.play(lambda request: next(answers), model="gpt-5.5", via="websocket")
    assert run.messages[-1] == "all of it"
    assert len(stage.requests) == 2


def test_a_limit_that_names_its_delay(stage):
    answers = iter([failure(429, "Slow down.", headers={"Retry-After": "1"}), Reply(text="fine")])
    begin = time.monotonic()
    run = stage.play(lambda request: next(answers), model="gpt-5.5", via="websocket")
    assert run.messages == ["fine"]
    assert time.monotonic() - begin > 1


@pytest.mark.parametrize(
    ("status", "code"), [(400, "unsupported_value"), (401, "invalid_api_key"), (404, "model_not_found")]
)
def test_a_failure_that_stays(stage, status, code):
    run = stage.play(lambda request: failure(status, "No, never.", code=code), model="gpt-5.5", via="websocket")
    assert run.code == 1
    assert "No, never" in run.failure
    assert len(stage.requests) == len(stage.wiretap.asked) == 1


def test_a_context_that_is_too_long(stage):
    reply = failure(400, "too long", code="context_length_exceeded")
    run = stage.play(lambda request: reply, model="gpt-5.5", via="websocket")
    assert "ran out of room" in run.failure
    assert len(stage.wiretap.asked) == 1


def test_a_session_goes_on_in_another_process(stage):
    stage.play(look, prompt="question one", model="gpt-5.5", via="websocket")
    script = lambda request: Reply(text="answer two")  # noqa: E731
    run = stage.play(
        script, prompt="question two", model="gpt-5.5", via="websocket", command=("exec", "resume", "--last")
    )
    assert run.messages == ["answer two"]
    said = [text_of(message) for message in stage.requests[-1].messages if message["role"] == "user"]
    assert [text for text in said if text.startswith("question")] == ["question one", "question two"]
    assert not stage.wiretap.posts


def test_too_many_websockets(start_daemon, _upstream, codex_binary, tmp_path):
    """Where no more may be open, Codex posts at once and says nothing."""
    _upstream.reset()
    _upstream.script = lambda request: Reply(text="by post")
    import socket

    daemon = start_daemon("--upstream-url", _upstream.url, "--api-key-env", KEY_VARIABLE, "--client-websockets", "1")
    head = (
        "GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", daemon.port)) as held:
        held.sendall(head.encode())
        assert held.recv(1000).startswith(b"HTTP/1.1 101")
        run = Codex(codex_binary, tmp_path, f"http://127.0.0.1:{daemon.port}/v1").run(
            "hi", model="gpt-5.5", via="websocket"
        )
    assert run.messages == ["by post"]
    assert run.errors == []
