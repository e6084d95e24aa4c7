"""packaging/haproxy/chatbridge.cfg under a real HAProxy, before two bridges with one PostgreSQL store."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bridge_process import PATIENCE, ROOT, TEST_KEY, Bridge, Process, Upstream, environment, read_event, read_events
from postgres import postgres  # noqa: F401 (a fixture)

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CONF = ROOT / "packaging" / "haproxy" / "chatbridge.cfg"
TOKEN = "cb-fleet-0123456789abcdef"
GLOBAL = "global\n    stats socket {folder}/admin level admin\n    log stdout format raw local0\n"

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


class Fleet:
    """Two bridges, ``a`` and ``b``, behind HAProxy with the project's configuration; only the addresses are others."""

    def __init__(self, stack, folder, store, upstream):
        self._stack = stack
        self._folder = folder
        self._options = ["--upstream-url", upstream.url, "--store", store, "--client-token-env", "CLIENT_TOKEN"]
        self.bridges = {}
        self.ports = {}
        for name in ("a", "b"):
            (folder / name).mkdir()
            self.start(name)
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = listening.getsockname()[1]
        conf = CONF.read_text()
        for there, here in [
            ("bind :8080", f"bind fd@{listening.fileno()}"),
            ("192.0.2.11:8787", f"127.0.0.1:{self.ports['a']}"),
            ("192.0.2.12:8787", f"127.0.0.1:{self.ports['b']}"),
        ]:
            assert conf.count(there) == 1
            conf = conf.replace(there, here)
        (folder / "global.cfg").write_text(GLOBAL.format(folder=folder))
        (folder / "chatbridge.cfg").write_text(conf)
        command = [HAPROXY, "-f", "global.cfg", "-f", "chatbridge.cfg"]
        own = environment(CHATBRIDGE_CHECK_TOKEN=TOKEN)
        self.haproxy = stack.enter_context(closing(Process(command, folder, own, pass_fds=[listening.fileno()])))
        self.wait_for(lambda: (folder / "admin").exists())
        self.wait_until_up("a")
        self.wait_until_up("b")

    def start(self, name):
        """Start the bridge *name*, on the port that it had before if it had one."""
        bridge = Bridge(
            self._folder / name, *self._options, "--port", str(self.ports.get(name, 0)),
            OPENAI_API_KEY=TEST_KEY, CLIENT_TOKEN=TOKEN,
        )  # fmt: skip
        self._stack.enter_context(closing(bridge))
        self.bridges[name] = bridge
        self.ports[name] = bridge.info()["port"]

    def ask(self, path="/v1/responses", body=None, session=None):
        """Return HAProxy's response as soon as its head is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if session is not None:
            headers["session-id"] = session
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            body = json.dumps({"model": "m", **body})
            connection.request("POST", path, body, {**headers, "Content-Type": "application/json"})
        return connection.getresponse()

    def whole(self, **body):
        """Return the whole answer to *body*."""
        response = self.ask(body=body)
        answer = json.load(response)
        assert response.status == 200, answer
        return answer

    def admin(self, command):
        """Return what HAProxy says to *command*."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(PATIENCE)
            admin.connect(str(self._folder / "admin"))
            admin.sendall(command.encode() + b"\n")
            return admin.makefile().read()

    def state(self, name):
        """Return whether HAProxy has the bridge *name* UP, DOWN, …"""
        lines = self.admin("show stat").splitlines()
        titles = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(titles, line.split(","), strict=False)) for line in lines[1:] if line]
        (row,) = [row for row in rows if (row["pxname"], row["svname"]) == ("bridges", name)]
        # The first check has not answered yet: "no check" would be another configuration.
        return row["status"] if row["check_status"] != "INI" else "NEW"

    def wait_until_up(self, name):
        self.wait_for(lambda: self.state(name) == "UP")

    def wait_for(self, what):
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert self.haproxy.process.poll() is None, self.haproxy.output
            assert time.monotonic() < deadline, self.haproxy.output
            time.sleep(0.05)

    def running(self):
        """Return the names of the bridges with an answer on its way."""
        return [name for name, port in self.ports.items() if _healthz(port)["running"]]


