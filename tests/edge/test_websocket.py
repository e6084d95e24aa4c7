"""WebSockets on /v1/responses, in memory: the handshake, frames, limits, and answers over them."""

import base64
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_bridge import Bridge, FakeResponse
from memory_http import Connection as HttpConnection
from memory_http import failures, logged, post, read_answers
from support import call_delta, check_stream, delta, sse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from chatbridge.service.settings import Settings
from chatbridge.service.tap import build
from chatbridge.store.memory import MemoryStore
from chatbridge.web import sockets
from chatbridge.web.access import digest
from chatbridge.web.channel import BridgeChannel
from chatbridge.web.websocket import AGE, CLOSE_SECONDS, PING_EVERY, frame_head

CODEX = "originator: codex_exec"
ASK = {"type": "response.create", "model": "m", "input": "hello"}
TOKENS = {"client_tokens": (("ann", digest("ann's")), ("bob", digest("bob's")))}


def handshake(*headers, path="/v1/responses", version="13", http="HTTP/1.1"):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} {http}", "Host: 127.0.0.1:8787", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}", f"Sec-WebSocket-Key: {key}", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def refusal(bridge, *headers, **options):
    connection = HttpConnection(bridge.site)
    connection.send(handshake(*headers, **options))
    (answer,) = read_answers(connection.raw)
    return answer


class Client:
    """A WebSocket to *bridge*."""

    def __init__(self, bridge, *headers, path="/v1/responses", early=b""):
        self.bridge = bridge
        self.http = HttpConnection(bridge.site)
        self.http.send(handshake(*headers, path=path) + early)
        self.head, _, rest = self.http.raw.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        deflate = PerMessageDeflate()
        if b"permessage-deflate" in self.head:
            deflate.finalize(self.head.decode().partition("permessage-deflate")[2].partition("\r\n")[0])
            deflate._enabled = True
        self.connection = Connection(ConnectionType.CLIENT, [deflate])
        self.seen = len(self.http.raw) - len(rest)
        self.parts = []
        self.closed = None

    @property
    def transport(self):
        return self.http.transport

    def send(self, value):
        self.frame(TextMessage(data=value if isinstance(value, str) else json.dumps(value)))

    def frame(self, event):
        self.http.send(self.connection.send(event))

    def events(self):
        """What came since the last time: JSON of messages, other events as they are."""
        data, self.seen = self.http.raw[self.seen :], len(self.http.raw)
        found = []
        if self.connection.state is not ConnectionState.CLOSED:
            self.connection.receive_data(data)
        for event in self.connection.events():
            if isinstance(event, TextMessage):
                self.parts.append(event.data)
                if event.message_finished:
                    found.append(json.loads("".join(self.parts)))
                    self.parts = []
            elif isinstance(event, CloseConnection):
                self.closed = event.code
            else:
                found.append(event)
        return found

    def types(self):
        return [event["type"] for event in self.events()]


def answer(bridge, text="Hello", *, finish="stop"):
    response = bridge.head()
    response.send(sse([delta(content=text), delta(finish_reason=finish)]))
    response.end()


def turn(client, value=ASK, text="Hello"):
    """One whole turn; return its events."""
    client.send(value)
    answer(client.bridge, text)
    return client.events()


# --- the handshake


def test_the_handshake_answers_the_key():
    client = Client(Bridge())
    assert b"Sec-WebSocket-Accept" in client.head.title() or b"sec-websocket-accept" in client.head.lower()
    assert b"server: chatbridge" in client.head.lower()
    assert b"permessage-deflate" not in client.head


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/responses/", "/v1/responses?api-version=1"])
def test_the_paths(path):
    assert turn(Client(Bridge(), path=path))[-1]["type"] == "response.completed"


def test_what_is_no_handshake():
    bridge = Bridge()
    for options, status in [({"version": "12"}, 426), ({"http": "HTTP/1.0"}, 400)]:
        assert refusal(bridge, **options).status == status
    assert refusal(bridge, version="12").header("sec-websocket-version") == "13"
    assert refusal(bridge, "Sec-WebSocket-Extensions: \xe9").status == 400
    assert len(bridge.sockets) == 0


