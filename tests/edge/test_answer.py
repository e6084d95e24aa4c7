"""One running answer over an in-memory connection, a fake clock and a fake upstream."""

import json

import pytest
from memory_bridge import CODEX, KEY, STREAM, Bridge, FakeResponse, dechunk, events_of, last_event
from memory_http import failures, logged
from support import TERMINAL, call_delta, check_stream, delta, parse_events, sse
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from chatbridge.vendors.profile import profile_named
from chatbridge.web.answer import SETTLE_SECONDS
from chatbridge.web.sink import EventStream


def test_a_whole_answer_streams_and_ends():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([delta(content="Hel"), delta(content="lo"), delta(finish_reason="stop")]))
    head, body, whole = dechunk(connection)
    assert "content-type: text/event-stream" in head
    assert "cache-control: no-cache" in head
    assert whole
    events = parse_events(body)
    check_stream(events)
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert len(bridge.answers) == 0
    response.end()
    assert response.transport.log == []


def test_each_upstream_read_is_one_write():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    writes = []
    connection.channel.transport.write = writes.append
    connection.channel.transport.writeSequence = lambda pieces: writes.append(b"".join(pieces))
    response.send(sse([delta(content=f"w{n} ") for n in range(50)], done=False))
    assert len(writes) == 1
    assert writes[0].count(b"event: response.output_text.delta") == 50


def test_created_goes_out_with_the_upstreams_head():
    bridge = Bridge()
    connection = bridge.ask()
    assert connection.raw == b""
    bridge.head()
    assert [event["type"] for event in events_of(connection)] == ["response.created", "response.in_progress"]


def test_the_head_goes_out_after_two_seconds_at_the_latest():
    bridge = Bridge()
    connection = bridge.ask()
    bridge.clock.advance(2.1)
    assert events_of(connection)[0]["type"] == "response.created"


def error_answer(bridge, status, error, headers=None):
    response = FakeResponse(status, headers)
    bridge.head(response)
    response.send(json.dumps({"error": error}).encode())
    response.end()


def test_an_upstream_error_keeps_its_status_before_the_head_is_out():
    bridge = Bridge()
    connection = bridge.ask()
    error_answer(bridge, 429, {"message": "slow down"}, {b"Retry-After": [b"7"]})
    answer = connection.answer()
    assert answer.status == 429
    assert answer.header("retry-after") == "7"
    assert answer.json["error"]["code"] == "rate_limit_exceeded"
    assert "slow down" in answer.json["error"]["message"]


def test_an_upstream_error_after_the_head_is_a_failed_response():
    bridge = Bridge()
    connection = bridge.ask()
    bridge.clock.advance(2.1)
    error_answer(bridge, 500, {"message": "boom"})
    events = events_of(connection)
    check_stream(events)
    assert events[-1]["response"]["error"] == {
        "code": "server_error",
        "message": "upstream answered 500 Internal Server Error: boom",
    }
    assert dechunk(connection)[2]


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, {"message": "bad key"}, "invalid_prompt"),
        (404, {"message": "no such model"}, "invalid_prompt"),
        (402, {"message": "pay"}, "invalid_prompt"),
        (429, {"message": "slow down"}, "rate_limit_exceeded"),
        (429, {"message": "quota", "code": "insufficient_quota"}, "invalid_prompt"),
        (400, {"message": "maximum context length is 9 tokens"}, "context_length_exceeded"),
        (500, {"message": "boom"}, "server_error"),
        (503, {"message": "busy", "code": "server_is_overloaded"}, "server_error"),
    ],
)
def test_codex_is_told_inside_the_stream(status, error, code):
    bridge = Bridge()
    connection = bridge.ask(STREAM, CODEX)
    error_answer(bridge, status, error)
    head, body, whole = dechunk(connection)
    assert head.startswith("http/1.1 200")
    events = parse_events(body)
    check_stream(events)
    told = events[-1]["response"]["error"]
    assert told["code"] == code
    assert error["message"] in told["message"]
    assert f"{status}" in told["message"]
    if code == "rate_limit_exceeded":
        assert "try again in 5s" in told["message"]
    assert whole


