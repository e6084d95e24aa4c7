"""POST /v1/chat/completions over the whole bridge."""

import gzip
import json

import pytest
from memory_bridge import Bridge, FakeResponse, dechunk, post_to
from memory_http import logged
from support import delta, sse
from twisted.internet.error import ConnectionLost

from chatbridge.protocol.errors import unavailable
from chatbridge.vendors.profile import Profile

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
EVENTS = {"content-type": ["text/event-stream"]}
USAGE = {"prompt_tokens": 11, "completion_tokens": 5}
ANSWER = sse([delta(content="Hi"), delta(finish_reason="stop", usage=USAGE)])
WHOLE = json.dumps({"object": "chat.completion", "choices": [], "usage": USAGE}).encode()


def ask(bridge, body=STREAM, *headers, path="/v1/chat/completions"):
    return post_to(bridge.site, path, body, *headers)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions/"])
def test_a_stream_goes_on_as_it_comes(path):
    bridge = Bridge()
    connection = ask(bridge, path=path)
    upstream = bridge.head(FakeResponse(200, EVENTS))
    assert connection.raw == b""  # the upstream may still be asked again
    for at in range(0, len(ANSWER), 7):
        upstream.send(ANSWER[at : at + 7])
        assert dechunk(connection)[1] == ANSWER[: at + 7]
    upstream.end()
    head, body, whole = dechunk(connection)
    assert (body, whole) == (ANSWER, True)
    assert "content-type: text/event-stream" in head
    assert "x-request-id: req_" in head
    assert bridge.client.bodies == [STREAM]
    assert len(bridge.answers) == 0


def test_a_whole_answer():
    bridge = Bridge()
    connection = ask(bridge, CHAT)
    upstream = bridge.head(FakeResponse(200, {"content-type": ["application/json"]}))
    upstream.send(WHOLE)
    upstream.end()
    assert dechunk(connection)[1] == WHOLE


def test_an_answer_that_has_begun_lets_go_of_its_request():
    bridge = Bridge()
    connection = ask(bridge, CHAT)
    (relay,) = bridge.answers
    upstream = bridge.head(FakeResponse(200, {"content-type": ["application/json"]}))
    assert relay._attempts.draft.body
    upstream.send(WHOLE[:10])
    assert relay._attempts.draft.body == b""
    assert relay._attempts.draft.translation.body["messages"] == []
    upstream.send(WHOLE[10:])
    upstream.end()
    assert dechunk(connection)[1] == WHOLE


def test_a_compressed_answer_is_said_to_be_one():
    bridge = Bridge()
    connection = ask(bridge, CHAT)
    upstream = bridge.head(FakeResponse(200, {"content-type": ["application/json"], "content-encoding": ["gzip"]}))
    upstream.send(gzip.compress(WHOLE))
    upstream.end()
    head, body, _ = dechunk(connection)
    assert "content-encoding: gzip" in head
    assert gzip.decompress(body) == WHOLE


def test_an_answer_that_is_not_compressed_has_no_empty_coding():
    """treq's decoder leaves the header empty where there was none."""
    bridge = Bridge()
    connection = ask(bridge, CHAT)
    upstream = bridge.head(FakeResponse(200, {"content-type": ["application/json"], "content-encoding": [""]}))
    upstream.send(WHOLE)
    upstream.end()
    head, body, _ = dechunk(connection)
    assert "content-encoding" not in head
    assert body == WHOLE


@pytest.mark.parametrize("stream", [True, False])
def test_the_record_has_the_tokens(stream):
    bridge = Bridge()
    with logged() as events:
        ask(bridge, CHAT | {"stream": stream})
        bridge.clock.advance(0.25)
        upstream = bridge.head(FakeResponse(200, EVENTS if stream else {}))
        upstream.send(ANSWER if stream else WHOLE)
        upstream.end()
    facts = next(event["access"].facts() for event in events if "access" in event)
    del facts["request_id"]
    assert facts == {
        "route": "/v1/chat/completions", "request_bytes": facts["request_bytes"],
        "upstream": "default", "model": "m", "upstream_status": 200, "attempts": 1, "first_event": 0.25,
        "input_tokens": 11, "output_tokens": 5, "end": "completed",
    }  # fmt: skip


