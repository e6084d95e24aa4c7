"""A daemon before an upstream that fails: what reaches the upstream, and what the client sees."""

import http.client
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bridge_process import PATIENCE, Bridge, post, read_events

BODY = {"model": "m", "input": "hi", "stream": True}


class Failing:
    """Answers each request as the next word of *script* says; when there is none left, well.

    A number is a status, ``close`` ends the connection without a word, ``wait`` answers when :attr:`go_on` is set.
    """

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []
        self.waiting = threading.Semaphore(0)
        self.go_on = threading.Event()
        failing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                word = failing.script.pop(0) if failing.script else "well"
                failing.asked.append(self.headers.get("Authorization", ""))
                self.close_connection = True
                if word == "close":
                    return
                if word == "wait":
                    failing.waiting.release()
                    failing.go_on.wait(PATIENCE)
                self.answer(int(word) if word.isdigit() else 200)

            def answer(self, status):
                choices = ({"delta": {"content": "well"}}, {"delta": {}, "finish_reason": "stop"})
                chunks = [json.dumps({"choices": [{"index": 0, **choice}]}) for choice in choices]
                body = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"])
                body = (body if status == 200 else '{"error": {"message": "scripted"}}').encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/event-stream" if status == 200 else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a daemon before an upstream with the given script."""
    made = []

    def start(script, *options, **environ):
        upstream = Failing(*script)
        made.append(upstream)
        keys = () if environ else ("--no-api-key",)
        bridge = Bridge(tmp_path, "--port", "0", "--upstream-url", upstream.url, *keys, *options, **environ)
        made.append(bridge)
        return upstream, bridge, bridge.info()["port"]

    yield start
    for it in reversed(made):
        it.close()


def ends(port):
    return read_events(post(port, BODY))[-1]["type"]


def test_a_glitch_is_not_seen(start):
    upstream, bridge, port = start(["close", "503"])
    assert ends(port) == "response.completed"
    assert len(upstream.asked) == 3
    assert " attempts=3 retries=connection,unavailable " in bridge.expect("POST /v1/responses")


def test_another_key_at_once(start):
    upstream, bridge, port = start(
        ["401"], "--api-key-envs", "ONE", "--api-key-envs", "TWO", ONE="sk-one-0123456789", TWO="sk-two-0123456789"
    )  # fmt: skip
    assert ends(port) == ends(port) == "response.completed"
    assert upstream.asked == ["Bearer sk-one-0123456789", *["Bearer sk-two-0123456789"] * 2]
    assert "0123456789" not in bridge.output


def test_an_open_circuit_is_told_by_readyz(start):
    upstream, _, port = start(["500"] * 9, "--retries", "0", "--breaker-failures", "2", "--breaker-seconds", "600")
    assert [post(port, BODY).status for _ in range(3)] == [500, 503, 503]
    assert len(upstream.asked) == 2
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    asking.request("GET", "/readyz")
    assert asking.getresponse().status == 503
    asking.close()
    answer = post(port, BODY)
    assert answer.getheader("retry-after") == "600"
    assert "scripted" in json.loads(answer.read())["error"]["message"]


def test_more_than_the_upstream_takes_wait_their_turn(start):
    upstream, _, port = start(["wait"], "--upstream-streams", "1")
    found = []
    threads = [threading.Thread(target=lambda: found.append(ends(port))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert upstream.waiting.acquire(timeout=PATIENCE)
    assert len(upstream.asked) == 1
    upstream.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == ["response.completed"] * 3
    assert len(upstream.asked) == 3
