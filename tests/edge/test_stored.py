import gc
import json
from itertools import pairwise
from types import ModuleType

import pytest
from memory_bridge import CODEX, STREAM, Bridge, FakeResponse, dechunk, events_of, last_event
from memory_http import Connection, failures, logged, request
from support import check_stream, parse_events, sse
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock

from chatbridge.store.archive import PATIENCE, Archive
from chatbridge.store.memory import MemoryStore
from chatbridge.web.access import digest

ANSWER = sse([{"choices": [{"delta": {"content": "the answer"}, "finish_reason": "stop"}]}])
ASK = {"model": "m", "input": "hi"}


@pytest.fixture
def bridge():
    return Bridge(store=MemoryStore(lambda: 0.0, 1e12))


def answered(bridge, body=ASK, *headers, data=ANSWER):
    """Return the response as the client got it."""
    connection = bridge.ask(body, *headers)
    upstream = bridge.head()
    upstream.send(data)
    upstream.end()
    return connection.answer().json


def at(bridge, path, method="GET", *headers):
    connection = Connection(bridge.site)
    connection.send(request(method, path, *headers))
    return connection.answer()


def text_of(item):
    (part,) = item["content"]
    return part["text"]


def test_a_conversation_goes_on_by_id(bridge):
    first = answered(bridge, ASK | {"instructions": "be kind"})
    second = answered(bridge, ASK | {"input": "and then?", "previous_response_id": first["id"]})
    third = answered(bridge, ASK | {"input": "at last?", "previous_response_id": second["id"]})
    messages = bridge.client.bodies[-1]["messages"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "hi"), ("assistant", "the answer"), ("user", "and then?"), ("assistant", "the answer"), ("user", "at last?"),
    ]  # fmt: skip
    assert [answer["previous_response_id"] for answer in (first, second, third)] == [None, first["id"], second["id"]]
    assert third["store"] is True


