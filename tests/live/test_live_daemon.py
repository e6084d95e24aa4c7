import os
import signal
import socket
import stat
import time
from contextlib import closing

import pytest
from bridge_process import (
    PATIENCE,
    TEST_KEY,
    TWISTD,
    Bridge,
    Process,
    Upstream,
    connect,
    environment,
    names,
    post,
    read_event,
    read_events,
)

ASK = {"model": "m", "input": "hi", "stream": True}


@pytest.fixture
def start(tmp_path):
    """Start a bridge with options, in an empty folder."""
    started = []

    def start(*options, **more):
        started.append(Bridge(tmp_path, *options, **more))
        return started[-1]

    yield start
    for bridge in started:
        bridge.close()


@pytest.fixture
def upstream():
    with closing(Upstream()) as upstream:
        yield upstream


def on(upstream):
    return ["--upstream-url", upstream.url, "--no-api-key"]


def refused(bridge, text, status=1):
    """The bridge ended at once, said *text*, showed no traceback and left no file."""
    assert bridge.wait() == status
    assert text in bridge.output
    assert "Traceback" not in bridge.output
    assert "Listening" not in bridge.output
    assert names(bridge.info_path.parent) == []


# --- it does not start


@pytest.mark.parametrize("env", [{}, {"OPENAI_API_KEY": ""}])
def test_missing_key(start, env):
    refused(start(**env), "missing or empty env var: OPENAI_API_KEY")


def test_wrong_option(start):
    refused(start("--practice", "--drain-seconds", "soon"), "--drain-seconds: 'soon' is not a number of seconds")


