"""What one WebSocket keeps between its messages."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from chatbridge.protocol import codex, sse
from chatbridge.protocol.errors import ApiError, Kind, unavailable
from chatbridge.translate.continuation import (
    QUEUE_LIMIT,
    Ask,
    Continuation,
    Recall,
    Room,
    Send,
    error_event,
    limit_reached,
)

USER = {"type": "message", "role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


def read(message):
    try:
        return json.loads(message)
    except ValueError:
        raise ApiError(400, "The body is not JSON.", code="invalid_json") from None


class Client:
    """Says things, and looks at what is to be done."""

    def __init__(self, room=None, **options):
        ids = (f"_{number}" for number in itertools.count(1))
        self.continuation = Continuation(
            read, room or Room(10**6), new_id=lambda prefix: prefix + next(ids), now=lambda: 1700000000, **options
        )

    def say(self, **fields):
        body = {"type": "response.create", "model": "m", "input": [USER], **fields}
        return self.say_raw(json.dumps({key: value for key, value in body.items() if value is not ...}).encode())

    def say_raw(self, message):
        self.continuation.add(message)
        return self.continuation.next()

    def error(self, **fields):
        return error_of(self.say(**fields))

    def end(self, id="resp_a", output=(SAID,), status="completed", stored=False):
        self.continuation.ended({"id": id, "status": status, "output": list(output)}, stored=stored)

    def turn(self, id="resp_a", output=(SAID,), **fields):
        """One whole turn."""
        ask = self.say(**fields)
        assert isinstance(ask, Ask)
        self.end(id, output)
        return ask


def error_of(action):
    assert isinstance(action, Send)
    (event,) = action.events
    assert event["type"] == "error"
    assert isinstance(event["status"], int)
    return event


def test_a_request_becomes_the_body_of_a_post():
    ask = Client().say(tools=[], stream=True, stream_options={}, generate=True, previous_response_id=None, store=False)
    assert ask == Ask({"model": "m", "input": [USER], "tools": [], "store": False}, [USER], "", False)


def test_a_string_is_one_user_message():
    assert Client().say(input="hello").value["input"] == [USER]


def test_a_continuation_has_the_whole_conversation():
    client = Client()
    client.turn(input="hello", output=[CALL])
    ask = client.say(previous_response_id="resp_a", input=[OUTPUT], tools=[{"type": "function", "name": "f"}])
    assert ask.value["input"] == [USER, CALL, OUTPUT]
    assert ask.value["tools"] == [{"type": "function", "name": "f"}]
    assert "previous_response_id" not in ask.value
    assert (ask.own, ask.previous, ask.stored) == ([OUTPUT], "resp_a", False)
    client.end("resp_b")
    assert client.say(previous_response_id="resp_b").value["input"] == [USER, CALL, OUTPUT, SAID, USER]


def test_what_is_not_said_again_is_not_inherited():
    client = Client()
    client.turn(tools=[{"type": "function", "name": "f"}], instructions="be kind")
    assert set(client.say(previous_response_id="resp_a").value) == {"model", "input"}


def test_an_incomplete_response_is_gone_on_from():
    client = Client()
    client.say()
    client.end(status="incomplete")
    assert isinstance(client.say(previous_response_id="resp_a"), Ask)


def test_after_a_failure_everything_has_to_be_sent_again():
    client = Client()
    client.turn()
    client.say(previous_response_id="resp_a")
    client.end("resp_b", status="failed")
    for id in ("resp_a", "resp_b"):
        assert client.error(previous_response_id=id)["error"]["code"] == "previous_response_not_found"


def test_a_whole_conversation_replaces_the_one_before():
    client = Client()
    client.turn()
    client.turn("resp_b")
    assert client.error(previous_response_id="resp_a")["error"]["code"] == "previous_response_not_found"
    assert isinstance(client.say(previous_response_id="resp_b"), Ask)


def test_nothing_more_is_needed_to_go_on():
    """Codex asks like that after ``end_turn: false``."""
    client = Client()
    client.turn()
    assert client.say(previous_response_id="resp_a", input=[]).value["input"] == [USER, SAID]


def test_an_unknown_response_leaves_the_known_one():
    client = Client()
    client.turn()
    event = client.error(previous_response_id="resp_x")
    assert event["status"] == 400
    assert event["error"]["param"] == "previous_response_id"
    assert "resp_x" in event["error"]["message"]
    assert isinstance(client.say(previous_response_id="resp_a"), Ask)


def test_an_output_without_its_call_ends_the_conversation():
    client = Client()
    client.turn()
    event = client.error(previous_response_id="resp_a", input=[USER, OUTPUT])
    assert event["error"]["param"] == "input[1].call_id"
    assert client.error(previous_response_id="resp_a")["error"]["code"] == "previous_response_not_found"


def test_a_whole_history_may_hold_such_an_output():
    assert isinstance(Client().say(input=[OUTPUT]), Ask)


def test_an_output_may_come_with_its_call():
    client = Client()
    client.turn()
    assert isinstance(client.say(previous_response_id="resp_a", input=[CALL, OUTPUT]), Ask)


def test_a_tool_search_of_another_server_needs_no_call():
    client = Client()
    client.turn()
    hosted = {"type": "tool_search_output", "call_id": None, "tools": []}
    assert isinstance(client.say(previous_response_id="resp_a", input=[hosted]), Ask)


# --- prewarming


def test_a_prewarm_is_answered_at_once():
    client = Client()
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    created, completed = client.say(generate=False, tools=[tool]).events
    assert (created["type"], created["sequence_number"]) == ("response.created", 0)
    assert (completed["type"], completed["sequence_number"]) == ("response.completed", 1)
    assert created["response"]["status"] == "in_progress"
    done = completed["response"]
    assert (done["status"], done["output"], done["usage"]) == ("completed", [], None)
    assert done["id"] == created["response"]["id"]
    assert [it["name"] for it in done["tools"]] == ["f"]
    ask = client.say(previous_response_id=done["id"], input=[SAID])
    assert ask.value["input"] == [USER, SAID]
    assert ask.stored is False


def test_a_prewarm_may_have_no_input():
    client = Client()
    warmed = client.say(generate=False, input=...).events[-1]["response"]["id"]
    ask = client.say(previous_response_id=warmed)
    assert ask.value["input"] == [USER]


def test_a_wrong_prewarm_is_refused():
    assert client_code(generate=False, model=...) == "missing_required_parameter"
    assert client_code(generate=False, temperature="hot") == "invalid_type"
    assert client_code(generate=False, tools=["f"]) == "invalid_type"


# --- what is refused


def client_code(**fields):
    return Client().error(**fields)["error"]["code"]


def test_what_is_no_request():
    for message, code in [(b"{", "invalid_json"), (b"[]", "invalid_type"), (b"{}", "invalid_value")]:
        event = error_of(Client().say_raw(message))
        assert (event["status"], event["error"]["code"]) == (400, code)
    assert client_code(type="response.cancel") == "invalid_value"
    assert client_code(background=True) == "unsupported_parameter"
    assert client_code(previous_response_id=7) == "invalid_type"
    assert client_code(input=7) == "invalid_type"


def test_lanes_are_refused():
    assert client_code(stream_id="a") == "unsupported_parameter"


def test_steering_is_given_back():
    client = Client()
    client.turn()
    (event,) = client.say(type="response.steer", previous_response_id="resp_a", input="stop").events
    assert event["type"] == "response.steer.failed"
    assert event["steer"] == {"previous_response_id": "resp_a", "input": "stop"}
    assert event["error"]["code"] == "steering_not_supported"
    assert isinstance(client.say(previous_response_id="resp_a"), Ask)


def test_a_refusal_leaves_the_connection_usable():
    client = Client()
    error_of(client.say_raw(b"{"))
    assert isinstance(client.say(), Ask)


def test_what_cannot_be_begun():
    client = Client()
    client.turn()
    client.say(previous_response_id="resp_a")
    event = error_of(client.continuation.refused(ApiError(404, "no", code="response_not_found")))
    assert event["status"] == 404
    assert client.error(previous_response_id="resp_a")["error"]["code"] == "previous_response_not_found"


# --- one after another


def test_messages_wait_for_the_answer_before():
    client = Client()
    first = client.say(input="one")
    assert client.say(input="two") is None
    assert client.say_raw(b"{") is None
    assert first.value["input"][0]["content"] == "one"
    client.end()
    assert client.continuation.next().value["input"][0]["content"] == "two"
    client.end()
    assert error_of(client.continuation.next())["error"]["code"] == "invalid_json"
    assert client.continuation.next() is None


def test_only_so_many_wait():
    client = Client()
    client.say()
    for _ in range(QUEUE_LIMIT):
        assert not client.continuation.full
        client.say()
    assert client.continuation.full
    client.end()
    client.continuation.next()
    assert not client.continuation.full


# --- the store


def test_another_response_is_looked_for_in_the_store():
    client = Client(recalls=True)
    assert client.say(previous_response_id="resp_s", input=[OUTPUT]) == Recall("resp_s")
    assert client.say(input="later") is None
    ask = client.continuation.recalled([USER, CALL])
    assert ask.value["input"] == [USER, CALL, OUTPUT]
    assert (ask.own, ask.previous, ask.stored) == ([OUTPUT], "resp_s", True)


def test_what_was_recalled_may_be_prewarmed():
    client = Client(recalls=True)
    client.say(previous_response_id="resp_s", generate=False)
    warmed = client.continuation.recalled([SAID]).events[-1]["response"]
    assert warmed["previous_response_id"] == "resp_s"
    assert client.say(previous_response_id=warmed["id"]).value["input"] == [SAID, USER, USER]


def test_a_recalled_conversation_without_the_call():
    client = Client(recalls=True)
    client.say(previous_response_id="resp_s", input=[OUTPUT])
    assert error_of(client.continuation.recalled([USER]))["status"] == 400
    assert isinstance(client.say(), Ask)


def test_what_the_store_does_not_have():
    client = Client(recalls=True)
    client.turn()
    client.say(previous_response_id="resp_s")
    event = error_of(client.continuation.refused(ApiError(404, "no", code="previous_response_not_found")))
    assert event["status"] == 400
    assert isinstance(client.say(previous_response_id="resp_a"), Ask)


def test_what_may_not_be_stored_is_not_looked_for():
    assert Client(recalls=True).error(previous_response_id="resp_s", store=False)["error"]["code"] == (
        "previous_response_not_found"
    )


def test_a_stored_response_is_known_to_be_stored():
    client = Client(recalls=True)
    client.say()
    client.end(stored=True)
    assert client.say(previous_response_id="resp_a").stored is True


# --- memory


def test_a_conversation_that_is_too_large_is_not_kept():
    client = Client(Room(500))
    client.turn(input="x" * 600)
    assert client.error(previous_response_id="resp_a")["error"]["code"] == "previous_response_not_found"
    client.turn()
    assert isinstance(client.say(previous_response_id="resp_a"), Ask)


def test_who_waited_longest_is_forgotten():
    room = Room(600)
    old, new = Client(room), Client(room)
    for client in (old, new):
        client.turn(input="x" * 250)
    assert old.error(previous_response_id="resp_a")["error"]["code"] == "previous_response_not_found"
    assert isinstance(new.say(previous_response_id="resp_a"), Ask)


def test_what_is_forgotten_makes_room():
    room = Room(600)
    old, new = Client(room), Client(room)
    old.turn(input="x" * 250)
    old.continuation.forget()
    new.turn(input="x" * 250)
    assert isinstance(new.say(previous_response_id="resp_a"), Ask)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), max_size=30))
def test_the_room_is_never_overfull(takes):
    room = Room(1000)
    held = [Client(room) for _ in range(4)]
    for who, size in takes:
        room.take(held[who].continuation, size)
        assert room._total == sum(room._held.values()) <= 1000
        assert held[who].continuation in room._held


# --- errors as events


def told(error, **options):
    event = error_event(error, **options)
    return event["status"], event["error"]["code"], event.get("headers")


def test_errors_keep_their_status():
    limited = ApiError(429, "slow down", code="rate_limit_exceeded", kind=Kind.RATE_LIMIT, retry_after=1.2)
    assert told(limited, for_codex=False) == (429, "rate_limit_exceeded", {"retry-after": "2"})
    assert told(unavailable("down"), for_codex=False) == (502, "upstream_error", None)
    assert told(ApiError(403, "no"), for_codex=False) == (403, "invalid_request", None)
    assert set(error_event(ApiError(400, "no", param="p"), for_codex=False)["error"]) == {
        "type", "code", "message", "param",
    }  # fmt: skip


def test_codex_gets_what_costs_it_one_try():
    for status, kind in [
        (400, Kind.INVALID),
        (401, Kind.AUTH),
        (403, Kind.AUTH),
        (404, Kind.NOT_FOUND),
        (429, Kind.QUOTA),
    ]:
        assert told(ApiError(status, "no", code="x", kind=kind), for_codex=True) == (400, "invalid_prompt", None)
    assert told(ApiError(400, "no", kind=Kind.OVERFLOW), for_codex=True)[:2] == (400, "context_length_exceeded")
    limited = ApiError(429, "slow down", kind=Kind.RATE_LIMIT, retry_after=1)
    assert told(limited, for_codex=True) == (429, "rate_limit_exceeded", {"retry-after": "1"})
    assert told(unavailable("down", status=503), for_codex=True)[0] == 503
    assert told(limit_reached(), for_codex=True)[1] == "websocket_connection_limit_reached"
    assert Client(for_codex=True).error(previous_response_id="x")["error"]["code"] == "previous_response_not_found"


# --- what Codex says in a message


def test_a_turns_headers_stand_in_the_message():
    handshake = {
        "originator": "codex_exec",
        "x-codex-turn-metadata": '{"request_kind":"prewarm"}',
        "x-openai-subagent": "review",
    }
    said = {"x-codex-turn-metadata": '{"request_kind":"compaction"}', "x-codex-turn-state": "s", "other": "x", "n": 1}
    headers = codex.message_headers(handshake, said)
    assert codex.is_codex(headers)
    assert codex.is_compaction(headers)
    assert headers["x-codex-turn-state"] == "s"
    assert headers["x-openai-subagent"] == "review"
    assert "other" not in headers
    assert not codex.is_compaction(codex.message_headers(headers, None))
    assert "x-codex-turn-state" not in codex.message_headers(headers, {"x-codex-turn-state": 7})


# --- events without frames


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_framed_events_come_apart_again(deltas):
    events = [{"type": "response.output_text.delta", "delta": delta} for delta in deltas]
    framed = b"".join(map(sse.frame, events))
    assert [json.loads(text) for text in sse.texts(framed)] == events
    assert [text for event in events for text in sse.texts(event)] == sse.texts(framed)
