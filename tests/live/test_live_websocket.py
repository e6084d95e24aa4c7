"""A real WebSocket client against the real daemon."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from bridge_process import PATIENCE, TEST_KEY, Bridge, Upstream, connect
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

ASK = {"type": "response.create", "model": "m", "input": "hello"}


class Client:
    """wsproto on a blocking socket."""

    def __init__(self, port, headers=()):
        self._socket = connect(port)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events = []
        self.closed = None
        request = Request(
            host="127.0.0.1", target="/v1/responses", extensions=[PerMessageDeflate()], extra_headers=list(headers)
        )
        self._socket.sendall(self._protocol.send(request))
        assert isinstance(self._next(), AcceptConnection)

    def send(self, **fields):
        self._socket.sendall(self._protocol.send(TextMessage(data=json.dumps({**ASK, **fields}))))

    def _next(self):
        while not self._events:
            data = self._socket.recv(65536)
            self._protocol.receive_data(data or None)
            self._events += self._protocol.events()
        return self._events.pop(0)

    def event(self):
        """Return the next message as JSON; None when the other side closes."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, CloseConnection):
                self.closed = event.code
                return None
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return json.loads(text)

    def until(self, kind):
        """Read up to the event *kind*; return it."""
        while (event := self.event()) is not None:
            if event["type"] == kind:
                return event
        raise AssertionError(f"closed with {self.closed} before {kind}")

    def cut(self):
        self._socket.close()


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def bridge(tmp_path, upstream):
    bridge = Bridge(tmp_path, "--upstream-url", upstream.url, OPENAI_API_KEY=TEST_KEY)
    yield bridge
    bridge.close()


def test_two_turns(bridge, upstream):
    upstream.go_on.set()
    client = Client(bridge.info()["port"])
    client.send()
    first = client.until("response.completed")["response"]
    assert first["output"][0]["content"][0]["text"] == "one two"
    client.send(previous_response_id=first["id"], input="x" * 300_000)
    assert client.until("response.completed")["response"]["previous_response_id"] == first["id"]
    client.cut()
    bridge.signal()
    assert bridge.wait() in (0, -signal.SIGTERM)


def test_a_running_answer_ends_before_the_stop(bridge, upstream):
    """Idle connections close at once."""
    port = bridge.info()["port"]
    busy, idle = Client(port), Client(port)
    busy.send()
    busy.until("response.output_text.delta")
    bridge.signal()
    assert idle.event() is None
    assert idle.closed == 1001
    upstream.go_on.set()
    assert busy.until("response.completed")["response"]["output"][0]["content"][0]["text"] == "one two"
    assert busy.event() is None
    assert busy.closed == 1001
    assert bridge.wait() in (0, -signal.SIGTERM)
    assert "Traceback" not in bridge.output


def test_an_answer_that_is_too_slow_for_the_stop(tmp_path, upstream):
    bridge = Bridge(tmp_path, "--upstream-url", upstream.url, "--drain-seconds", "0.2", OPENAI_API_KEY=TEST_KEY)
    try:
        client = Client(bridge.info()["port"])
        client.send()
        client.until("response.output_text.delta")
        bridge.signal()
        assert client.until("response.failed")["response"]["error"]["code"] == "server_error"
        assert client.event() is None
        assert bridge.wait() in (0, -signal.SIGTERM)
    finally:
        bridge.close()


class Endless:
    """An upstream that writes as long as somebody reads; :attr:`written` counts bytes."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.written = 0
        self.left = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection, _ = self._listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        choice = {"index": 0, "delta": {"content": os.urandom(40_000).hex()}}
        chunk = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
        try:
            while True:
                connection.sendall(chunk)
                self.written += len(chunk)
        except OSError:
            self.left.set()

    def close(self):
        self._listener.close()


def test_a_client_that_does_not_read_holds_the_upstream_back(tmp_path):
    upstream = Endless()
    bridge = Bridge(tmp_path, "--upstream-url", upstream.url, OPENAI_API_KEY=TEST_KEY)
    try:
        client = Client(bridge.info()["port"])
        client.send()
        client.until("response.output_text.delta")
        end, before = time.monotonic() + PATIENCE, -1
        while upstream.written != before:  # until it stands still
            before = upstream.written
            assert time.monotonic() < end
            upstream.left.wait(0.5)
        assert upstream.written < 40_000_000
        client.cut()
        assert upstream.left.wait(PATIENCE)
        bridge.signal()
        assert bridge.wait() in (0, -signal.SIGTERM)
    finally:
        bridge.close()
        upstream.close()