def test_auth_errors_say_what_to_check():
    bridge = Bridge(api_key_env="MY_KEY")
    connection = bridge.ask(STREAM, CODEX)
    error_answer(bridge, 401, {"message": "bad key"})
    message = last_event(connection)["response"]["error"]["message"]
    assert "MY_KEY" in message
    assert "OpenAI-Organization" in message


def test_the_key_never_comes_back():
    bridge = Bridge()
    connection = bridge.ask()
    with logged() as events:
        error_answer(bridge, 401, {"message": f"Incorrect key {KEY}, or sk-abcd********wxyz"})
    assert KEY not in connection.raw.decode()
    assert "wxyz" not in connection.raw.decode()
    assert not [event for event in events if KEY in event["text"]]


def test_the_key_never_comes_back_from_inside_a_stream():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([{"error": {"message": f"key {KEY} is revoked"}}]))
    assert KEY not in connection.raw.decode()
    assert last_event(connection)["type"] == "response.failed"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ConnectionRefusedError(), "upstream.test:9 refused the connection"),
        (DNSLookupError("x"), "upstream.test:9 was not found in the DNS"),
    ],
)
def test_connection_failures_name_the_host_and_the_reason(reason, words):
    bridge = Bridge()
    connection = bridge.ask()
    bridge.client.pending[-1].errback(Failure(reason))
    answer = connection.answer()
    assert answer.status == 502
    assert words in answer.json["error"]["message"]


def test_a_broken_body_is_failed_never_completed():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([delta(content="half")], done=False))
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    events = events_of(connection)
    check_stream(events)
    assert events[-1]["type"] == "response.failed"


def test_a_half_call_is_never_delivered():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([call_delta('{"cmd": "rm', id="c", name="sh")], done=False))
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    events = events_of(connection)
    assert events[-1]["type"] == "response.failed"
    assert not [event for event in events if event["type"] == "response.output_item.done"]


def test_a_broken_connection_after_the_finish_reason_is_completed():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([delta(content="whole"), delta(finish_reason="stop")], done=False))
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    assert last_event(connection)["type"] == "response.completed"


def test_usage_and_done_are_not_waited_for_for_ever():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    response.send(sse([delta(content="whole"), delta(finish_reason="stop")], done=False))
    assert last_event(connection)["type"] not in TERMINAL
    bridge.clock.advance(SETTLE_SECONDS + 0.1)
    assert last_event(connection)["type"] == "response.completed"


def test_after_done_the_connection_is_kept_when_the_body_ends_and_closed_when_not():
    bridge = Bridge()
    bridge.ask()
    response = bridge.head()
    response.send(sse([delta(content="x"), delta(finish_reason="stop")]))
    assert response.transport.log == []
    bridge.clock.advance(SETTLE_SECONDS + 0.1)
    assert response.transport.log == ["stop"]


def test_client_gone_before_the_upstreams_head():
    bridge = Bridge()
    connection = bridge.ask()
    connection.lose()
    assert bridge.client.cancelled == 1
    assert len(bridge.answers) == 0
    assert bridge.clock.getDelayedCalls() == []


def test_client_gone_with_the_first_write_closes_the_upstream_at_once(monkeypatch):
    bridge = Bridge()
    connection = bridge.ask()
    opened = EventStream.open

    def open_and_find_out(self, producer):
        opened(self, producer)
        producer.stopProducing()

    monkeypatch.setattr(EventStream, "open", open_and_find_out)
    response = bridge.head()
    assert response.transport.log == ["stop"]
    assert len(bridge.answers) == 0
    response.end(ResponseFailed([Failure(ConnectionLost())]))
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


def test_client_gone_in_mid_answer_closes_the_upstream_at_once():
    bridge = Bridge()
    with logged() as events:
        connection = bridge.ask()
        response = bridge.head()
        response.send(sse([delta(content="x")], done=False))
        connection.lose()
        response.end(ResponseFailed([Failure(ConnectionLost())]))
    assert response.transport.log[-1] == "stop"
    assert len(bridge.answers) == 0
    assert failures(events) == []
    bridge.clock.advance(1000)
    assert bridge.clock.getDelayedCalls() == []