def _healthz(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/healthz")
    return json.load(connection.getresponse())


def other(name):
    return {"a": "b", "b": "a"}[name]


def texts(body):
    """Return what a chat/completions request says, in order."""
    return [message["content"] for message in body["messages"]]


@pytest.fixture
def upstream():
    with closing(Upstream()) as upstream:
        yield upstream


@pytest.fixture
def fleet(postgres, upstream):  # noqa: F811 (the fixture)
    # Not pytest's folder: the name of a socket is at most some hundred characters.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield Fleet(stack, folder, postgres.url, upstream)


def test_haproxy_finds_nothing_to_warn_of(tmp_path):
    (tmp_path / "global.cfg").write_text(GLOBAL.format(folder=tmp_path))
    command = [HAPROXY, "-c", "-f", tmp_path / "global.cfg", "-f", CONF]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr + done.stdout


def test_a_conversation_goes_on_at_the_other_bridge(fleet, upstream):
    upstream.go_on.set()
    first = fleet.whole(input="my name is Ann")
    said = first["output"][0]["content"][0]["text"]
    # From here on only one bridge, then only the other: whichever answered the first turn, one turn crosses.
    fleet.admin("set server bridges/a state maint")
    second = fleet.whole(input="second", previous_response_id=first["id"])
    fleet.admin("set server bridges/a state ready")
    fleet.wait_until_up("a")
    fleet.admin("set server bridges/b state maint")
    fleet.whole(input="third", previous_response_id=second["id"])
    assert texts(upstream.bodies[-1]) == ["my name is Ann", said, "second", said, "third"]
    assert json.load(fleet.ask(f"/v1/responses/{first['id']}"))["id"] == first["id"]


def test_a_bridge_that_is_stopped_ends_its_answer_while_the_other_serves(fleet, upstream):
    stream = fleet.ask(body={"input": "slow", "stream": True})
    begun = read_event(stream)
    (name,) = fleet.running()
    stopped = fleet.bridges[name]
    stopped.signal(signal.SIGTERM)
    stopped.expect("Stopping: 1 running answer(s)")
    # Its port is closed; whatever HAProxy still believes of it, no request fails.
    others = [fleet.ask(body={"input": "meanwhile", "stream": True}) for _ in range(4)]
    assert [response.status for response in others] == [200] * 4
    upstream.go_on.set()
    events = [begun, *read_events(stream)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert all(read_events(response)[-1]["type"] == "response.completed" for response in others)
    stopped.wait()
    # What it said is kept, and the other one goes on from it.
    answer = events[-1]["response"]
    fleet.whole(input="and then?", previous_response_id=answer["id"])
    assert texts(upstream.bodies[-1]) == ["slow", answer["output"][0]["content"][0]["text"], "and then?"]
    # Started again, it serves again.
    fleet.start(name)
    fleet.wait_until_up(name)
    fleet.admin(f"set server bridges/{other(name)} state maint")
    assert fleet.whole(input="back")["status"] == "completed"


def test_a_bridge_that_is_killed_takes_only_its_running_answers_along(fleet, upstream):
    upstream.go_on.set()
    kept = fleet.whole(input="before")
    upstream.go_on.clear()
    stream = fleet.ask(body={"input": "lost", "stream": True, "previous_response_id": kept["id"]})
    lost = read_event(stream)["response"]["id"]
    (name,) = fleet.running()
    fleet.bridges[name].signal(signal.SIGKILL)
    # The client can tell: no event says that the answer is complete, and the body does not end as one does.
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        read_events(stream)
    upstream.go_on.set()
    again = fleet.whole(input="lost", previous_response_id=kept["id"])
    assert again["status"] == "completed"
    assert json.load(fleet.ask(f"/v1/responses/{kept['id']}")) == kept
    # It was never said to be complete, and so was not kept.
    assert fleet.ask(f"/v1/responses/{lost}").status == 404


def test_a_session_stays_at_one_bridge(fleet, upstream):
    upstream.go_on.set()
    for _ in range(6):
        assert json.load(fleet.ask(body={"input": "x"}, session="s-1"))["status"] == "completed"

    def lines():
        return sorted(bridge.output.count("POST /v1/responses 200") for bridge in fleet.bridges.values())

    fleet.wait_for(lambda: sum(lines()) == 6)  # a line is written after the answer has left
    assert lines() == [0, 6]


def test_a_websocket_goes_on_at_the_other_bridge(fleet, upstream):
    websocket = pytest.importorskip("test_live_websocket", reason="wsproto is not installed")
    headers = [(b"Authorization", f"Bearer {TOKEN}".encode())]
    first = websocket.Client(fleet.port, headers)
    first.send(input="slow")
    first.until("response.output_text.delta")
    (name,) = fleet.running()
    stopped = fleet.bridges[name]
    stopped.signal(signal.SIGTERM)
    stopped.expect("Stopping: 1 running answer(s)")
    upstream.go_on.set()
    answer = first.until("response.completed")["response"]
    assert first.event() is None
    assert first.closed == 1001
    stopped.wait()
    # The stick table knows this client at the bridge that is gone.
    second = websocket.Client(fleet.port, headers)
    second.send(input="and then?", previous_response_id=answer["id"])
    assert second.until("response.completed")["response"]["previous_response_id"] == answer["id"]
    assert texts(upstream.bodies[-1]) == ["slow", answer["output"][0]["content"][0]["text"], "and then?"]
    first.cut()
    second.cut()


def test_without_a_bridge_the_error_is_the_apis(fleet):
    for name in fleet.bridges:
        fleet.admin(f"set server bridges/{name} state maint")
    response = fleet.ask(body={"input": "x"})
    assert response.status == 503
    assert response.headers["Retry-After"] == "2"
    assert json.load(response)["error"]["code"] == "bridge_unavailable"


def test_what_is_only_for_operators_is_not_served_beyond(fleet):
    assert [fleet.ask(path).status for path in ("/metrics", "/shutdown", "/readyz")] == [404, 404, 200]