def test_a_get_that_asks_for_nothing_is_still_a_405():
    connection = HttpConnection(Bridge().site)
    connection.send(b"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.answer().status == 405


def test_web_pages_are_kept_out():
    assert refusal(Bridge(), "Origin: https://evil.example").status == 403
    assert refusal(Bridge(), "Sec-Fetch-Site: cross-site").status == 403
    Client(Bridge(allow_origins=("https://good.example",)), "Origin: https://good.example")


def test_a_token_is_needed_where_there_are_tokens():
    bridge = Bridge(**TOKENS)
    for headers in [(), ("Authorization: Bearer nobody's",), ("Authorization: Bearer ann's",) * 2]:
        assert refusal(bridge, *headers).status == 401
    Client(bridge, "Authorization: Bearer ann's")


def test_a_client_has_only_so_many():
    bridge = Bridge(client_websockets=1, **TOKENS)
    ann = Client(bridge, "Authorization: Bearer ann's")
    Client(bridge, "Authorization: Bearer bob's")
    refused = refusal(bridge, "Authorization: Bearer ann's")
    assert (refused.status, refused.header("retry-after")) == (429, "1")
    assert refusal(bridge, "Authorization: Bearer ann's", CODEX).status == 426  # Codex uses POST then
    ann.http.lose()
    Client(bridge, "Authorization: Bearer ann's")
    assert len(bridge.sockets) == 2


def test_without_the_library_there_is_a_426(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not sockets.available()
    daemon = build(Settings(), MemoryReactorClock())
    (drain,) = [service for service in daemon if hasattr(service, "_connections")]
    connection = HttpConnection(drain._connections.wrappedFactory)
    connection.send(handshake(CODEX))
    answer = connection.answer()
    assert (answer.status, answer.header("upgrade")) == (426, "HTTP/1.1")


def test_frames_may_come_with_the_head():
    raw = Connection(ConnectionType.CLIENT).send(TextMessage(data=json.dumps({**ASK, "generate": False})))
    client = Client(Bridge(), early=raw)
    assert client.types() == ["response.created", "response.completed"]


# --- answers


def test_an_answer_has_the_events_of_a_stream():
    client = Client(Bridge())
    events = turn(client)
    check_stream(events)
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert len(client.bridge.answers) == 0
    assert client.bridge.client.bodies[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_it_begins_before_the_upstream_has_said_anything():
    client = Client(Bridge())
    client.send(ASK)
    assert client.events() == []
    client.bridge.clock.advance(2.1)
    assert client.types() == ["response.created", "response.in_progress"]


def test_many_deltas_are_one_message_each():
    client = Client(Bridge())
    client.send(ASK)
    bridge = client.bridge
    response = bridge.head()
    client.events()
    response.send(sse([delta(content=f"w{n} ") for n in range(50)], done=False))
    deltas = [event["delta"] for event in client.events() if event["type"] == "response.output_text.delta"]
    assert deltas == [f"w{n} " for n in range(50)]


def test_a_conversation_goes_on():
    client = Client(Bridge())
    first = turn(client)[-1]["response"]["id"]
    second = turn(client, {**ASK, "previous_response_id": first, "input": "again"}, "Yes")[-1]["response"]
    assert second["previous_response_id"] == first
    assert [m["content"] for m in client.bridge.client.bodies[-1]["messages"]] == ["hello", "Hello", "again"]
    third = turn(client, {**ASK, "previous_response_id": second["id"]})
    assert third[-1]["type"] == "response.completed"


def test_a_prewarm_asks_nobody():
    client = Client(Bridge())
    client.send({**ASK, "generate": False})
    warmed = client.events()[-1]["response"]["id"]
    assert client.bridge.client.bodies == []
    turn(client, {**ASK, "previous_response_id": warmed, "input": "go"})
    assert [m["content"] for m in client.bridge.client.bodies[-1]["messages"]][-1] == "go"


def test_tools_stay_in_the_history():
    """Codex's default model has its tools in the first message, among the items."""
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    client = Client(Bridge())
    items = [{"type": "additional_tools", "role": "developer", "tools": tools}, {"role": "user", "content": "go"}]
    first = turn(client, {**ASK, "input": items})[-1]["response"]["id"]
    turn(client, {**ASK, "previous_response_id": first})
    assert client.bridge.client.bodies[-1]["tools"][0]["function"]["name"] == "f"


def test_a_compaction_is_recognised_in_the_message():
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    client = Client(Bridge(), CODEX)
    metadata = {"x-codex-turn-metadata": '{"request_kind":"compaction"}'}
    turn(client, {**ASK, "tools": tools, "client_metadata": metadata})
    assert "tools" not in client.bridge.client.bodies[-1]
    turn(client, {**ASK, "tools": tools})
    assert "tools" in client.bridge.client.bodies[-1]


def test_the_turn_state_goes_to_codex_and_comes_back():
    client = Client(Bridge(), CODEX)
    client.send(ASK)
    client.bridge.head(FakeResponse(headers={b"X-Codex-Turn-State": [b"state"]}))
    first, *_ = client.events()
    assert first == {"type": "response.metadata", "headers": {"x-codex-turn-state": "state"}}
    other = Client(client.bridge)
    other.send(ASK)
    client.bridge.head(FakeResponse(headers={b"X-Codex-Turn-State": [b"state"]}))
    assert other.types() == ["response.created", "response.in_progress"]
    third = Client(client.bridge, CODEX)
    third.send({**ASK, "client_metadata": {"x-codex-turn-state": "state"}})
    assert client.bridge.client.headers[-1]["x-codex-turn-state"] == "state"


def test_messages_wait_their_turn():
    client = Client(Bridge())
    client.send({**ASK, "input": "one"})
    client.send({**ASK, "input": "two"})
    client.send("{")
    assert len(client.bridge.client.bodies) == 1
    answer(client.bridge)
    assert client.types()[-1] == "response.completed"
    assert client.bridge.client.bodies[-1]["messages"][0]["content"] == "two"
    answer(client.bridge)
    assert client.types()[-2:] == ["response.completed", "error"]


def test_too_many_messages_are_left_unread():
    client = Client(Bridge())
    for _ in range(20):
        client.send(ASK)
    assert client.transport.producerState == "paused"
    for _ in range(19):
        answer(client.bridge)
    assert client.transport.producerState == "producing"
    answer(client.bridge)
    assert client.types().count("response.completed") == 20


def test_a_binary_message_is_read_like_text():
    client = Client(Bridge())
    client.frame(BytesMessage(data=json.dumps(ASK).encode()))
    answer(client.bridge)
    assert client.types()[-1] == "response.completed"


def test_a_message_in_pieces():
    client = Client(Bridge())
    text = json.dumps(ASK)
    for piece, last in [(text[:10], False), ("", False), (text[10:], True)]:
        client.frame(TextMessage(data=piece, message_finished=last))
    answer(client.bridge)
    assert client.types()[-1] == "response.completed"


def test_compressed_messages_both_ways():
    client = Client(Bridge(), "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert b"permessage-deflate" in client.head
    text = "ein wenig Text " * 1000
    before = len(client.http.raw)
    assert turn(client, {**ASK, "input": text}, text)[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert client.bridge.client.bodies[0]["messages"][0]["content"] == text
    assert len(client.http.raw) - before < 10_000


def test_nothing_is_compressed_on_the_same_machine(monkeypatch):
    monkeypatch.setattr(BridgeChannel, "getPeer", lambda channel: IPv4Address("TCP", "127.0.0.1", 1))
    assert b"permessage-deflate" not in Client(Bridge(), "Sec-WebSocket-Extensions: permessage-deflate").head


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_frames_are_those_of_the_library(size):
    text = "ü" * (size // 2) + "x" * (size % 2)
    made = Connection(ConnectionType.SERVER).send(TextMessage(data=text))
    assert frame_head(size) + text.encode() == made


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=5), st.booleans())
def test_any_bytes_are_survived(data, cuts, compressed):
    extra = ["Sec-WebSocket-Extensions: permessage-deflate"] * compressed
    with logged() as events:
        client = Client(Bridge(), *extra)
        client.frame(TextMessage(data="{"))
        for cut in cuts:
            client.http.send(data[:cut])
            data = data[cut:]
        client.http.send(data)
        client.http.lose()
    assert failures(events) == []
    assert client.bridge.clock.getDelayedCalls() == []


# --- what goes wrong


def error_answer(bridge, status, error, headers=None):
    response = bridge.head(FakeResponse(status, headers))
    response.send(json.dumps({"error": error}).encode())
    response.end()


def test_an_upstream_error_keeps_its_status():
    client = Client(Bridge())
    client.send(ASK)
    error_answer(client.bridge, 429, {"message": "slow down"}, {b"Retry-After": [b"7"]})
    (event,) = client.events()
    assert (event["type"], event["status"]) == ("error", 429)
    assert event["headers"] == {"retry-after": "7"}
    assert event["error"]["code"] == "rate_limit_exceeded"
    assert turn(client)[-1]["type"] == "response.completed"


def test_codex_is_told_inside_the_answer():
    client = Client(Bridge(), CODEX)
    client.send(ASK)
    error_answer(client.bridge, 401, {"message": "bad key"})
    events = client.events()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "invalid_prompt"


def test_a_failed_continuation_is_forgotten():
    client = Client(Bridge())
    first = turn(client)[-1]["response"]["id"]
    client.send({**ASK, "previous_response_id": first})
    error_answer(client.bridge, 500, {"message": "down"})
    assert client.types() == ["error"]
    client.send({**ASK, "previous_response_id": first})
    (event,) = client.events()
    assert event["error"]["code"] == "previous_response_not_found"


def test_a_wrong_request_is_an_error_event():
    client = Client(Bridge())
    client.send({**ASK, "temperature": "hot"})
    (event,) = client.events()
    assert (event["status"], event["error"]["param"]) == (400, "temperature")
    client.send({**ASK, "input": [{"type": "message", "role": "nobody", "content": "x"}]})
    (event,) = client.events()
    assert event["error"]["param"] == "input[0].role"


def test_our_own_fault_is_told(monkeypatch):
    bridge = Bridge()
    client = Client(bridge)
    monkeypatch.setattr(bridge.client, "bodies", None)
    with logged() as events:
        client.send(ASK)
    assert client.types() == ["error"]
    assert failures(events)


def test_limits_count_answers_not_connections():
    bridge = Bridge(client_streams=1)
    one, two = Client(bridge), Client(bridge)
    one.send(ASK)
    two.send(ASK)
    (event,) = two.events()
    assert (event["status"], event["headers"]) == (429, {"retry-after": "1"})
    answer(bridge)
    assert turn(two)[-1]["type"] == "response.completed"


# --- the store


def test_a_response_is_stored_unless_the_client_says_no():
    store = MemoryStore(lambda: 0, 1000)
    bridge = Bridge(store)
    first = turn(Client(bridge))[-1]["response"]
    assert first["store"] is True
    other = Client(bridge)
    second = turn(other, {**ASK, "previous_response_id": first["id"], "input": "again"})[-1]["response"]
    assert [m["content"] for m in bridge.client.bodies[-1]["messages"]] == ["hello", "Hello", "again"]
    third = turn(Client(bridge), {**ASK, "previous_response_id": second["id"], "input": "more"})
    assert len(bridge.client.bodies[-1]["messages"]) == 5
    assert third[-1]["type"] == "response.completed"
    kept = turn(other, {**ASK, "store": False})[-1]["response"]
    assert kept["store"] is False
    unknown = Client(bridge)
    for body in ({"previous_response_id": kept["id"]}, {"previous_response_id": first["id"], "store": False}):
        unknown.send({**ASK, **body})
        (event,) = unknown.events()
        assert (event["status"], event["error"]["code"]) == (400, "previous_response_not_found")


def test_what_goes_on_from_an_unstored_response_is_stored_whole():
    store = MemoryStore(lambda: 0, 1000)
    bridge = Bridge(store)
    client = Client(bridge)
    first = turn(client, {**ASK, "store": False})[-1]["response"]["id"]
    second = turn(client, {**ASK, "previous_response_id": first, "input": "again"})[-1]["response"]["id"]
    turn(Client(bridge), {**ASK, "previous_response_id": second, "input": "more"})
    contents = [m["content"] for m in bridge.client.bodies[-1]["messages"]]
    assert contents == ["hello", "Hello", "again", "Hello", "more"]


def test_each_client_has_its_own_responses():
    bridge = Bridge(MemoryStore(lambda: 0, 1000), **TOKENS)
    first = turn(Client(bridge, "Authorization: Bearer ann's"))[-1]["response"]["id"]
    bob = Client(bridge, "Authorization: Bearer bob's")
    bob.send({**ASK, "previous_response_id": first})
    (event,) = bob.events()
    assert event["error"]["code"] == "previous_response_not_found"


def conversation_of(bridge, items=()):
    created = HttpConnection(bridge.site)
    created.send(post(json.dumps({"items": items}).encode(), path="/v1/conversations"))
    (made,) = read_answers(created.raw)
    return made.json["id"]


def contents(bridge):
    return [m["content"] for m in bridge.client.bodies[-1]["messages"]]


def test_an_answer_goes_on_from_a_conversation_and_is_added_to_it():
    store = MemoryStore(lambda: 0, 1e12)
    bridge = Bridge(store)
    id = conversation_of(bridge, [{"role": "user", "content": "I am Ann."}])
    client = Client(bridge)
    response = turn(client, {**ASK, "conversation": id})[-1]["response"]
    assert contents(bridge) == ["I am Ann.", "hello"]
    assert response["conversation"] == {"id": id}
    turn(Client(bridge), {**ASK, "conversation": {"id": id}, "input": "again"})
    assert contents(bridge) == ["I am Ann.", "hello", "Hello", "again"]
    # As with POST: the response has its own input only.
    turn(client, {**ASK, "previous_response_id": response["id"], "input": "more"})
    assert contents(bridge) == ["hello", "Hello", "more"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"conversation": "conv_none"}, 404, "conversation_not_found"),
        ({"conversation": 5}, 400, "invalid_type"),
        ({"conversation": "conv_none", "store": False}, 400, "invalid_value"),
        ({"conversation": "conv_none", "generate": False}, 400, "unsupported_parameter"),
        ({"conversation": "conv_none", "previous_response_id": "LATEST"}, 400, "mutually_exclusive_parameters"),
        ({"previous_response_id": ""}, 400, "previous_response_not_found"),
        ({"input": [{"type": "item_reference", "id": "msg_none"}]}, 404, "item_not_found"),
    ],
)
def test_what_cannot_be_gone_on_from(fields, status, code):
    bridge = Bridge(MemoryStore(lambda: 0, 1e12))
    client = Client(bridge)
    latest = turn(client)[-1]["response"]["id"]
    client.send({**ASK, **{key: latest if value == "LATEST" else value for key, value in fields.items()}})
    (event,) = client.events()
    assert (event["type"], event["status"], event["error"]["code"]) == ("error", status, code)
    assert turn(client)[-1]["type"] == "response.completed"


def test_a_reference_stands_for_an_item_of_any_answer_of_the_client():
    bridge = Bridge(MemoryStore(lambda: 0, 1e12))
    (message,) = turn(Client(bridge))[-1]["response"]["output"]
    reference = {"type": "item_reference", "id": message["id"]}
    client = Client(bridge)
    given = [{"role": "user", "content": "one"}, reference, {"role": "user", "content": "two"}]
    second = turn(client, {**ASK, "input": given})[-1]["response"]["id"]
    assert contents(bridge) == ["one", "Hello", "two"]
    # It is kept as what it stands for, here and in the store; what is there already is not said twice.
    turn(client, {**ASK, "previous_response_id": second, "input": [reference, {"role": "user", "content": "more"}]})
    assert contents(bridge) == ["one", "Hello", "two", "Hello", "more"]
    turn(Client(bridge), {**ASK, "previous_response_id": second, "input": "more"})
    assert contents(bridge) == ["one", "Hello", "two", "Hello", "more"]


def test_a_result_may_come_with_a_reference_to_its_call():
    bridge = Bridge(MemoryStore(lambda: 0, 1e12))
    client = Client(bridge)
    client.send({**ASK, "tools": [{"type": "function", "name": "f", "parameters": {}}]})
    response = bridge.head()
    response.send(sse([call_delta(id="call_1", name="f", arguments="{}"), delta(finish_reason="tool_calls")]))
    response.end()
    (call,) = client.events()[-1]["response"]["output"]
    first = turn(client, {**ASK, "store": False})[-1]["response"]["id"]
    given = [
        {"type": "item_reference", "id": call["id"]},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ]
    assert turn(client, {**ASK, "previous_response_id": first, "input": given})[-1]["type"] == "response.completed"
    *_, asked, told = bridge.client.bodies[-1]["messages"]
    assert (asked["tool_calls"][0]["id"], told["content"]) == ("call_1", "7")


def test_the_client_may_leave_while_its_conversation_is_looked_for():
    class Slow(MemoryStore):
        def items(self, id, owner):
            self.asked = Deferred()
            return self.asked

    store = Slow(lambda: 0, 1000)
    bridge = Bridge(store, client_streams=1)
    client = Client(bridge)
    client.send({**ASK, "conversation": "conv_x"})
    client.http.lose()
    with logged() as events:
        store.asked.callback([])
    assert failures(events) == []
    assert bridge.client.bodies == []
    assert turn(Client(bridge))[-1]["type"] == "response.completed"


class Slow(MemoryStore):
    """Answers when told to."""

    def __init__(self):
        super().__init__(lambda: 0, 1000)
        self.asked = Deferred()

    def chain(self, id, owner):
        return self.asked


def test_the_client_may_leave_while_the_store_is_asked():
    store = Slow()
    client = Client(Bridge(store))
    client.send({**ASK, "previous_response_id": "resp_x"})
    client.http.lose()
    with logged() as events:
        store.asked.callback([])
    assert failures(events) == []


def test_a_store_that_fails():
    store = Slow()
    client = Client(Bridge(store))
    client.send({**ASK, "previous_response_id": "resp_x"})
    with logged():
        store.asked.errback(OSError("disk"))
    (event,) = client.events()
    assert (event["status"], event["error"]["code"]) == (503, "store_error")
    assert turn(client)[-1]["type"] == "response.completed"


# --- the connection


def test_pings_are_answered():
    client = Client(Bridge())
    client.frame(Ping(payload=b"x"))
    assert client.events() == [Pong(payload=bytearray(b"x"))]


def test_a_dead_client_is_noticed():
    client = Client(Bridge())
    for _ in range(2):
        client.bridge.clock.advance(PING_EVERY)
        assert client.events() == [Ping(payload=bytearray())]
    client.bridge.clock.advance(PING_EVERY)
    assert client.transport.disconnected or client.transport.disconnecting


def test_a_living_client_stays():
    client = Client(Bridge())
    for _ in range(10):
        client.bridge.clock.advance(PING_EVERY)
        client.frame(Pong())
    assert not client.http.closing


def test_a_silent_upstream_does_not_end_it():
    client = Client(Bridge())
    client.send(ASK)
    client.bridge.clock.advance(2.1)
    client.events()
    client.bridge.clock.advance(16)
    assert "response.in_progress" in client.types()


def test_who_leaves_cancels_the_upstreams_request():
    client = Client(Bridge())
    client.send(ASK)
    with logged() as events:
        client.http.lose()
    assert client.bridge.client.cancelled == 1
    assert len(client.bridge.answers) == len(client.bridge.sockets) == 0
    (line,) = [event["access"] for event in events if "access" in event]
    assert (line.end, line.transport) == ("client_gone", "websocket")
    assert client.bridge.clock.getDelayedCalls() == []


def test_a_slow_reader_pauses_the_upstream():
    client = Client(Bridge())
    client.send(ASK)
    response = client.bridge.head()
    client.http.channel.pauseProducing()
    assert response.transport.log == ["pause"]
    client.http.channel.resumeProducing()
    assert response.transport.log == ["pause", "resume"]


def test_nothing_is_begun_for_a_slow_reader():
    client = Client(Bridge())
    client.http.channel.pauseProducing()
    client.send(ASK)
    client.frame(Ping())
    assert client.bridge.client.bodies == []
    client.http.channel.resumeProducing()
    assert len(client.bridge.client.bodies) == 1


def test_an_overlong_message():
    client = Client(Bridge(max_request_bytes=1000))
    client.send({**ASK, "input": "x" * 2000})
    assert client.events() == []
    assert client.closed == 1009


def test_a_bomb_goes_off_in_steps():
    client = Client(Bridge(max_request_bytes=1000), "Sec-WebSocket-Extensions: permessage-deflate")
    client.send({**ASK, "input": "x" * 5_000_000})
    client.events()
    assert client.closed == 1009


def test_broken_frames():
    client = Client(Bridge())
    client.http.send(b"\x81\x05hello")  # not masked
    client.events()
    assert client.closed == 1002
    assert client.http.closing
    client = Client(Bridge())
    client.frame(BytesMessage(data=b""))
    client.http.send(b"\x81\x81\0\0\0\0\xff")  # not UTF-8
    client.events()
    assert client.closed == 1007


def test_the_client_closes():
    client = Client(Bridge())
    client.frame(CloseConnection(code=1000))
    client.events()
    assert client.closed == 1000
    assert client.http.closing


def test_an_old_connection_ends_when_it_is_idle():
    client = Client(Bridge())
    client.bridge.clock.advance(AGE - 1)
    client.send(ASK)
    client.bridge.clock.advance(2)
    assert client.closed is None
    answer(client.bridge)
    events = client.events()
    assert events[-2]["type"] == "response.completed"
    assert events[-1]["error"]["code"] == "websocket_connection_limit_reached"
    assert client.closed == 1000


def test_codex_is_not_told_that_it_is_old():
    """It would read that as the beginning of its next answer."""
    client = Client(Bridge(), CODEX)
    client.bridge.clock.advance(AGE)
    assert [event for event in client.events() if isinstance(event, dict)] == []
    assert client.closed == 1000


def test_after_a_reload_clients_have_to_come_again():
    bridge = Bridge()
    idle, busy = Client(bridge), Client(bridge)
    busy.send(ASK)
    bridge.sockets.end()
    idle.events()
    assert idle.closed == 1012
    busy.send({**ASK, "input": "later"})
    assert busy.events() == []
    answer(bridge)
    assert busy.types()[-1] == "response.completed"
    assert busy.closed == 1012
    assert len(bridge.client.bodies) == 1


def test_who_does_not_answer_a_close_is_cut_off():
    client = Client(Bridge())
    client.bridge.sockets.end()
    assert not client.http.closing
    client.bridge.clock.advance(CLOSE_SECONDS)
    assert client.http.closing


def test_the_channel_says_goodbye():
    client = Client(Bridge())
    client.http.channel.loseConnection()
    client.events()
    assert client.closed == 1001


# --- the log


def test_each_answer_is_a_line_in_the_log():
    with logged() as events:
        client = Client(Bridge(**TOKENS), "Authorization: Bearer ann's")
        turn(client)
        client.send("{")
        client.send({**ASK, "temperature": "hot"})
    lines = [event["text"] for event in events if "access" in event]
    assert [line.split()[2] for line in lines] == ["101", "200", "400"]
    assert all(int(line.split()[3]) > 50 for line in lines[1:])  # the bytes of each answer, not the handshake's
    assert "client=ann transport=websocket" in lines[1]
    assert "end=completed" in lines[1]
    assert int(lines[1].split()[3]) > 1000
    assert "end=invalid_type" in lines[2]


def test_a_post_beside_a_websocket():
    bridge = Bridge()
    turn(Client(bridge))
    connection = HttpConnection(bridge.site)
    connection.send(post(json.dumps({"model": "m", "input": "hi"}).encode(), "Content-Type: application/json"))
    answer(bridge)
    assert connection.answer().status == 200


def test_the_limit_has_a_default():
    assert Settings().client_websockets == 100
