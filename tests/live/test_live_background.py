"""Background responses of real daemons: killed, started again, stopped, and two on one store."""

import http.client
import json
import signal
from contextlib import closing

import pytest
from bridge_process import PATIENCE, TEST_KEY, Bridge, Upstream, post, read_event, read_events
from postgres import postgres  # noqa: F401 - a fixture

ASK = {"model": "m", "input": "hi", "background": True}


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def start(tmp_path, upstream):
    started = []

    def start(store, *options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        options = ("--upstream-url", upstream.url, "--store", store, *options)
        started.append(Bridge(folder, *options, OPENAI_API_KEY=TEST_KEY))
        return started[-1], started[-1].info()["port"]

    yield start
    for bridge in started:
        bridge.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/r.db"
    return request.getfixturevalue("postgres").url


def ask(port, method, path, body=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def stream(port, id, after=-1):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", f"/v1/responses/{id}?stream=true&starting_after={after}")
    response = connection.getresponse()
    assert response.status == 200
    return response


def begin(port, upstream):
    status, begun = ask(port, "POST", "/v1/responses", ASK)
    assert (status, begun["status"]) == (200, "queued")
    assert upstream.asked.wait(PATIENCE)
    return begun["id"]


def ended(port, id):
    """Wait for the end by following the response."""
    terminal = read_events(stream(port, id))[-1]
    assert ask(port, "GET", f"/v1/responses/{id}")[1] == terminal["response"]
    return terminal["response"]


def test_a_killed_daemon_fails_what_ran_when_it_starts_again(start, store, upstream):
    bridge, port = start(store)
    id = begin(port, upstream)
    bridge.signal(signal.SIGKILL)
    bridge.wait()
    bridge, port = start(store)
    bridge.expect("1 background response(s) of a bridge that is gone have failed")
    status, failed = ask(port, "GET", f"/v1/responses/{id}")
    assert (status, failed["status"], failed["error"]["code"]) == (200, "failed", "server_error")
    (terminal,) = read_events(stream(port, id, after=7))
    assert (terminal["type"], terminal["sequence_number"]) == ("response.failed", 8)
    assert ask(port, "POST", f"/v1/responses/{id}/cancel") == (200, failed)


def test_a_stop_waits_for_it_and_then_ends_it(start, tmp_path, upstream):
    store = f"sqlite:///{tmp_path}/r.db"
    bridge, port = start(store)
    id = begin(port, upstream)
    bridge.signal()
    bridge.expect("1 running answer(s) may go on")
    upstream.go_on.set()
    bridge.wait()
    upstream.go_on.clear()
    bridge, port = start(store, "--drain-seconds", "0.1")
    whole = ask(port, "GET", f"/v1/responses/{id}")[1]
    assert (whole["status"], whole["output"][0]["content"][0]["text"]) == ("completed", "one two")
    upstream.asked.clear()
    id = begin(port, upstream)
    bridge.signal()
    bridge.wait()
    _, port = start(store)
    cut = ask(port, "GET", f"/v1/responses/{id}")[1]
    assert cut["status"] == "failed"
    assert "stopped" in cut["error"]["message"]


def test_a_client_that_is_cut_off_goes_on_where_it_was(start, store, upstream):
    _, port = start(store)
    response = post(port, ASK | {"stream": True})
    seen = [read_event(response) for _ in range(5)]
    assert seen[-1]["delta"] == "one "
    response.close()
    id = seen[0]["response"]["id"]
    rest = stream(port, id, after=4)
    upstream.go_on.set()
    events = [*seen, *read_events(rest)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert read_events(stream(port, id)) == events


def test_two_bridges_on_one_store(start, store, upstream):
    first, here = start(store)
    _, there = start(store)
    id = begin(here, upstream)
    assert ask(there, "GET", f"/v1/responses/{id}")[1]["status"] == "in_progress"
    followed = stream_later(there, id)
    upstream.go_on.set()
    whole = ended(here, id)
    assert followed()[-1]["response"] == whole
    assert ask(there, "GET", f"/v1/responses/{id}") == (200, whole)
    more = {"model": "m", "input": "and?", "previous_response_id": id}
    assert ask(there, "POST", "/v1/responses", more)[0] == 200

    upstream.go_on.clear()
    upstream.asked.clear()
    id = begin(here, upstream)
    status, cancelled = ask(there, "POST", f"/v1/responses/{id}/cancel")
    assert (status, cancelled["status"]) == (200, "cancelled")
    assert ask(here, "GET", f"/v1/responses/{id}") == (200, cancelled)

    upstream.asked.clear()
    id = begin(here, upstream)
    first.signal(signal.SIGKILL)
    first.wait()
    # It is known at once, because both run on one machine.
    assert ask(there, "GET", f"/v1/responses/{id}")[1]["status"] == "failed"


def stream_later(port, id):
    """Follow a response that runs in the other bridge: its head comes with its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", f"/v1/responses/{id}?stream=true")
    return lambda: read_events(connection.getresponse())


def test_a_restart_of_one_bridge_fails_nothing_of_the_other(start, store, upstream):
    _, here = start(store)
    id = begin(here, upstream)
    other, there = start(store)
    other.signal(signal.SIGKILL)
    other.wait()
    _, there = start(store)
    assert ask(there, "GET", f"/v1/responses/{id}")[1]["status"] == "in_progress"
    upstream.go_on.set()
    assert ended(here, id)["status"] == "completed"


def test_a_database_that_starts_again_in_mid_answer(start, postgres, upstream):  # noqa: F811 - the fixture
    bridge, port = start(postgres.url)
    id = begin(port, upstream)
    first = stream(port, id)
    postgres.stop()
    try:
        assert ask(port, "GET", "/readyz")[0] in (200, 503)  # asking makes it known
        assert ask(port, "GET", "/v1/responses/resp_none")[0] == 503
        status, said = ask(port, "GET", "/readyz")
        assert (status, "store" in json.dumps(said)) == (503, True)
        upstream.go_on.set()
        assert read_events(first)[-1]["type"] == "response.completed"
        assert ask(port, "GET", f"/v1/responses/{id}")[1]["status"] == "completed"
    finally:
        postgres.start()
    while ask(port, "GET", "/readyz")[0] != 200:
        pass
    bridge.signal(signal.SIGTERM)
    bridge.wait()
    assert "pg-secret" not in bridge.output
    assert "Traceback" not in bridge.output
    _, port = start(postgres.url)
    assert ask(port, "GET", f"/v1/responses/{id}")[1]["status"] == "completed"