def test_a_call_and_its_result_over_two_requests(bridge):
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    data = sse(
        [{"choices": [{"delta": {"reasoning_content": "hm", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}]
    )
    first = answered(bridge, ASK | {"tools": [tool]}, data=data)
    call_id = first["output"][-1]["call_id"]
    result = [{"type": "function_call_output", "call_id": call_id, "output": "42"}]
    answered(bridge, ASK | {"tools": [tool], "input": result, "previous_response_id": first["id"]})
    user, assistant, tool_message = bridge.client.bodies[-1]["messages"]
    assert user["role"] == "user"
    assert assistant["tool_calls"][0]["id"] == tool_message["tool_call_id"]
    assert tool_message["content"] == "42"


@pytest.mark.parametrize("id", ["resp_none", ""])
@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_id_is_a_404_and_asks_nobody(bridge, stream, id):
    answer = bridge.ask(ASK | {"previous_response_id": id, "stream": stream}).answer()
    assert (answer.status, answer.json["error"]["code"]) == (404, "previous_response_not_found")
    assert answer.json["error"]["param"] == "previous_response_id"
    assert bridge.client.bodies == []


def test_get_delete_and_items(bridge):
    body = [{"type": "message", "role": "user", "content": f"part {n}"} for n in range(5)]
    first = answered(bridge, ASK | {"input": body})
    path = f"/v1/responses/{first['id']}"
    assert at(bridge, path).json == first
    assert at(bridge, path.removeprefix("/v1")).json == first
    listed = at(bridge, f"{path}/input_items?order=asc&limit=2").json
    assert [text_of(item) for item in listed["data"]] == ["part 0", "part 1"]
    assert (listed["object"], listed["has_more"]) == ("list", True)
    more = at(bridge, f"{path}/input_items?order=asc&after={listed['last_id']}").json
    assert [text_of(item) for item in more["data"]] == ["part 2", "part 3", "part 4"]
    assert more["has_more"] is False
    newest = at(bridge, f"{path}/input_items").json
    assert text_of(newest["data"][0]) == "part 4"
    assert at(bridge, path, "DELETE").json == {"id": first["id"], "object": "response", "deleted": True}
    gone = at(bridge, path)
    assert (gone.status, gone.json["error"]["code"]) == (404, "response_not_found")
    assert at(bridge, path, "DELETE").status == 404


def test_the_items_of_a_chain_are_all_that_it_was_answered_from(bridge):
    first = answered(bridge)
    second = answered(bridge, ASK | {"input": "and then?", "previous_response_id": first["id"]})
    third = answered(bridge, ASK | {"input": "at last?", "previous_response_id": second["id"]})
    path = f"/v1/responses/{third['id']}/input_items?order=asc"
    listed = at(bridge, path).json["data"]
    assert [text_of(item) for item in listed] == ["hi", "the answer", "and then?", "the answer", "at last?"]
    assert [listed[1], listed[3]] == [first["output"][0], second["output"][0]]
    assert len({item["id"] for item in listed}) == 5
    assert at(bridge, path).json["data"] == listed
    page = at(bridge, f"{path}&limit=2&after={listed[1]['id']}").json
    assert (page["data"], page["has_more"]) == (listed[2:4], True)
    at(bridge, f"/v1/responses/{first['id']}", "DELETE")
    assert at(bridge, path).json["data"] == listed[2:]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=none", "before=none"])
def test_a_query_that_makes_no_sense(bridge, query):
    first = answered(bridge)
    refused = at(bridge, f"/v1/responses/{first['id']}/input_items?{query}")
    assert refused.status == 400
    assert refused.json["error"]["param"] == query.partition("=")[0]


def test_pages_together_are_the_whole(bridge):
    first = answered(bridge, ASK | {"input": [{"role": "user", "content": str(n)} for n in range(7)]})
    seen, after = [], ""
    while True:
        listed = at(bridge, f"/v1/responses/{first['id']}/input_items?order=asc&limit=3{after}").json
        seen += [int(text_of(item)) for item in listed["data"]]
        after = f"&after={listed['last_id']}"
        if not listed["has_more"]:
            break
    assert seen == list(range(7))
    assert all(a < b for a, b in pairwise(seen))


def test_what_is_not_stored(bridge):
    kept = answered(bridge, ASK | {"store": False})
    assert kept["store"] is False
    assert at(bridge, f"/v1/responses/{kept['id']}").status == 404


def test_a_stream_is_stored_and_so_is_its_failure(bridge):
    connection = bridge.ask(STREAM, CODEX)
    upstream = bridge.head()
    upstream.send(b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n')
    upstream.end()
    (line,) = [
        line for line in connection.raw.split(b"\n") if b'"response.failed"' in line and line.startswith(b"data")
    ]
    failed = json.loads(line[6:])["response"]
    assert at(bridge, f"/v1/responses/{failed['id']}").json == failed


def test_an_http_error_is_not_stored(bridge):
    bridge.ask(ASK)
    upstream = bridge.head(FakeResponse(400))
    upstream.send(b"{}")
    upstream.end()
    assert len(bridge.store._kept) == 0


def test_clients_do_not_see_each_other():
    tokens = (("ann", digest("cb-ann-0123456789")), ("bob", digest("cb-bob-0123456789")))
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12), client_tokens=tokens)
    ann, bob = "Authorization: Bearer cb-ann-0123456789", "Authorization: Bearer cb-bob-0123456789"
    first = answered(bridge, ASK, ann)
    assert at(bridge, f"/v1/responses/{first['id']}", "GET", ann).status == 200
    assert at(bridge, f"/v1/responses/{first['id']}", "GET", bob).status == 404
    assert at(bridge, f"/v1/responses/{first['id']}", "DELETE", bob).status == 404
    assert bridge.ask(ASK | {"previous_response_id": first["id"]}, bob).answer().status == 404


def test_cancel_is_for_the_background_only(bridge):
    first = answered(bridge)
    refused = at(bridge, f"/v1/responses/{first['id']}/cancel", "POST")
    assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_request")
    assert at(bridge, "/v1/responses/none/cancel", "POST").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/responses/a/b", 404, None), ("PUT", "/v1/responses/a/b", 404, None),
        ("GET", "/v1/responses/%2e", 404, None),
        ("POST", "/v1/responses/a", 405, "GET, HEAD, DELETE"), ("PUT", "/v1/responses/a", 405, "GET, HEAD, DELETE"),
        ("DELETE", "/v1/responses/a/input_items", 405, "GET, HEAD"),
        ("GET", "/v1/responses/a/cancel", 405, "POST"), ("PATCH", "/v1/responses/a/cancel", 405, "POST"),
    ],
)  # fmt: skip
def test_other_paths_and_methods(bridge, method, path, status, allow):
    answer = at(bridge, path, method)
    assert (answer.status, answer.headers.get("allow")) == (status, allow and [allow])


