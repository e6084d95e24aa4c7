"""Answers that go on without a client."""

import pytest
from memory_bridge import Bridge, FakeResponse, dechunk, events_of, last_event
from memory_http import Connection, failures, logged, request
from support import check_stream, parse_events, sse
from twisted.internet.defer import fail, succeed

from chatbridge.store.memory import MemoryStore
from chatbridge.web.access import digest
from chatbridge.web.background import BEAT

ASK = {"model": "m", "input": "hi", "background": True}


def chunk(**choice):
    return sse([{"choices": [choice]}], done=False)


TEXT = chunk(delta={"content": "one "})
REST = chunk(delta={"content": "two"})
END = sse([{"choices": [{"delta": {}, "finish_reason": "stop"}]}])


@pytest.fixture
def bridge():
    return Bridge(store=MemoryStore(lambda: 0.0, 1e12))


def begin(bridge, body=ASK, *headers):
    """Return the response as the client got it."""
    answer = bridge.ask(body, *headers).answer()
    assert answer.status == 200, answer.body
    return answer.json


def at(bridge, path, method="GET", *headers):
    connection = Connection(bridge.site)
    connection.send(request(method, path, *headers))
    return connection


def get(bridge, id, *headers):
    return at(bridge, f"/v1/responses/{id}", "GET", *headers).answer().json


def test_it_goes_on_and_shows_how_far_it_is(bridge):
    begun = begin(bridge)
    assert (begun["status"], begun["background"], begun["store"], begun["output"]) == ("queued", True, True, [])
    assert get(bridge, begun["id"])["status"] == "in_progress"
    upstream = bridge.head()
    upstream.send(TEXT)
    (message,) = get(bridge, begun["id"])["output"]
    assert (message["status"], message["content"][0]["text"]) == ("in_progress", "one ")
    upstream.send(REST + END)
    upstream.end()
    ended = get(bridge, begun["id"])
    assert (ended["status"], ended["output"][0]["content"][0]["text"]) == ("completed", "one two")
    assert (ended["output"][0]["status"], ended["background"]) == ("completed", True)
    assert len(bridge.answers) == 0


def test_a_streaming_client_may_leave_and_come_back(bridge):
    connection = bridge.ask(ASK | {"stream": True})
    upstream = bridge.head()
    upstream.send(TEXT)
    seen = events_of(connection)
    id = seen[0]["response"]["id"]
    connection.lose()
    assert (upstream.transport.log, len(bridge.answers)) == ([], 1)
    upstream.send(chunk(delta={"content": "while away "}))
    after = seen[-1]["sequence_number"]
    again = at(bridge, f"/v1/responses/{id}?stream=true&starting_after={after}")
    assert [event["delta"] for event in events_of(again)] == ["while away "]
    upstream.send(REST + END)
    upstream.end()
    events = [*seen, *events_of(again)]
    check_stream(events)
    assert dechunk(again)[2]
    whole = dechunk(at(bridge, f"/v1/responses/{id}?stream=true"))[1]
    assert parse_events(whole) == events
    assert events[-1]["response"] == get(bridge, id)


def test_several_follow(bridge):
    id = begin(bridge)["id"]
    connections = [at(bridge, f"/v1/responses/{id}?stream=true") for _ in range(3)]
    upstream = bridge.head()
    upstream.send(TEXT)
    connections[1].lose()
    upstream.send(REST + END)
    upstream.end()
    first, _, third = [dechunk(connection)[1] for connection in connections]
    assert first == third
    check_stream(parse_events(first))


def test_a_follower_that_reads_slowly_holds_up_nobody(bridge):
    id = begin(bridge)["id"]
    slow, fast = (at(bridge, f"/v1/responses/{id}?stream=true") for _ in range(2))
    upstream = bridge.head()
    slow.transport.producer.pauseProducing()
    upstream.send(TEXT)
    before = dechunk(slow)[1]
    upstream.send(REST + END)
    upstream.end()
    assert dechunk(slow)[1] == before
    assert last_event(fast)["type"] == "response.completed"
    slow.transport.producer.resumeProducing()
    assert dechunk(slow)[1:] == dechunk(fast)[1:]


