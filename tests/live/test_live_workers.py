import http.client
import json
import os
import re
import signal
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from bridge_process import PATIENCE, Bridge, Upstream, connect, names, read_event, read_events

ASK = {"model": "m", "input": "hi", "stream": True}
TWO = ("--workers", "2", "--store", "none")


@pytest.fixture
def start(tmp_path):
    """Start a bridge with options, in an empty folder; no worker may be left when it has ended."""
    started = []

    def start(*options, **more):
        started.append(Bridge(tmp_path, *options, **more))
        return started[-1]

    yield start
    for bridge in started:
        bridge.close()
    until(lambda: not [pid for bridge in started for pid in pids_of(bridge) if alive(pid)])


@pytest.fixture
def upstream():
    with closing(Upstream()) as upstream:
        yield upstream


def on(upstream):
    return ["--upstream-url", upstream.url, "--no-api-key"]


def until(condition):
    """Wait until *condition* returns something, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks at other processes
    return found


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def info_of(bridge):
    return json.loads(bridge.info_path.read_text())


SEEN = {}


def pids_of(bridge):
    """Return the pids of all workers that there ever were."""
    seen = SEEN.setdefault(bridge, set())
    if bridge.info_path.exists():
        seen.update(info_of(bridge)["workers"])
    return seen


def started(bridge):
    info = bridge.info()
    assert info["pid"] == bridge.process.pid
    pids_of(bridge)
    return info


def ask(port, body=ASK, path="/v1/responses", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    response.connection = connection
    return response


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def owner(pids, response):
    """Return which of the processes holds the server's side of a response's connection."""
    connection = response.fp.raw._sock
    ports = [f"{connection.getpeername()[1]:04X}", f"{connection.getsockname()[1]:04X}"]
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = (row[9] for row in rows if [row[1][-4:], row[2][-4:]] == ports)
    for pid in pids:
        with suppress(OSError):  # one that had nothing to end may be gone, or be going
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                if str(fd.readlink()) == f"socket:[{inode}]":
                    return pid
    raise AssertionError("nobody has the connection")


def end(bridge):
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert "Traceback" not in bridge.output
    assert "Unhandled" not in bridge.output


def test_a_store_in_memory_is_refused(start):
    bridge = start("--practice", "--workers", "2")
    assert bridge.wait() == 1
    assert "--workers: 2 processes cannot share a store in memory" in bridge.output
    assert "Traceback" not in bridge.output


def test_they_serve_and_stop(start, tmp_path):
    bridge = start("--practice", *TWO)
    info = started(bridge)
    assert len(set(info["workers"])) == 2
    assert set(info) == {"port", "pid", "version", "upstream_url", "workers", "started_at"}
    assert bridge.info_path.read_text().startswith(f'{{"port": {info["port"]}, "pid": {info["pid"]}, ')
    for _ in range(2):
        response = ask(info["port"], {**ASK, "model": "practice"})
        assert read_events(response)[-1]["type"] == "response.completed"
    assert get(info["port"], "/readyz")[0] == 200
    end(bridge)
    assert names(tmp_path) == []
    assert not any(alive(pid) for pid in info["workers"])


def test_a_busy_port(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge = start("--practice", *TWO, "--port", str(taken.getsockname()[1]))
        assert bridge.wait() == 1
        assert "Address already in use" in bridge.output
        assert "Traceback" not in bridge.output


def test_a_killed_worker_is_replaced_and_the_other_goes_on(start, upstream):
    bridge = start(*on(upstream), *TWO)
    info = started(bridge)
    response = ask(info["port"])
    assert read_event(response)["type"] == "response.created"
    mine = owner(info["workers"], response)
    (other,) = {*info["workers"]} - {mine}
    os.kill(other, signal.SIGKILL)
    bridge.expect(f"(pid {other}) ended: SIGKILL")
    now = until(lambda: {*info_of(bridge)["workers"]} - {*info["workers"]} and info_of(bridge)["workers"])
    assert len(now) == 2
    assert mine in now
    assert other not in now
    upstream.go_on.set()
    assert read_events(response)[-1]["type"] == "response.completed"
    end(bridge)


def test_no_worker_outlives_a_killed_master(start, upstream):
    bridge = start(*on(upstream), *TWO)
    info = started(bridge)
    response = ask(info["port"])
    read_event(response)
    bridge.signal(signal.SIGKILL)
    # The port is free at once for the next one, and the running answer still ends whole.
    until(lambda: not reachable(info["port"]))
    upstream.go_on.set()
    assert read_events(response)[-1]["type"] == "response.completed"
    until(lambda: not any(alive(pid) for pid in info["workers"]))
    bridge.wait()


def reachable(port):
    try:
        connect(port).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def test_a_stop_waits_for_answers_in_all_workers(start, upstream, tmp_path):
    bridge = start(*on(upstream), *TWO)
    info = started(bridge)
    responses = [ask(info["port"]) for _ in range(6)]
    for response in responses:
        read_event(response)
    bridge.signal()
    until(lambda: not reachable(info["port"]))
    upstream.go_on.set()
    for response in responses:
        assert read_events(response)[-1]["type"] == "response.completed"
    assert bridge.wait() == -signal.SIGTERM
    assert names(tmp_path) == []
    assert "Traceback" not in bridge.output


def test_the_drain_limit_holds_in_all_workers(start, upstream):
    bridge = start(*on(upstream), *TWO, "--drain-seconds", "0.2")
    info = started(bridge)
    responses = [ask(info["port"]) for _ in range(4)]
    for response in responses:
        read_event(response)
    bridge.signal()
    for response in responses:
        assert read_events(response)[-1]["type"] == "response.failed"
    assert bridge.wait() == -signal.SIGTERM


def test_shutdown_stops_them_all(start):
    bridge = start("--practice", *TWO, "--http-shutdown")
    info = started(bridge)
    assert get(info["port"], "/shutdown")[0] == 200
    bridge.wait()
    assert not any(alive(pid) for pid in info["workers"])
    assert "Traceback" not in bridge.output


def test_limits_hold_over_all_workers(start, upstream, tmp_path):
    bridge = start(*on(upstream), *TWO, "--client-streams", "3", "--max-connections", "6")
    port = started(bridge)["port"]
    responses = [ask(port) for _ in range(3)]
    for response in responses:
        read_event(response)
    assert json.loads(get(port, "/healthz")[1])["running"] == 3
    refused = ask(port)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    idle = [connect(port) for _ in range(2)]
    # Three streams, the refused one (kept alive), two idle ones.
    full = ask(port)
    assert full.status == 503
    assert "--max-connections" in json.loads(full.read())["error"]["message"]
    for connection in idle:
        connection.close()
    # A killed worker's answers do not count for ever.
    workers = info_of(bridge)["workers"]
    victim = owner(workers, responses[0])
    os.kill(victim, signal.SIGKILL)
    until(lambda: len({*info_of(bridge)["workers"]} - {victim}) == 2)
    pids_of(bridge)
    left = [response for response in responses if owner_or_none(workers, response) not in (victim, None)]
    until(lambda: json.loads(get(port, "/healthz")[1])["running"] == len(left))
    upstream.go_on.set()
    end(bridge)


def owner_or_none(pids, response):
    try:
        return owner([pid for pid in pids if alive(pid)], response)
    except (AssertionError, ValueError):
        return None


def test_a_rate_holds_over_all_workers(start):
    bridge = start("--practice", *TWO, "--client-rate", "5")
    port = started(bridge)["port"]
    body = {"model": "practice", "input": "hi", "stream": False}
    assert sorted(ask(port, body, path="/v1/alpha/search").status for _ in range(8)) == [200] * 5 + [429] * 3
    end(bridge)


def counted(text, name):
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def test_one_scrape_has_the_metrics_of_all(start):
    bridge = start("--practice", *TWO)
    info = started(bridge)
    port = info["port"]
    name = 'chatbridge_requests_total{path="/healthz",status="200"}'
    for _ in range(20):
        get(port, "/healthz")
    status, text = get(port, "/metrics")
    if status == 404:
        pytest.skip("prometheus_client is not installed")
    assert counted(text, name) == 20
    assert counted(text, "chatbridge_workers ") == 2
    assert text.count("# TYPE chatbridge_requests_total counter") == 1
    # What a killed one had counted is still there.
    os.kill(info["workers"][0], signal.SIGKILL)
    until(lambda: len({*info_of(bridge)["workers"]} - {info["workers"][0]}) == 2)
    pids_of(bridge)
    assert counted(get(port, "/metrics")[1], name) == 20
    end(bridge)


def configured(tmp_path, upstream, *more):
    path = tmp_path / "bridge.toml"
    lines = [f'upstream_url = "{upstream.url}"', "no_api_key = true", "workers = 2", 'store = "none"', *more]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_rolling_reload(start, upstream, tmp_path):
    path = configured(tmp_path, upstream)
    bridge = start("--config", str(path))
    info = started(bridge)
    responses = [ask(info["port"]) for _ in range(4)]
    for response in responses:
        read_event(response)
    configured(tmp_path, upstream, "max_request_bytes = 10")
    bridge.signal(signal.SIGHUP)
    bridge.expect("Configuration reloaded")
    now = until(lambda: not {*info_of(bridge)["workers"]} & {*info["workers"]} and info_of(bridge)["workers"])
    pids_of(bridge)
    assert len(now) == 2
    assert ask(info["port"]).status == 413
    # The old ones are still there for what they had begun.
    assert {owner(info["workers"], response) for response in responses} <= {*info["workers"]}
    upstream.go_on.set()
    for response in responses:
        assert read_events(response)[-1]["type"] == "response.completed"
        response.connection.close()
    until(lambda: not any(alive(pid) for pid in info["workers"]))
    end(bridge)


def test_a_broken_configuration_keeps_the_old_workers(start, upstream, tmp_path):
    path = configured(tmp_path, upstream)
    bridge = start("--config", str(path))
    info = started(bridge)
    path.write_text("nonsense = 1\n")
    bridge.signal(signal.SIGHUP)
    line = bridge.expect("Configuration not reloaded")
    assert "bridge.toml:1: there is no option 'nonsense'" in line
    assert info_of(bridge)["workers"] == info["workers"]
    # One that takes a dead one's place does not read the broken file.
    os.kill(info["workers"][0], signal.SIGKILL)
    until(lambda: len({*info_of(bridge)["workers"]} - {info["workers"][0]}) == 2)
    pids_of(bridge)
    upstream.go_on.set()
    for _ in range(4):
        assert read_events(ask(info["port"]))[-1]["type"] == "response.completed"
    end(bridge)


def test_their_lines_reach_a_log_file(start, tmp_path):
    bridge = start("--practice", *TWO, twistd=("-n", "--pidfile=", "--logfile=bridge.log"))
    log = tmp_path / "bridge.log"
    until(lambda: log.exists() and "Try curl: " in log.read_text())
    info = info_of(bridge)
    pids_of(bridge)
    assert get(info["port"], "/healthz")[0] == 200
    until(lambda: re.search(r"\[chatbridge.web.root.BridgeSite#info\] GET /healthz 200", log.read_text()))
    bridge.signal()
    bridge.wait()
    assert bridge.output == ""
    assert "Traceback" not in log.read_text()


def test_a_unix_socket(start, tmp_path):
    bridge = start("--practice", *TWO, "--port", "unix:x.sock:mode=600")
    info = started(bridge)
    assert info["port"] is None
    path = tmp_path / "x.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    # A worker that ends leaves the file alone.
    os.kill(info["workers"][0], signal.SIGTERM)
    until(lambda: len({*info_of(bridge)["workers"]} - {info["workers"][0]}) == 2)
    pids_of(bridge)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    assert path.stat().st_mode & 0o777 == 0o600
    end(bridge)
    assert names(tmp_path) == []


def test_websockets_are_counted_over_all_workers_and_end_with_a_reload(start):
    pytest.importorskip("wsproto")
    bridge = start("--practice", *TWO, "--client-websockets", "3")
    info = started(bridge)
    sockets = [handshake(info["port"]) for _ in range(4)]
    assert sorted(socket.recv(12) for socket in sockets) == [b"HTTP/1.1 101"] * 3 + [b"HTTP/1.1 429"]
    bridge.signal(signal.SIGHUP)
    bridge.expect("Configuration reloaded")
    # The idle ones are closed, so that the old workers can end.
    until(lambda: not any(alive(pid) for pid in info["workers"]))
    pids_of(bridge)
    again = handshake(info["port"])
    assert again.recv(12) == b"HTTP/1.1 101"
    for connection in (*sockets, again):
        connection.close()
    end(bridge)


def handshake(port):
    connection = connect(port)
    connection.sendall(
        b"GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    return connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group(start, upstream, number):
    """As systemd stops a service, and a terminal at Ctrl-C."""
    bridge = start(*on(upstream), *TWO)
    info = started(bridge)
    responses = [ask(info["port"]) for _ in range(4)]
    for response in responses:
        read_event(response)
    for pid in (*info["workers"], info["pid"]):
        os.kill(pid, number)
    until(lambda: not reachable(info["port"]))
    upstream.go_on.set()
    for response in responses:
        assert read_events(response)[-1]["type"] == "response.completed"
    assert bridge.wait() == -number
    assert "Traceback" not in bridge.output
    assert not any(alive(pid) for pid in info["workers"])


def test_stored_responses_are_found_by_all(start, upstream, tmp_path):
    bridge = start(*on(upstream), "--workers", "2", "--store", f"sqlite:///{tmp_path}/responses")
    info = started(bridge)
    upstream.go_on.set()
    for _ in range(4):
        found = json.loads(ask(info["port"], {**ASK, "stream": False}).read())["id"]
        for _ in range(6):
            connection = http.client.HTTPConnection("127.0.0.1", info["port"], timeout=PATIENCE)
            connection.request("GET", f"/v1/responses/{found}")
            response = connection.getresponse()
            assert response.status == 200
            assert json.loads(response.read())["id"] == found
            going_on = {**ASK, "stream": False, "previous_response_id": found}
            assert json.loads(ask(info["port"], going_on).read())["status"] == "completed"
    end(bridge)


def test_what_a_replaced_worker_counted_last_is_not_lost(start, upstream, tmp_path):
    path = configured(tmp_path, upstream)
    bridge = start("--config", str(path))
    info = started(bridge)
    port = info["port"]
    if get(port, "/metrics")[0] == 404:
        pytest.skip("prometheus_client is not installed")
    responses = [ask(port) for _ in range(4)]
    for response in responses:
        read_event(response)
    bridge.signal(signal.SIGHUP)
    bridge.expect("Configuration reloaded")
    upstream.go_on.set()
    for response in responses:
        assert read_events(response)[-1]["type"] == "response.completed"
        response.connection.close()
    until(lambda: not any(alive(pid) for pid in info["workers"]))
    pids_of(bridge)
    assert counted(get(port, "/metrics")[1], 'chatbridge_requests_total{path="/v1/responses",status="200"}') == 4
    end(bridge)