def replayed(bridge, id, query="?stream=true"):
    """Return the bytes of the events."""
    connection = Connection(bridge.site)
    connection.send(request("GET", f"/v1/responses/{id}{query}"))
    head, body, whole = dechunk(connection)
    assert head.startswith("http/1.1 200")
    assert "content-type: text/event-stream" in head
    assert whole
    return body


def streamed(bridge, *texts):
    """Return the bytes of a stream of *texts*, and the response's id."""
    connection = bridge.ask(STREAM)
    upstream = bridge.head()
    for text in texts:
        upstream.send(sse([{"choices": [{"delta": {"content": text}}]}], done=False))
    upstream.send(sse([{"choices": [{"delta": {}, "finish_reason": "stop"}]}]))
    upstream.end()
    return dechunk(connection)[1], last_event(connection)["response"]["id"]


def test_a_stream_is_given_again_to_the_byte_from_any_event_on(bridge):
    sent, id = streamed(bridge, *(f"w\u00f6rd {number} " for number in range(30)))
    assert replayed(bridge, id) == sent
    events = sent.split(b"\n\n")[:-1]
    assert len(events) > 30
    for after in range(-1, len(events)):
        query = f"?stream=true&starting_after={after}&include_obfuscation=false&include[]=reasoning.encrypted_content"
        assert replayed(bridge, id, query) == b"".join(event + b"\n\n" for event in events[after + 1 :])


def test_what_was_not_streamed_is_told_as_events(bridge):
    first = answered(bridge)
    events = parse_events(replayed(bridge, first["id"]))
    check_stream(events)
    assert events[-1]["response"] == first
    assert "".join(event["delta"] for event in events if "delta" in event) == "the answer"
    late = parse_events(replayed(bridge, first["id"], "?stream=true&starting_after=500"))
    assert [(event["type"], event["sequence_number"]) for event in late] == [("response.completed", 501)]


def test_head_of_a_stream_has_no_events(bridge):
    _, id = streamed(bridge, *("word " * 100 for _ in range(300)))
    connection = Connection(bridge.site)
    for _ in range(2):
        connection.send(request("HEAD", f"/v1/responses/{id}?stream=true"))
    assert [answer.status for answer in connection.answers(head_only=True)] == [200, 200]


@pytest.mark.parametrize("query", ["stream=maybe", "stream=true&starting_after=x", "stream=true&starting_after=-5"])
def test_a_stream_that_makes_no_sense(bridge, query):
    first = answered(bridge)
    refused = at(bridge, f"/v1/responses/{first['id']}?{query}")
    assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_value")
    assert at(bridge, "/v1/responses/none?stream=true").status == 404


class Broken:
    def put(self, stored, addition=None):
        return fail(RuntimeError("disk full"))

    def get(self, id, owner):
        return fail(RuntimeError("disk gone"))


def test_a_store_that_fails_spoils_no_answer():
    bridge = Bridge(store=Broken())
    answer = answered(bridge)
    assert (answer["status"], answer["store"]) == ("completed", False)
    refused = at(bridge, "/v1/responses/resp_1")
    assert (refused.status, refused.json["error"]["code"]) == (503, "store_error")


class Hanging:
    """Stores when told to."""

    def __init__(self):
        self.putting = []
        self.deleted = []

    def put(self, stored, addition=None):
        self.putting.append(Deferred())
        return self.putting[-1]

    def delete(self, id, owner):
        self.deleted.append(id)
        return succeed(True)


def ask_hanging(body, *, answer=ANSWER):
    bridge = Bridge(store=Hanging())
    connection = bridge.ask(body)
    upstream = bridge.head()
    upstream.send(answer)
    upstream.end()
    return bridge, connection


def test_the_end_of_an_answer_leaves_when_it_is_stored():
    bridge, connection = ask_hanging(STREAM)
    kinds = [event["type"] for event in events_of(connection)]
    assert kinds[-1] == "response.output_item.done"  # what comes before the end does not wait
    assert len(bridge.answers) == 1
    bridge.store.putting[0].callback(None)
    assert last_event(connection)["type"] == "response.completed"
    assert last_event(connection)["response"]["store"] is True
    assert len(bridge.answers) == 0
    bridge.clock.advance(PATIENCE)
    assert bridge.store.deleted == []


def test_a_whole_answer_leaves_when_it_is_stored():
    bridge, connection = ask_hanging(ASK)
    assert connection.raw == b""
    bridge.store.putting[0].callback(None)
    assert connection.answer().json["store"] is True


def test_what_is_not_to_be_stored_does_not_wait():
    bridge, connection = ask_hanging(STREAM | {"store": False})
    assert bridge.store.putting == []
    assert last_event(connection)["response"]["store"] is False