def test_a_slow_client_pauses_the_upstream():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    connection.channel.pauseProducing()
    assert response.transport.log == ["pause"]
    connection.channel.resumeProducing()
    assert response.transport.log == ["pause", "resume"]


def test_a_client_that_is_slow_from_the_start_pauses_the_upstream():
    bridge = Bridge()
    connection = bridge.ask()
    bridge.clock.advance(2.1)
    connection.channel.pauseProducing()
    response = bridge.head()
    assert response.transport.log == ["pause"]


def test_a_slow_client_is_no_idle_upstream():
    bridge = Bridge(idle_timeout=30)
    connection = bridge.ask()
    bridge.head()
    connection.channel.pauseProducing()
    bridge.clock.pump([31] * 5)
    connection.channel.resumeProducing()
    assert not [event for event in events_of(connection) if event["type"] in TERMINAL]


def test_an_idle_upstream_fails_the_answer():
    bridge = Bridge(idle_timeout=30, keepalive=1000)
    connection = bridge.ask()
    response = bridge.head()
    bridge.clock.advance(29)
    response.send(b": still there\n\n")
    bridge.clock.advance(29)
    assert last_event(connection)["type"] not in TERMINAL
    bridge.clock.advance(2)
    assert last_event(connection)["response"]["error"]["code"] == "server_error"
    assert "sent nothing more within 30 seconds" in last_event(connection)["response"]["error"]["message"]
    assert response.transport.log[-1] == "stop"


def test_an_upstream_that_never_begins():
    bridge = Bridge(first_byte_timeout=20, commit_after=100)
    connection = bridge.ask()
    bridge.clock.advance(20.1)
    assert connection.answer().status == 504
    assert bridge.client.cancelled == 1


def test_codex_gets_an_event_as_a_sign_of_life():
    bridge = Bridge()
    connection = bridge.ask(STREAM, CODEX)
    bridge.head()
    bridge.clock.pump([5] * 7)
    assert [event["type"] for event in events_of(connection)[2:]] == ["response.in_progress"] * 2


def test_other_clients_get_a_comment_as_a_sign_of_life():
    bridge = Bridge()
    connection = bridge.ask()
    bridge.head()
    bridge.clock.pump([5] * 7)
    body = dechunk(connection)[1]
    assert body.count(b": keep-alive\n\n") == 2
    assert len(parse_events(body)) == 2


def test_no_sign_of_life_while_there_is_life():
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    for _ in range(10):
        bridge.clock.advance(10)
        response.send(sse([delta(content="x")], done=False))
    assert b"keep-alive" not in connection.raw


def test_not_streaming_gives_the_response_object():
    bridge = Bridge()
    connection = bridge.ask({"model": "m", "input": "hello"})
    response = bridge.head()
    assert bridge.client.bodies[0]["stream"] is True
    response.send(
        sse([delta(content="Hi"), delta(finish_reason="stop", usage={"prompt_tokens": 1, "completion_tokens": 2})])
    )
    answer = connection.answer()
    assert answer.status == 200
    assert answer.json["output"][0]["content"][0]["text"] == "Hi"
    assert answer.json["usage"]["total_tokens"] == 3


def test_not_streaming_an_error_in_the_stream_is_an_http_error():
    bridge = Bridge()
    connection = bridge.ask({"model": "m", "input": "hello"})
    response = bridge.head()
    response.send(sse([delta(content="Hi"), {"error": {"message": "broke"}}]))
    answer = connection.answer()
    assert answer.status == 502
    assert "broke" in answer.json["error"]["message"]


def test_bad_requests_never_reach_the_upstream():
    bridge = Bridge()
    connection = bridge.ask({"model": "m", "input": 5, "stream": True})
    answer = connection.answer()
    assert answer.status == 400
    assert answer.json["error"]["param"] == "input"
    assert bridge.client.bodies == []


