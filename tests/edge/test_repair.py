"""--repair-json over the whole bridge: one more try for an answer that does not match its schema."""

import json

import pytest
from memory_bridge import CODEX, Bridge, FakeResponse, dechunk, events_of
from memory_http import logged
from support import check_stream, delta, sse
from twisted.internet.error import ConnectionLost

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ASK = {"model": "m", "input": "a?", "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def answer(text):
    half = len(text) // 2
    return sse([delta(content=text[:half]), delta(content=text[half:]), delta(finish_reason="stop", usage=USAGE)])


WRONG, GOOD = '{"a": "one"}', '{"a": 1}'


def send(bridge, text, *, end=True):
    upstream = bridge.head()
    data = answer(text)
    for at in range(0, len(data), 50):
        upstream.send(data[at : at + 50])
    if end and not upstream.transport.log:
        upstream.end()
    return upstream


def text_of(response):
    return response["output"][0]["content"][0]["text"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("first", "second", "given"), [
    (GOOD, None, GOOD), (WRONG, GOOD, GOOD), ("Sure: 1", GOOD, GOOD), (WRONG, '{"a": "two"}', '{"a": "two"}'),
])  # fmt: skip
def test_the_client_gets_one_answer(stream, first, second, given):
    bridge = Bridge(repair_json=True)
    connection = bridge.ask(ASK | {"stream": stream})
    send(bridge, first)
    if second is not None:
        assert len(bridge.client.bodies) == 2
        send(bridge, second)
    assert len(bridge.client.bodies) == (1 if second is None else 2)
    if stream:
        events = events_of(connection)
        check_stream(events)
        response = events[-1]["response"]
        assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == given
    else:
        response = connection.answer().json
    assert (response["status"], text_of(response)) == ("completed", given)
    assert response["usage"]["total_tokens"] == (15 if second is None else 30)
    assert len(bridge.answers) == 0


def test_the_second_request_says_what_was_wrong():
    bridge = Bridge(repair_json=True)
    bridge.ask(ASK)
    send(bridge, WRONG)
    first, second = bridge.client.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    said, told = second["messages"][len(first["messages"]) :]
    assert said == {"role": "assistant", "content": WRONG}
    assert "$.a: 'one' is not of type 'integer'" in told["content"]
    assert {key: value for key, value in second.items() if key != "messages"} == {
        key: value for key, value in first.items() if key != "messages"
    }


def test_nothing_of_the_wrong_answer_is_shown_meanwhile():
    bridge = Bridge(repair_json=True)
    connection = bridge.ask(ASK | {"stream": True}, CODEX)
    send(bridge, WRONG)
    bridge.clock.advance(20)
    assert {event["type"] for event in events_of(connection)} == {"response.created", "response.in_progress"}
    send(bridge, GOOD)
    events = events_of(connection)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert b'one\\"' not in dechunk(connection)[1]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("failure", ["status", "cut", "silence", "error in the stream", "stop"])
def test_when_the_second_request_fails_the_first_answer_is_given(stream, failure):
    bridge = Bridge(repair_json=True, idle_timeout=30.0)
    connection = bridge.ask(ASK | {"stream": stream})
    send(bridge, WRONG)
    with logged():
        if failure == "status":
            upstream = bridge.head(FakeResponse(400))
            upstream.send(b'{"error":{"message":"no"}}')
            upstream.end()
        elif failure == "stop":
            bridge.answers.fail_all("The server stops.")
        else:
            upstream = bridge.head()
            upstream.send(sse([delta(content="{")], done=False))
            if failure == "cut":
                upstream.end(ConnectionLost())
            elif failure == "silence":
                bridge.clock.pump([1.0] * 40)
            elif failure == "error in the stream":
                upstream.send(b'data: {"error":{"message":"broken"}}\n\n')
    response = events_of(connection)[-1]["response"] if stream else connection.answer().json
    assert (response["status"], text_of(response)) == ("completed", WRONG)
    assert response["usage"]["total_tokens"] == 15
    assert len(bridge.answers) == 0


def test_an_answer_that_fails_at_once_fails():
    bridge = Bridge(repair_json=True)
    connection = bridge.ask(ASK | {"stream": True})
    upstream = bridge.head()
    upstream.send(answer(WRONG)[:80])
    upstream.end(ConnectionLost())
    assert events_of(connection)[-1]["type"] == "response.failed"
    assert len(bridge.client.bodies) == 1


def test_a_client_that_leaves_ends_it():
    bridge = Bridge(repair_json=True)
    connection = bridge.ask(ASK | {"stream": True})
    send(bridge, WRONG)
    connection.lose()
    assert bridge.client.cancelled == 1
    assert len(bridge.answers) == 0


@pytest.mark.parametrize(("settings", "body"), [({}, ASK), ({"repair_json": True}, {"model": "m", "input": "a?"})])
def test_without_the_option_or_a_schema_nothing_is_held_back(settings, body):
    bridge = Bridge(**settings)
    connection = bridge.ask(body | {"stream": True})
    upstream = bridge.head()
    upstream.send(sse([delta(content="wro")], done=False))
    assert events_of(connection)[-1]["delta"] == "wro"
    upstream.send(answer("ng"))
    assert len(bridge.client.bodies) == 1


def test_the_log_line_tells_the_repair():
    bridge = Bridge(repair_json=True)
    with logged() as events:
        bridge.ask(ASK)
        send(bridge, WRONG)
        send(bridge, GOOD)
    facts = next(event["access"].facts() for event in events if "access" in event)
    assert facts["attempts"] == 2
    assert "schema_mismatch" not in facts
    assert "repair" in json.dumps(facts)


def test_an_answer_that_is_too_large_is_not_held_back(monkeypatch):
    monkeypatch.setattr("chatbridge.web.rehearsal.LIMIT", 100)
    bridge = Bridge(repair_json=True)
    connection = bridge.ask(ASK | {"stream": True})
    upstream = bridge.head()
    upstream.send(sse([delta(content="wrong ")] * 3, done=False))
    assert events_of(connection)[-1]["delta"] == "wrong "
    upstream.send(answer("ng"))
    check_stream(events_of(connection))
    assert len(bridge.client.bodies) == 1