@pytest.mark.parametrize("stream", [True, False])
def test_a_store_that_hangs_holds_an_answer_for_a_while_only(stream):
    bridge, connection = ask_hanging(ASK | {"stream": stream})
    with logged() as events:
        bridge.clock.advance(PATIENCE)
    answer = last_event(connection)["response"] if stream else connection.answer().json
    assert (answer["status"], answer["store"]) == ("completed", False)
    assert "a response was not stored: the store did not answer in time" in [event["text"] for event in events]
    assert bridge.store.deleted == []
    bridge.store.putting[0].callback(None)  # what was said is made true
    assert bridge.store.deleted == [answer["id"]]


def test_a_client_that_leaves_while_its_answer_is_stored():
    bridge, connection = ask_hanging(STREAM)
    connection.lose()
    with logged() as events:
        bridge.store.putting[0].callback(None)
    assert failures(events) == []
    assert len(bridge.answers) == 0


def test_the_drain_limit_does_not_wait_for_the_store():
    bridge, connection = ask_hanging(STREAM)
    bridge.answers.fail_all("stopped")
    assert last_event(connection)["response"]["store"] is False
    assert len(bridge.answers) == 0


def test_what_is_not_stored_leaves_nothing_in_memory():
    marker = "leaves-nothing-4711"
    bridge = Bridge(store=MemoryStore(lambda: 0.0, 1e12))
    for body in (STREAM, ASK):
        connection = bridge.ask(body | {"input": marker, "store": False, "metadata": {"k": marker}})
        upstream = bridge.head()
        upstream.send(ANSWER.replace(b"the answer", marker.encode()))
        upstream.end()
        assert marker.encode() in connection.raw
    bridge.client.bodies.clear()
    bridge.client.pending.clear()
    bridge.clock.advance(3600)
    connection.lose()
    del connection, upstream, body
    gc.collect()
    assert list(holders(marker, bridge)) == []
    kept = answered(bridge, ASK | {"input": marker})
    assert kept["store"] is True
    assert list(holders(marker, bridge)) != []


def holders(marker, root):
    """Yield what holds *marker*, of all that can be reached from *root*."""
    seen, waiting = set(), [root]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, type | ModuleType):
            continue
        seen.add(id(held))
        if (isinstance(held, str) and marker in held) or (isinstance(held, bytes) and marker.encode() in held):
            yield held
        waiting += gc.get_referents(held)


def test_a_store_that_hangs_is_a_503_in_time():
    bridge = Bridge(store=Hanging())
    bridge.store.get = bridge.store.chain = lambda id, owner: Deferred()
    connection = Connection(bridge.site)
    connection.send(request("GET", "/v1/responses/resp_1"))
    asking = bridge.ask(ASK | {"previous_response_id": "resp_1"})
    bridge.clock.advance(PATIENCE)
    for refused in (connection.answer(), asking.answer()):
        assert (refused.status, refused.json["error"]["code"]) == (503, "store_error")
    assert bridge.client.bodies == []


def test_the_archive_knows_whether_its_store_works():
    class Pinged(MemoryStore):
        down = False

        def ping(self):
            return fail(RuntimeError("gone")) if self.down else succeed(None)

    store, clock = Pinged(lambda: 0.0, 1e12), MemoryReactorClock()
    archive = Archive(store, clock)
    assert archive.trouble() == ""
    store.down = True
    assert archive.trouble() == ""  # not asked again at once
    clock.advance(1)
    assert archive.trouble() == "the store of responses does not answer"
    store.down = False
    clock.advance(1)
    assert archive.trouble() == ""
    store.ping = Deferred
    clock.advance(1)
    archive.trouble()
    clock.advance(PATIENCE)
    assert archive.trouble() != ""


def test_a_client_that_leaves_while_the_store_reads_asks_nobody():
    class Slow:
        asked = Deferred()

        def get(self, id, owner):
            return self.asked

    bridge = Bridge(store=Slow())
    connection = bridge.ask(ASK | {"previous_response_id": "resp_1"})
    connection.lose()
    Slow.asked.callback(None)
    assert bridge.client.bodies == []


def test_without_a_store():
    bridge = Bridge()
    assert answered(bridge)["store"] is False
    assert bridge.ask(ASK | {"previous_response_id": "resp_1"}).answer().status == 404
    assert at(bridge, "/v1/responses/resp_1").status == 404
