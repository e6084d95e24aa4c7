"""Requests sent again: after a wait, with another key, to another upstream. The whole bridge in memory."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_bridge import CODEX, KEY, STREAM, Bridge, FakeClient, FakeResponse, dechunk, events_of, last_event
from memory_http import Connection, failures, logged, request
from support import TERMINAL, check_stream, delta, sse
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from chatbridge.service.routes import Route, Routes, Step
from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings
from chatbridge.upstream.attempts import KEY_SECONDS
from chatbridge.upstream.keys import Key
from chatbridge.vendors.profile import profile_named
from chatbridge.web.answers import Answers
from chatbridge.web.bridge import Bridge as Core
from chatbridge.web.bridges import Bridges
from chatbridge.web.intake import Intake
from chatbridge.web.models import Models
from chatbridge.web.responses import ResponsesResource
from chatbridge.web.root import build_site

ANSWER = sse([delta(content="Done."), delta(finish_reason="stop")])


def refuse(client, status, error="down", headers=None):
    response = FakeResponse(status, headers)
    client.pending[-1].callback(response)
    response.send(json.dumps({"error": {"message": error}}).encode())
    response.end()


def lose(client):
    client.pending[-1].errback(ResponseNeverReceived([Failure(ConnectionLost())]))


def answer(client):
    response = FakeResponse()
    client.pending[-1].callback(response)
    response.send(ANSWER)
    response.end()


def is_done(connection):
    check_stream(events_of(connection))
    return last_event(connection)["type"] == "response.completed"


# --- the same again, after a wait


@pytest.mark.parametrize("fault", [500, 502, 503, 504, 529, 408, 429, lose])
def test_what_may_pass_is_asked_again(fault):
    bridge = Bridge(retries=2)
    connection = bridge.ask()
    fault(bridge.client) if callable(fault) else refuse(bridge.client, fault)
    assert len(bridge.client.bodies) == 1
    bridge.clock.advance(0.5)
    assert len(bridge.client.bodies) == 2
    assert bridge.client.bodies[0] == bridge.client.bodies[1]
    answer(bridge.client)
    assert is_done(connection)
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_what_will_not_pass_is_not(status):
    bridge = Bridge(retries=2)
    connection = bridge.ask()
    refuse(bridge.client, status)
    bridge.clock.advance(20)
    assert len(bridge.client.bodies) == 1
    assert connection.raw.startswith(b"HTTP/1.1 4")


def test_there_are_so_many_and_the_last_error_is_told():
    bridge = Bridge(retries=2, commit_after=100)
    connection = bridge.ask()
    with logged() as events:
        for text in ("one", "two", "three"):
            refuse(bridge.client, 500, text)
            bridge.clock.advance(1)
    assert len(bridge.client.bodies) == 3
    assert connection.answer().status == 500
    assert "three" in connection.answer().json["error"]["message"]
    texts = [event["text"] for event in events]
    assert [
        text for text in texts if text.startswith("failed attempt 1 at default: ") and "again (unavailable) in" in text
    ]
    assert [text for text in texts if text.startswith("failed attempt 3 at default, the last one: ")]
    (access,) = [event["access"] for event in events if "access" in event]
    assert (access.attempts, access.retries, access.upstream_status) == (3, (("default", "unavailable"),) * 2, 500)
    assert failures(events) == []


@pytest.mark.parametrize("headers", [(), (CODEX,)])
def test_a_stream_waits_with_its_200_while_it_is_asked_again(headers):
    bridge = Bridge(retries=2, commit_after=2.0, retry_seconds=10.0)
    connection = bridge.ask(STREAM, *headers)
    for _ in range(2):
        refuse(bridge.client, 429)
        bridge.clock.advance(2.5)
        assert connection.raw == b""
    refuse(bridge.client, 429)
    if headers:  # an event costs Codex less than a status
        assert last_event(connection)["type"] == "response.failed"
    else:
        assert connection.answer().status == 429


def test_its_200_does_not_wait_for_ever():
    bridge = Bridge(retries=2, commit_after=2.0, retry_seconds=10.0)
    connection = bridge.ask()
    refuse(bridge.client, 500)
    bridge.clock.pump([1.0] * 11)
    assert connection.raw == b""
    bridge.clock.advance(2.0)
    assert last_event(connection)["type"] == "response.in_progress"


def test_the_time_that_the_upstream_names_is_kept():
    bridge = Bridge(retries=1)
    connection = bridge.ask()
    refuse(bridge.client, 429, headers={"retry-after": ["7"]})
    bridge.clock.advance(6.9)
    assert len(bridge.client.bodies) == 1
    bridge.clock.advance(1)
    answer(bridge.client)
    assert is_done(connection)


@pytest.mark.parametrize("wait", ["11", "3600"])
def test_a_time_beyond_the_budget_is_the_clients_to_wait(wait):
    bridge = Bridge(retries=1)
    connection = bridge.ask()
    refuse(bridge.client, 429, headers={"retry-after": [wait]})
    assert connection.answer().status == 429
    assert float(connection.answer().header("retry-after")) >= 11
    assert len(bridge.client.bodies) == 1


def test_the_budget_counts_from_the_first_attempt():
    bridge = Bridge(retries=9, retry_seconds=3, commit_after=100)
    connection = bridge.ask()
    bridge.clock.advance(2.9)
    refuse(bridge.client, 500)
    assert connection.answer().status == 500


def test_retries_may_be_switched_off():
    bridge = Bridge(retries=0)
    connection = bridge.ask()
    refuse(bridge.client, 500)
    assert connection.answer().status == 500


def test_codex_sees_one_answer_whatever_it_took():
    bridge = Bridge(retries=2)
    connection = bridge.ask(STREAM, CODEX)
    bridge.clock.advance(2)  # the answer's own head is out
    for _ in range(2):
        refuse(bridge.client, 503)
        bridge.clock.advance(1)
    answer(bridge.client)
    assert is_done(connection)
    assert [event["type"] for event in events_of(connection)].count("response.created") == 1


# --- never after the first output


@pytest.mark.parametrize("output", [
    sse([delta(content="Hel")], done=False), sse([delta(reasoning_content="Hm")], done=False),
    sse([delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])], done=False),
    b"data: {", b"<html>",
])  # fmt: skip
def test_never_once_the_upstream_has_said_something(output):
    bridge = Bridge(retries=2)
    connection = bridge.ask()
    response = bridge.head()
    response.send(output)
    response.end(ConnectionLost())
    bridge.clock.advance(20)
    assert len(bridge.client.bodies) == 1
    assert last_event(connection)["type"] == "response.failed"
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


@pytest.mark.parametrize("said", [b"", b": OPENROUTER PROCESSING\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("end", [None, ConnectionLost()])
def test_an_answer_that_says_nothing_is_asked_for_again(said, end):
    bridge = Bridge(retries=2)
    connection = bridge.ask()
    response = bridge.head()
    if said:
        response.send(said)
    response.end(end)
    bridge.clock.advance(1)
    answer(bridge.client)
    assert is_done(connection)
    assert [event["type"] for event in events_of(connection)].count("response.created") == 1


ERRORS = [
    b'data: {"error": {"message": "Provider returned error", "code": 502}}\n\n',
    b': OPENROUTER PROCESSING\n\ndata: {"error": {"message": "overloaded", "type": "overloaded_error"}}\n\n',
    b'{"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}',
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_place_of_the_first_output_is_as_good_as_a_status(error):
    bridge = Bridge(retries=1)
    connection = bridge.ask()
    response = bridge.head()
    response.send(error)
    if response.transport.log == []:
        response.end()
    bridge.clock.advance(1)
    answer(bridge.client)
    assert is_done(connection)
    assert len(bridge.client.bodies) == 2
    assert [event["type"] for event in events_of(connection)].count("response.created") == 1


def test_an_error_in_place_of_the_first_output_goes_to_the_next_upstream():
    two = Two(TO_B)
    connection = two.ask()
    response = FakeResponse()
    two.clients["a"].pending[-1].callback(response)
    response.send(b'data: {"error": {"message": "Insufficient balance", "code": 402}}\n\n')
    answer(two.clients["b"])
    assert is_done(connection)


def test_errors_inside_answers_open_the_circuit_too():
    bridge = Bridge(breaker_failures=2)
    for _ in range(3):
        bridge.ask()
        if bridge.client.pending[-1].called is False:
            bridge.head().send(ERRORS[0])
    assert len(bridge.client.bodies) == 2


def test_an_answer_that_says_nothing_to_the_end_fails_once():
    bridge = Bridge(retries=1)
    connection = bridge.ask()
    for _ in range(2):
        bridge.head().end()
        bridge.clock.advance(1)
    events = events_of(connection)
    assert [event["type"] for event in events if event["type"] in TERMINAL] == ["response.failed"]
    assert "empty" in events[-1]["response"]["error"]["message"]


def test_what_is_left_of_an_answer_given_up_disturbs_nothing():
    bridge = Bridge(retries=0, idle_timeout=5, keepalive=3)
    connection = bridge.ask()
    silent = bridge.head()
    bridge.clock.pump([1] * 6)
    assert silent.transport.log == ["stop"]
    silent.end(ConnectionLost())
    assert [event["type"] for event in events_of(connection)][-1] == "response.failed"
    assert len(bridge.answers) == 0


# --- the client leaves


def test_a_client_that_leaves_during_the_wait():
    bridge = Bridge(retries=2)
    with logged() as events:
        connection = bridge.ask()
        refuse(bridge.client, 500)
        connection.lose()
        bridge.clock.advance(10)
    assert len(bridge.client.bodies) == 1
    assert bridge.clock.getDelayedCalls() == []
    assert len(bridge.answers) == 0
    assert failures(events) == []


# --- total time


def test_the_whole_has_a_limit():
    bridge = Bridge(total_timeout=60, keepalive=7)
    connection = bridge.ask()
    response = bridge.head()
    for _ in range(10):
        bridge.clock.advance(6)
        response.send(sse([delta(content="x")], done=False))
    assert "did not finish within 60 seconds" in last_event(connection)["response"]["error"]["message"]
    assert response.transport.log[-1] == "stop"
    connection.lose()
    assert bridge.clock.getDelayedCalls() == []


# --- keys

KEYS = tuple(Key(name, Secret(f"sk-{name}-0123456789")) for name in ("one", "two", "three"))


def keyed(**settings):
    return Bridge(api_keys=KEYS, api_key=KEYS[0].secret, **settings)


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_another_key_is_used_at_once_and_the_first_left_alone(status):
    bridge = keyed()
    with logged() as events:
        connection = bridge.ask()
        refuse(bridge.client, status, f"Incorrect API key provided: {KEYS[0].secret.reveal()}")
        answer(bridge.client)
    assert is_done(connection)
    bridge.ask()
    assert [key.name for key in bridge.client.keys] == ["one", "two", "two"]
    assert "0123456789" not in "".join(event["text"] for event in events)
    bridge.clock.advance(KEY_SECONDS)
    bridge.ask()
    assert bridge.client.keys[-1].name == "one"


def test_each_key_is_tried_once_and_the_last_refusal_told():
    bridge = keyed()
    connection = bridge.ask()
    for _ in KEYS:
        refuse(bridge.client, 401, "no")
    assert [key.name for key in bridge.client.keys] == ["one", "two", "three"]
    assert connection.answer().status == 401
    assert "one, two, three" in connection.answer().json["error"]["message"]


def test_a_key_that_is_limited_comes_back_when_the_upstream_said():
    bridge = keyed()
    bridge.ask()
    refuse(bridge.client, 429, headers={"retry-after": ["3"]})
    bridge.clock.advance(3)
    bridge.ask()
    assert [key.name for key in bridge.client.keys] == ["one", "two", "one"]


def test_the_list_of_models_is_asked_for_with_a_key_that_works():
    bridge = keyed()
    bridge.ask()
    refuse(bridge.client, 401)
    connection = Connection(bridge.site)
    connection.send(request("GET", "/v1/models"))
    assert bridge.client.list_key.name == "two"


def test_one_key_is_never_left_alone():
    bridge = Bridge()
    for _ in range(3):
        connection = bridge.ask()
        refuse(bridge.client, 401)
        assert connection.answer().status == 401
    assert len(bridge.client.bodies) == 3


def test_keys_are_taken_out_of_what_upstreams_quote():
    bridge = keyed()
    connection = bridge.ask()
    for key in KEYS:
        refuse(bridge.client, 401, f"Incorrect API key provided: {key.secret.reveal()}")
    assert b"0123456789" not in connection.raw


# --- the circuit


def broken(bridge, times):
    for _ in range(times):
        connection = bridge.ask()
        refuse(bridge.client, 500)
    return connection


def test_an_upstream_that_only_fails_is_left_alone():
    bridge = Bridge(breaker_failures=3, breaker_seconds=10)
    broken(bridge, 3)
    connection = bridge.ask()
    assert len(bridge.client.bodies) == 3
    assert connection.answer().status == 503
    assert connection.answer().header("retry-after") == "10"
    message = connection.answer().json["error"]["message"]
    assert message == (
        "upstream answered 500 Internal Server Error: down. The upstream default is left alone for a while, "
        "since it only fails. Please try again in 10s."
    )
    bridge.clock.advance(10)
    connection = bridge.ask()
    answer(bridge.client)
    assert is_done(connection)
    answer_to = bridge.ask()
    answer(bridge.client)
    assert is_done(answer_to)


def test_the_log_tells_of_the_circuit():
    bridge = Bridge(breaker_failures=1)
    with logged() as events:
        broken(bridge, 1)
        bridge.clock.advance(10)
        bridge.ask()
        answer(bridge.client)
    texts = [event["text"] for event in events]
    assert texts.count("the upstream default only fails: it is left alone for 10 s") == 1
    assert texts.count("the upstream default answers again") == 1


def test_codex_is_told_how_long_to_wait():
    bridge = Bridge(breaker_failures=1)
    broken(bridge, 1)
    error = last_event(bridge.ask(STREAM, CODEX))["response"]["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert "try again in 10s" in error["message"]


def test_a_probe_whose_client_leaves_does_not_block_the_rest():
    bridge = Bridge(breaker_failures=1)
    broken(bridge, 1)
    bridge.clock.advance(10)
    bridge.ask().lose()
    bridge.ask()
    assert len(bridge.client.bodies) == 3


def test_refusals_do_not_open_it():
    bridge = Bridge(breaker_failures=1)
    for status in (400, 401, 404, 429):
        bridge.ask()
        refuse(bridge.client, status)
    assert len(bridge.client.bodies) == 4


def test_a_retry_is_not_made_where_it_just_opened():
    bridge = Bridge(breaker_failures=1, retries=9, commit_after=100)
    connection = bridge.ask()
    refuse(bridge.client, 500, "the real reason")
    bridge.clock.advance(2)
    assert len(bridge.client.bodies) == 1
    assert "the real reason" in connection.answer().json["error"]["message"]


def test_the_retries_of_one_answer_are_one_failure():
    bridge = Bridge(breaker_failures=2, retries=2, commit_after=100)
    for attempts in (3, 1):
        bridge.ask()
        for _ in range(attempts):
            refuse(bridge.client, 500)
            bridge.clock.advance(1.5)
    assert len(bridge.client.bodies) == 4
    bridge.ask()
    assert len(bridge.client.bodies) == 4


# --- limits of the upstream


def test_more_than_it_may_have_running_wait_in_line():
    bridge = Bridge(upstream_streams=1)
    first, second, third = (bridge.ask() for _ in range(3))
    assert len(bridge.client.bodies) == 1
    second.lose()  # leaves the line
    answer(bridge.client)
    assert is_done(first)
    assert len(bridge.client.bodies) == 2
    answer(bridge.client)
    assert is_done(third)
    for connection in (first, third):
        connection.lose()
    assert bridge.clock.getDelayedCalls() == []


def test_the_wait_in_line_has_an_end():
    bridge = Bridge(upstream_streams=1, queue_seconds=1.5)
    bridge.ask()
    second = bridge.ask()
    bridge.clock.advance(1.5)
    assert second.answer().status == 429
    assert second.answer().header("retry-after") == "5"
    assert "is busy" in second.answer().json["error"]["message"]


def test_so_many_in_a_minute():
    bridge = Bridge(upstream_rate=2, queue_seconds=90)
    for _ in range(3):
        bridge.ask()
        if len(bridge.client.pending) <= 2:
            answer(bridge.client) if not bridge.client.pending[-1].called else None
    assert len(bridge.client.bodies) == 2
    bridge.clock.advance(59.9)
    assert len(bridge.client.bodies) == 2
    bridge.clock.advance(0.1)
    assert len(bridge.client.bodies) == 3


def test_a_failed_attempt_gives_its_place_back():
    bridge = Bridge(upstream_streams=1, breaker_failures=0)
    for _ in range(3):
        connection = bridge.ask()
        refuse(bridge.client, 500)
        assert connection.answer().status == 500
    assert len(bridge.client.bodies) == 3


# --- the next upstream


class Two:
    """A site with two upstreams: a is the first, b another vendor."""

    def __init__(self, *routes, **settings):
        self.clock = MemoryReactorClock()
        self.clients = {"a": FakeClient(), "b": FakeClient()}
        table = Routes(routes, "a", frozenset("ab"))
        both = [
            Settings(name="a", api_key=Secret(KEY), routes=table, **{"retries": 0, **settings}),
            Settings(name="b", api_key=Secret("sk-other-0123456789"), profile=profile_named("mistral"), routes=table, retries=0),
        ]  # fmt: skip
        self.answers = Answers()
        bridges = {one.name: Core(self.clients[one.name], self.answers, one, self.clock) for one in both}
        self.bridges = Bridges(bridges, table)
        self.site = build_site(
            both[0],
            responses=ResponsesResource(Intake(self.bridges, None)),
            models=Models(self.bridges),
            running=lambda: len(self.answers),
            stop=lambda: None,
            reactor=self.clock,
        )

    def ask(self, *headers, **fields):
        connection = Connection(self.site)
        body = json.dumps({"model": "m", "input": "hi", "stream": True} | fields).encode()
        connection.send(request("POST", "/v1/responses", "Content-Type: application/json", *headers, body=body))
        return connection


TO_B = Route(upstream="a", model="m", send_model="big", fallback=(Step("b", "small"),))


@pytest.mark.parametrize("fault", [500, 401, 402, 403, 404, 429, lose])
def test_the_next_upstream_is_asked_in_its_own_words(fault):
    two = Two(TO_B)
    with logged() as events:
        connection = two.ask(seed=5)
        fault(two.clients["a"]) if callable(fault) else refuse(two.clients["a"], fault)
        answer(two.clients["b"])
    assert is_done(connection)
    assert two.clients["a"].bodies[0]["model"] == "big"
    assert two.clients["b"].bodies[0]["model"] == "small"
    assert "random_seed" in two.clients["b"].bodies[0]  # as Mistral calls it
    assert '"small"' not in connection.raw.decode()
    (access,) = [event["access"] for event in events if "access" in event]
    assert (access.upstream, access.attempts, access.retries) == ("b", 2, (("a", "fallback"),))


INSIDE = {
    "an error chunk": sse([{"error": {"message": "busy", "code": 503}}]),
    "an event named error": b'event: error\ndata: {"error":{"message":"slow down","code":429}}\n\n',
    "base_resp": b'{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}',
    "no money": sse([{"error": {"message": "Insufficient Balance", "code": 402}}]),
}  # fmt: skip


def refuse_inside(client, body):
    response = FakeResponse()
    client.pending[-1].callback(response)
    response.send(body)
    response.end()


@pytest.mark.parametrize("name", INSIDE)
def test_the_next_upstream_is_asked_after_an_error_that_came_with_200_too(name):
    two = Two(TO_B)
    connection = two.ask()
    refuse_inside(two.clients["a"], INSIDE[name])
    answer(two.clients["b"])
    assert is_done(connection)
    assert len(two.clients["a"].bodies) == len(two.clients["b"].bodies) == 1


def test_another_key_is_used_after_an_error_that_came_with_200_too():
    bridge = keyed()
    connection = bridge.ask()
    refuse_inside(bridge.client, INSIDE["base_resp"])
    answer(bridge.client)
    assert is_done(connection)
    assert [key.name for key in bridge.client.keys] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_wrong_with_the_request_is_wrong_there_too(status):
    two = Two(TO_B)
    two.ask()
    refuse(two.clients["a"], status, "bad")
    assert two.clients["b"].bodies == []


def test_a_glitch_is_waited_out_first():
    two = Two(TO_B, retries=1)
    connection = two.ask()
    refuse(two.clients["a"], 500)
    two.clock.advance(1)
    assert len(two.clients["a"].bodies) == 2
    refuse(two.clients["a"], 500)
    answer(two.clients["b"])
    assert is_done(connection)


def test_a_named_wait_is_not_made_when_another_can_be_asked():
    two = Two(TO_B, retries=1)
    two.ask()
    refuse(two.clients["a"], 429, headers={"retry-after": ["2"]})
    assert len(two.clients["b"].bodies) == 1


def test_an_upstream_whose_circuit_is_open_is_not_asked_first():
    two = Two(TO_B, breaker_failures=1)
    two.ask()
    refuse(two.clients["a"], 500)
    answer(two.clients["b"])
    connection = two.ask()
    assert len(two.clients["a"].bodies) == 1
    answer(two.clients["b"])
    assert is_done(connection)
    assert two.bridges.circuits() == {"a": "open", "b": "closed"}
    assert two.bridges.resting() == ""


def test_when_all_fail_the_error_that_may_pass_is_told():
    two = Two(TO_B)
    connection = two.ask()
    refuse(two.clients["a"], 401, "no such key")
    refuse(two.clients["b"], 503, "overloaded")
    assert connection.answer().status == 503
    connection = two.ask()
    refuse(two.clients["a"], 503, "overloaded at a")
    refuse(two.clients["b"], 401)
    assert "overloaded at a" in connection.answer().json["error"]["message"]


def test_no_key_of_any_upstream_is_told():
    two = Two(TO_B)
    connection = two.ask()
    refuse(two.clients["a"], 401, f"bad key {KEY}")
    refuse(two.clients["b"], 401, "bad key sk-other-0123456789 and not " + KEY)
    assert "0123456789" not in connection.raw.decode()


def test_another_model_of_the_same_upstream():
    two = Two(Route(upstream="b", model="m", fallback=(Step(model="small"), Step("a"))))
    connection = two.ask()
    refuse(two.clients["b"], 404)
    refuse(two.clients["b"], 404)
    answer(two.clients["a"])
    assert is_done(connection)
    assert [body["model"] for body in two.clients["b"].bodies] == ["m", "small"]
    assert two.clients["a"].bodies[0]["model"] == "m"


def test_a_request_that_the_next_one_cannot_take_fails_with_the_first_ones_error():
    two = Two(Route(upstream="a", model="m", fallback=(Step("b"),)))
    bridge = two.bridges._bridges["b"]
    bridge.upstream.learned._profile = profile_named("kimi-code")
    connection = two.ask(input="x" * 2_100_000)
    with logged() as events:
        refuse(two.clients["a"], 500, "down")
    assert two.clients["b"].bodies == []
    assert "down" in connection.answer().json["error"]["message"]
    assert failures(events) == []


def test_headers_that_a_route_forwards():
    two = Two(Route(upstream="a", model="m", forward_header=("x-team",)))
    two.ask("X-Team: red")
    assert two.clients["a"].forwarded == [("x-team",)]
    assert dechunk(two.ask(model="other"))[0] == ""
    assert two.clients["a"].forwarded[-1] == ()


# --- whatever the upstreams do

OUTCOMES = {
    **{str(status): status for status in (400, 401, 402, 404, 429, 500, 503)},
    "named": (429, {"retry-after": ["1"]}), "far": (429, {"retry-after": ["99"]}),
    "lose": lose, "empty": b"", "comment": b": x\n\n", "error": ERRORS[0], "half": sse([delta(content="Ha")], done=False),
    "whole": ANSWER,
}  # fmt: skip


def happen(client, outcome):
    if callable(outcome):
        outcome(client)
    elif isinstance(outcome, int):
        refuse(client, outcome)
    elif isinstance(outcome, tuple):
        refuse(client, outcome[0], headers=outcome[1])
    else:
        response = FakeResponse()
        client.pending[-1].callback(response)
        response.send(outcome)
        if "stop" not in response.transport.log:
            response.end(None if outcome == ANSWER else ConnectionLost())


@given(
    names=st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=14),
    leaves=st.integers(0, 90),
    settings=st.fixed_dictionaries({"retries": st.integers(0, 3), "breaker_failures": st.integers(0, 4), "upstream_streams": st.integers(0, 1)}),
)  # fmt: skip
def test_every_answer_ends_once_and_leaves_nothing_behind(names, leaves, settings):
    two = Two(TO_B, **settings)
    connection = two.ask()
    script, asked, said = list(names), 0, False
    for step in range(60):
        if step == leaves:
            break
        for client in two.clients.values():
            while client.pending and not client.pending[-1].called:
                assert not said, "asked again after the first output"
                name = script.pop(0) if script else "whole"
                said = name in ("half", "whole")
                asked += 1
                happen(client, OUTCOMES[name])
        two.clock.advance(0.7)
    over = len(two.answers) == 0
    assert over or leaves < 60
    if over:
        raw = connection.raw
        if raw.startswith(b"HTTP/1.1 200"):
            events = events_of(connection)
            check_stream(events)
            assert sum(event["type"] in TERMINAL for event in events) == 1
        else:
            assert connection.answer().json["error"]["message"]
    assert asked <= 2 * (settings["retries"] + 1)
    connection.lose()
    assert len(two.answers) == 0
    assert two.clock.getDelayedCalls() == []
    # Nothing is held: the next request goes out, unless all circuits are open.
    before = sum(len(client.bodies) for client in two.clients.values())
    two.ask()
    if set(two.bridges.circuits().values()) == {"closed"}:
        assert sum(len(client.bodies) for client in two.clients.values()) == before + 1