def test_a_follower_is_shown_that_the_answer_is_alive(bridge):
    id = begin(bridge)["id"]
    connection = at(bridge, f"/v1/responses/{id}?stream=true&starting_after=1")
    assert dechunk(connection)[0].startswith("http/1.1 200")
    bridge.head()
    bridge.clock.advance(16)
    assert dechunk(connection)[1] == b": keep-alive\n\n"


@pytest.mark.parametrize("when", ["before the head", "in the answer"])
def test_cancel(bridge, when):
    id = begin(bridge)["id"]
    follower = at(bridge, f"/v1/responses/{id}?stream=true")
    upstream = None
    if when == "in the answer":
        upstream = bridge.head()
        upstream.send(TEXT)
    cancelled = at(bridge, f"/v1/responses/{id}/cancel", "POST").answer()
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert len(bridge.answers) == 0
    if upstream is None:
        assert bridge.client.cancelled == 1
    else:
        assert upstream.transport.log == ["stop"]
        assert cancelled.json["output"][0]["content"][0]["text"] == "one "
    told = last_event(follower)
    assert (told["type"], told["response"]) == ("response.failed", cancelled.json)
    assert at(bridge, f"/v1/responses/{id}/cancel", "POST").answer().json == cancelled.json
    assert get(bridge, id) == cancelled.json


def test_cancel_when_it_is_over(bridge):
    id = begin(bridge)["id"]
    upstream = bridge.head()
    upstream.send(TEXT + END)
    upstream.end()
    ended = get(bridge, id)
    assert at(bridge, f"/v1/responses/{id}/cancel", "POST").answer().json == ended
    assert ended["status"] == "completed"


def test_delete_cancels(bridge):
    id = begin(bridge)["id"]
    upstream = bridge.head()
    upstream.send(TEXT)
    assert at(bridge, f"/v1/responses/{id}", "DELETE").answer().json["deleted"] is True
    assert upstream.transport.log == ["stop"]
    assert at(bridge, f"/v1/responses/{id}").answer().status == 404
    assert len(bridge.answers) == 0


def test_who_goes_on_from_it_waits_for_its_end(bridge):
    id = begin(bridge)["id"]
    more = {"model": "m", "input": "and?", "previous_response_id": id}
    refused = bridge.ask(more).answer()
    assert (refused.status, refused.json["error"]["param"]) == (400, "previous_response_id")
    upstream = bridge.head()
    upstream.send(TEXT + END)
    upstream.end()
    bridge.ask(more | {"stream": True})
    assert [message["content"] for message in bridge.client.bodies[-1]["messages"]] == ["hi", "one ", "and?"]


def test_a_failure_is_read_from_the_response(bridge):
    id = begin(bridge)["id"]
    upstream = bridge.head(FakeResponse(401))
    upstream.send(b'{"error": {"message": "no such key"}}')
    upstream.end()
    failed = get(bridge, id)
    assert failed["status"] == "failed"
    assert "no such key" in failed["error"]["message"]
    events = parse_events(dechunk(at(bridge, f"/v1/responses/{id}?stream=true"))[1])
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.failed"]


def test_what_cannot_run_in_the_background(bridge):
    refused = bridge.ask(ASK | {"store": False}).answer()
    assert (refused.status, refused.json["error"]["param"]) == (400, "background")
    refused = Bridge().ask(ASK).answer()
    assert (refused.status, refused.json["error"]["param"]) == (400, "background")
    assert bridge.ask(ASK | {"background": "yes"}).answer().status == 400
    assert bridge.client.bodies == []


def test_the_stop_ends_it_as_failed_and_says_so_later(bridge):
    id = begin(bridge)["id"]
    bridge.head().send(TEXT)
    bridge.answers.fail_all("stopped")
    failed = get(bridge, id)
    assert (failed["status"], failed["error"]["message"]) == ("failed", "stopped")
    assert failed["output"][0]["content"][0]["text"] == "one "


def test_clients_do_not_see_each_others(bridge):
    tokens = (("ann", digest("cb-ann-0123456789")), ("bob", digest("cb-bob-0123456789")))
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12), client_tokens=tokens, client_streams=1)
    ann, bob = "Authorization: Bearer cb-ann-0123456789", "Authorization: Bearer cb-bob-0123456789"
    id = begin(bridge, ASK, ann)["id"]
    for method, path in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel"), ("DELETE", "")):
        assert at(bridge, f"/v1/responses/{id}{path}", method, bob).answer().status == 404
    # It counts for as long as it runs.
    assert bridge.ask(ASK, ann).answer().status == 429
    begin(bridge, ASK, bob)
    upstream = bridge.client.pending[0]
    response = FakeResponse()
    upstream.callback(response)
    response.send(TEXT + END)
    response.end()
    begin(bridge, ASK, ann)