def test_the_profile_is_followed_and_what_is_refused_is_learned():
    bridge = Bridge(profile=Profile())
    connection = ask(bridge, CHAT | {"max_tokens": 5})
    assert bridge.client.bodies[-1]["max_tokens"] == 5
    text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    refusal = bridge.head(FakeResponse(400))
    refusal.send(json.dumps({"error": {"message": text, "param": "max_tokens"}}).encode())
    refusal.end()
    assert bridge.client.bodies[-1] == CHAT | {"max_completion_tokens": 5}
    upstream = bridge.head(FakeResponse(200, {}))
    upstream.send(WHOLE)
    upstream.end()
    assert dechunk(connection)[1] == WHOLE
    ask(bridge, CHAT | {"max_tokens": 6})
    assert bridge.client.bodies[-1] == CHAT | {"max_completion_tokens": 6}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_an_error_has_the_upstreams_status_and_text(status):
    bridge = Bridge()
    connection = ask(bridge)
    upstream = bridge.head(FakeResponse(status))
    upstream.send(b'{"error":{"message":"No such thing.","code":"odd"}}')
    upstream.end()
    answer = connection.answer()
    assert answer.status == status
    assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    assert "No such thing." in answer.json["error"]["message"]
    assert len(bridge.answers) == 0


@pytest.mark.parametrize(("body", "param"), [
    ({"messages": []}, "model"), (CHAT | {"messages": [5]}, "messages[0]"), ([], None), (CHAT | {"stream": 5}, "stream"),
])  # fmt: skip
def test_a_wrong_request_is_a_400_and_asks_nobody(body, param):
    bridge = Bridge()
    answer = ask(bridge, body).answer()
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert bridge.client.bodies == []


def test_a_slow_client_pauses_the_upstream():
    bridge = Bridge()
    connection = ask(bridge)
    upstream = bridge.head(FakeResponse(200, EVENTS))
    upstream.send(ANSWER)
    producer = connection.transport.producer
    producer.pauseProducing()
    producer.resumeProducing()
    assert upstream.transport.log == ["pause", "resume"]


def test_a_client_that_leaves_stops_the_upstream():
    bridge = Bridge()
    connection = ask(bridge)
    connection.lose()
    assert bridge.client.cancelled == 1
    assert len(bridge.answers) == 0
    connection = ask(bridge)
    upstream = bridge.head(FakeResponse(200, EVENTS))
    upstream.send(ANSWER)
    connection.lose()
    assert upstream.transport.log == ["stop"]
    assert len(bridge.answers) == 0


def test_a_stream_that_breaks_off_ends_with_an_error_event():
    bridge = Bridge()
    connection = ask(bridge)
    upstream = bridge.head(FakeResponse(200, EVENTS))
    upstream.send(ANSWER[:20])
    upstream.end(ConnectionLost())
    _, body, whole = dechunk(connection)
    assert whole
    last = body.split(b"\n\n")[-2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"]
    assert b"[DONE]" not in body


def test_a_document_that_breaks_off_does_not_look_whole():
    bridge = Bridge()
    connection = ask(bridge, CHAT)
    upstream = bridge.head(FakeResponse(200, {}))
    upstream.send(WHOLE[:20])
    upstream.end(ConnectionLost())
    assert not dechunk(connection)[2]
    assert connection.transport.disconnecting
    assert len(bridge.answers) == 0


def test_silence_and_too_much_time_end_it():
    for name in ("idle_timeout", "total_timeout"):
        bridge = Bridge(**{name: 30.0})
        connection = ask(bridge)
        upstream = bridge.head(FakeResponse(200, EVENTS))
        upstream.send(ANSWER[:20])
        for _ in range(31):
            bridge.clock.advance(1)
        assert b"within 30 seconds" in dechunk(connection)[1]
        assert "stop" in upstream.transport.log
        assert len(bridge.answers) == 0


def test_a_stop_ends_it_as_failed():
    bridge = Bridge()
    connection = ask(bridge)
    bridge.answers.fail_all("The server stops.")
    assert connection.answer().status == 503
    connection = ask(bridge)
    bridge.head(FakeResponse(200, EVENTS)).send(ANSWER[:20])
    for answer in bridge.answers:
        answer.fail(unavailable("The server stops."))
    assert b"The server stops." in dechunk(connection)[1]


def test_the_clients_headers_go_through_the_allow_list():
    bridge = Bridge()
    ask(bridge, STREAM, "Authorization: Bearer client", "OpenAI-Organization: org")
    assert bridge.client.headers[-1]["openai-organization"] == "org"