def test_busy_port(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # With twistd's own pidfile, which must not stay behind.
        bridge = start("--practice", "--port", str(port), twistd=["-n"])
        refused(bridge, f"chatbridge: cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_address_of_another_machine(start):
    refused(start("--practice", "--host", "192.0.2.1"), "chatbridge: cannot listen on 192.0.2.1:0: ")


def test_no_endpoint(start):
    refused(start("--practice", "--port", "nonsense:1"), "chatbridge: --port 'nonsense:1' is no usable endpoint")


def test_server_info_cannot_be_written(start, tmp_path):
    bridge = start("--practice", "--server-info", "/dev/null/info.json", twistd=["-n"])
    assert bridge.wait() == 1
    (line,) = (line for line in bridge.lines if "server-info" in line)
    assert "cannot write the server-info file /dev/null/info.json: " in line
    assert "Traceback" not in bridge.output
    assert names(tmp_path) == []


def test_a_busy_port_in_the_background(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge = start(
            "--practice", "--port", str(taken.getsockname()[1]), twistd=["--pidfile=", "--logfile=/dev/null"]
        )
        assert bridge.wait() == 1
        assert "cannot listen on 127.0.0.1" in bridge.output


# --- it serves and stops


def test_start_and_stop(start, tmp_path):
    bridge = start("--practice", twistd=["-n"])
    info = bridge.info()
    assert info["pid"] == bridge.process.pid
    assert set(info) == {"port", "pid", "version", "upstream_url", "started_at"}
    assert stat.S_IMODE(bridge.info_path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["info.json", "twistd.pid"]
    assert f"Listening on http://127.0.0.1:{info['port']}/v1\n" in bridge.output
    assert "PRACTICE UPSTREAM" in bridge.output
    response = post(info["port"], {**ASK, "model": "practice"})
    assert response.status == 200
    assert read_events(response)[-1]["type"] == "response.completed"
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert names(tmp_path) == []
    assert "Traceback" not in bridge.output
    assert "Unhandled" not in bridge.output


def test_the_key_is_not_in_the_log(start, upstream):
    bridge = start("--upstream-url", upstream.url, OPENAI_API_KEY=f"{TEST_KEY}\n")
    upstream.go_on.set()
    assert read_events(post(bridge.info()["port"], ASK))[-1]["type"] == "response.completed"
    bridge.signal()
    bridge.wait()
    assert TEST_KEY not in bridge.output
    assert "(no API key)" not in bridge.output


def test_a_unix_socket(start, tmp_path):
    bridge = start("--practice", "--port", "unix:x.sock")
    assert bridge.info()["port"] is None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(tmp_path / "x.sock"))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert names(tmp_path) == []
    assert "Traceback" not in bridge.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_answer_ends_whole(start, upstream, number):
    bridge = start(*on(upstream))
    port = bridge.info()["port"]
    response = post(port, ASK)
    begun = [read_event(response)]
    while begun[-1]["type"] != "response.output_text.delta":
        begun.append(read_event(response))

    bridge.signal(number)
    bridge.expect("Stopping: 1 running answer(s) may go on for 10 s")
    assert not bridge.info_path.exists()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    bridge.signal(number)
    bridge.expect("Already stopping")

    upstream.go_on.set()
    events = begun + read_events(response)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one two"
    assert bridge.wait() == -number
    assert "Traceback" not in bridge.output
    assert "Unhandled" not in bridge.output


def test_shutdown_by_http_is_the_same(start, upstream):
    bridge = start(*on(upstream), "--http-shutdown")
    port = bridge.info()["port"]
    response = post(port, ASK)
    read_event(response)
    with connect(port) as client:
        client.sendall(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")
    bridge.expect("Stopping: 1 running answer(s)")
    upstream.go_on.set()
    assert read_events(response)[-1]["type"] == "response.completed"
    assert bridge.wait() == 0
    assert not bridge.info_path.exists()
    assert "Traceback" not in bridge.output


def test_at_the_drain_limit_an_answer_ends_as_failed(start, upstream):
    bridge = start(*on(upstream), "--drain-seconds", "0.3")
    response = post(bridge.info()["port"], ASK)
    read_event(response)
    bridge.signal()
    last = read_events(response)[-1]
    assert last["type"] == "response.failed"
    assert "chatbridge was stopped" in last["response"]["error"]["message"]
    assert bridge.wait() == -signal.SIGTERM
    assert "The drain limit is over: ending 1 answer(s), 1 connection(s)" in bridge.output
    assert "Traceback" not in bridge.output


def test_at_the_drain_limit_an_answer_that_has_not_begun_is_an_error(start, upstream):
    bridge = start(*on(upstream), "--drain-seconds", "0.3")
    with connect(bridge.info()["port"]) as client:
        body = b'{"model": "m", "input": "hi"}'
        head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(body) + body)
        assert upstream.asked.wait(PATIENCE)
        bridge.signal()
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
    assert bridge.wait() == -signal.SIGTERM
    assert "Traceback" not in bridge.output


def test_a_client_that_reads_late_gets_every_byte(start):
    words = [f"{number:07d} " * 1000 for number in range(500)]
    with closing(Upstream(first=words[:1], rest=words[1:])) as upstream:
        bridge = start(*on(upstream))
        response = post(bridge.info()["port"], ASK)
        read_event(response)
        bridge.signal()
        bridge.expect("Stopping: 1 running answer(s)")
        upstream.go_on.set()
        events = read_events(response)
        assert events[-1]["type"] == "response.completed"
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == "".join(words)
        assert bridge.wait() == -signal.SIGTERM


def test_a_client_that_does_not_read_does_not_hang_the_stop(start):
    words = ["x" * 10000] * 1000
    with closing(Upstream(first=words)) as upstream:
        bridge = start(*on(upstream), "--drain-seconds", "0.1")
        response = post(bridge.info()["port"], ASK)
        read_event(response)
        bridge.signal()
        assert bridge.wait() == -signal.SIGTERM
        response.close()
    assert "Traceback" not in bridge.output


HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask_health(client):
    """Ask on the open connection *client*. Those made before have been accepted when the answer comes."""
    client.sendall(HEALTHZ)
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_idle_connections_end_at_once(start):
    bridge = start("--practice", "--drain-seconds", str(PATIENCE * 2))
    port = bridge.info()["port"]
    with connect(port) as silent, connect(port) as kept:
        ask_health(kept)
        bridge.signal()
        assert silent.recv(1) == b""
        assert kept.recv(1) == b""
        assert bridge.wait() == -signal.SIGTERM


def test_a_request_that_never_completes_does_not_hang_the_stop(start):
    bridge = start("--practice", "--drain-seconds", "0.3")
    port = bridge.info()["port"]
    with connect(port) as client, connect(port) as other:
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        ask_health(other)
        bridge.signal()
        assert bridge.wait() == -signal.SIGTERM
    assert "Traceback" not in bridge.output


# --- twistd's own ways


def test_help(tmp_path):
    with closing(Process([*TWISTD, "chatbridge", "--help"], tmp_path, environment())) as help_:
        assert help_.wait() == 0
        assert "--upstream-url=" in help_.output


def test_in_the_background(start, tmp_path):
    bridge = start("--practice", twistd=["--pidfile=twistd.pid", "--logfile=twistd.log"])
    assert bridge.wait() == 0
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        deadline = time.monotonic() + PATIENCE
        while not bridge.info_path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert f'"pid": {pid}' in bridge.info_path.read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while (tmp_path / "twistd.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert names(tmp_path) == ["twistd.log"]