def test_a_request_that_is_refused_upstream_frees_its_place():
    tokens = (("ann", digest("cb-ann-0123456789")),)
    bridge = Bridge(store=Broken(), client_tokens=tokens, client_streams=1)
    for _ in range(3):
        assert bridge.ask(ASK, "Authorization: Bearer cb-ann-0123456789").answer().status == 503
    assert bridge.client.bodies == []


class Broken:
    def put(self, stored, addition=None):
        return fail(RuntimeError("disk full"))


class Stumbling(MemoryStore):
    """Fails at the ends that it is told to."""

    failing = 0

    def end(self, stored, addition=None):
        if self.failing:
            self.failing -= 1
            return fail(RuntimeError("gone"))
        return super().end(stored, addition)


def test_an_end_that_is_not_stored_is_tried_again():
    bridge = Bridge(store=Stumbling(lambda: 0.0, 1e12))
    bridge.store.failing = 2
    id = begin(bridge)["id"]
    follower = at(bridge, f"/v1/responses/{id}?stream=true")
    upstream = bridge.head()
    upstream.send(TEXT + END)
    upstream.end()
    assert last_event(follower)["response"]["store"] is True
    assert get(bridge, id)["status"] == "completed"  # from memory
    assert bridge.store._stored(id, "").running
    bridge.clock.advance(BEAT)
    bridge.clock.advance(BEAT)
    assert bridge.store.failing == 0
    assert bridge.store._stored(id, "").response["status"] == "completed"
    assert get(bridge, id)["status"] == "completed"
    bridge.clock.advance(BEAT)
    assert bridge.clock.getDelayedCalls() == [] or all(call.getTime() > bridge.clock.seconds() + BEAT for call in bridge.clock.getDelayedCalls())  # fmt: skip


def test_what_another_process_asks_for_is_done(bridge):
    wanted = {}
    bridge.store.beat = lambda: succeed(dict(wanted))
    first, second, third = (begin(bridge)["id"] for _ in range(3))
    wanted.update({first: False, second: True})  # the third is deleted
    bridge.clock.advance(BEAT)
    assert [get(bridge, id)["status"] for id in (first, second)] == ["in_progress", "cancelled"]
    assert get(bridge, third)["status"] == "cancelled"
    assert len(bridge.answers) == 1


def test_a_response_that_runs_elsewhere(bridge):
    other = Bridge(store=bridge.store)
    id = begin(other)["id"]
    assert get(bridge, id)["status"] == "in_progress"
    follower = at(bridge, f"/v1/responses/{id}?stream=true")
    bridge.clock.advance(1)
    assert follower.raw == b""
    upstream = other.head()
    upstream.send(TEXT + END)
    upstream.end()
    bridge.clock.advance(1)
    events = parse_events(dechunk(follower)[1])
    check_stream(events)
    assert events[-1]["response"] == get(bridge, id)


def test_a_response_that_runs_elsewhere_is_cancelled_there(bridge):
    other = Bridge(store=bridge.store)
    id = begin(other)["id"]
    asked = []
    bridge.store.cancel = lambda id, owner: succeed(asked.append(id))
    connection = at(bridge, f"/v1/responses/{id}/cancel", "POST")
    assert (asked, connection.raw) == ([id], b"")
    bridge.store.beat = lambda: succeed({id: True})
    other.clock.advance(BEAT)
    bridge.clock.advance(1)
    assert connection.answer().json["status"] == "cancelled"


def test_the_log_tells_how_it_ended(bridge):
    observed = []
    bridge.site.observe.append(lambda record, path, status, seconds: observed.append((path, record.end)))
    with logged() as events:
        begin(bridge)
        upstream = bridge.head()
        upstream.send(TEXT + END)
        upstream.end()
    assert failures(events) == []
    (line,) = [event["text"] for event in events if event["text"].startswith("background response ended")]
    assert "end=completed" in line
    assert observed == [("/v1/responses", ""), ("background", "completed")]
    assert "model=m" in line