def test_only_the_short_list_of_headers_is_looked_at_and_turn_state_comes_back():
    bridge = Bridge()
    connection = bridge.ask(STREAM, "x-codex-turn-state: state-1")
    assert bridge.client.headers[0]["x-codex-turn-state"] == "state-1"
    bridge.head(FakeResponse(200, {b"X-Codex-Turn-State": [b"state-2"], b"openai-model": [b"other"]}))
    head = dechunk(connection)[0]
    assert "x-codex-turn-state: state-2" in head
    assert "openai-model" not in head


def test_a_turn_state_in_any_bytes_is_handed_over_as_it_is():
    bridge = Bridge()
    connection = bridge.ask(STREAM)
    upstream = bridge.head(FakeResponse(200, {b"X-Codex-Turn-State": [b"\xff\xfe state"]}))
    upstream.send(sse([delta(content="x", finish_reason="stop")]))
    assert b"\xff\xfe state\r\n" in connection.raw
    assert b"response.completed" in connection.raw


def test_our_own_fault_still_ends_the_answer(monkeypatch):
    bridge = Bridge()
    connection = bridge.ask()
    response = bridge.head()
    monkeypatch.setattr("chatbridge.translate.turn.read_plain", lambda value: 1 / 0)
    with logged() as events:
        response.send(sse([delta(content="x")], done=False))
    assert last_event(connection)["type"] == "response.failed"
    assert len(failures(events)) == 1
    assert response.transport.log[-1] == "stop"


def test_a_client_library_that_refuses_the_request_still_ends_the_answer(monkeypatch):
    bridge = Bridge()
    monkeypatch.setattr(bridge.client, "post", lambda body, headers, **_: 1 / 0)
    with logged() as events:
        connection = bridge.ask()
    assert connection.answer().status == 500
    assert len(failures(events)) == 1


def test_the_drain_limit_fails_what_runs():
    bridge = Bridge()
    begun = bridge.ask()
    response = bridge.head()
    waiting = bridge.ask({"model": "m", "input": "x"})
    drained = bridge.answers.drained()
    assert not drained.called
    bridge.answers.fail_all("shutting down")
    assert drained.called
    assert last_event(begun)["response"]["error"] == {"code": "server_error", "message": "shutting down"}
    assert dechunk(begun)[2]
    assert response.transport.log[-1] == "stop"
    assert waiting.answer().status == 503
    assert bridge.answers.drained().called


def test_what_is_left_out_is_logged_once_per_kind():
    bridge = Bridge()
    with logged() as events:
        for _ in range(2):
            bridge.ask({**STREAM, "tools": [{"type": "web_search"}]})
            bridge.head().send(sse([delta(content="x"), delta(finish_reason="stop")]))
    assert len([event for event in events if "web_search" in event["text"]]) == 1


@pytest.mark.parametrize("searching", [False, True])
def test_the_vendor_searches_only_with_its_switch(searching):
    bridge = Bridge(profile=profile_named("openrouter"), vendor_search=searching)
    bridge.ask({**STREAM, "tools": [{"type": "web_search"}]})
    assert bridge.client.bodies[0].get("tools", []) == [{"type": "openrouter:web_search"}] * searching


def test_an_answer_that_has_begun_lets_go_of_its_request():
    bridge = Bridge()
    large = {**STREAM, "input": "x" * 100_000, "instructions": "y" * 100_000}
    request = bridge.ask(large).channel.requests[-1]
    (answer,) = bridge.answers
    response = bridge.head()
    translation = answer._turn.translation
    assert answer._attempts.draft.body
    response.send(sse([delta(content="Hello.")], done=False))
    assert request.content.read() == b""
    assert answer._attempts.draft.body == b""
    assert answer._turn.translation.body["messages"] == []
    assert answer._turn.translation.characters() == translation.characters() >= 200_000
    assert answer._turn._texts._text is None
    response.send(sse([delta(finish_reason="stop")]))
    assert answer._turn.response["status"] == "completed"
    assert answer._turn.response["instructions"] == large["instructions"]
