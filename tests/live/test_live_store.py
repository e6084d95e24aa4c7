"""The daemon that keeps its responses in a file."""

import http.client
import json
import signal
import stat
from contextlib import closing

import pytest
from bridge_process import PATIENCE, Bridge


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*options):
        started.append(Bridge(tmp_path, "--practice", *options))
        return started[-1], started[-1].info()["port"]

    yield start
    for bridge in started:
        bridge.close()


def ask(port, method, path, body=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_a_killed_daemon_loses_nothing_that_it_has_answered(start, tmp_path):
    options = ("--store", f"sqlite:///{tmp_path}/r.db")
    bridge, port = start(*options)
    status, first = ask(port, "POST", "/v1/responses", {"model": "practice", "input": "my name is Ann"})
    assert (status, first["store"]) == (200, True)
    _, read = ask(port, "GET", f"/v1/responses/{first['id']}")
    assert read == first
    bridge.signal(signal.SIGKILL)
    bridge.wait()
    _, port = start(*options)
    assert ask(port, "GET", f"/v1/responses/{first['id']}") == (200, first)
    body = {"model": "practice", "input": "and mine?", "previous_response_id": first["id"]}
    status, second = ask(port, "POST", "/v1/responses", body)
    assert (status, second["previous_response_id"]) == (200, first["id"])
    assert stat.S_IMODE((tmp_path / "r.db").stat().st_mode) == 0o600


def test_store_false_leaves_nothing(start, tmp_path):
    bridge, port = start("--store", f"sqlite:///{tmp_path}/r.db")
    body = {"model": "practice", "input": "SECRET-4711", "store": False}
    _, answer = ask(port, "POST", "/v1/responses", body)
    assert answer["store"] is False
    assert ask(port, "GET", f"/v1/responses/{answer['id']}")[0] == 404
    ask(port, "POST", "/v1/responses", {"model": "practice", "input": "KEPT-4711"})
    bridge.signal()
    bridge.wait()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"KEPT-4711" in data
    assert b"SECRET-4711" not in data
    assert b"SECRET-4711" not in bridge.output.encode()


def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path):
    bridge = Bridge(tmp_path, "--practice", "--store", "sqlite:////nonexistent/r.db")
    assert bridge.wait() == 1
    assert "chatbridge: --store: /nonexistent/r.db: No such file or directory" in bridge.output
    assert "Traceback" not in bridge.output
    bridge.close()
