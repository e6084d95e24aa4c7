"""SIGHUP, and the daemon behind a configuration file."""

import http.client
import json
import signal
import threading
from contextlib import closing

import pytest
from bridge_process import PATIENCE, Bridge, Upstream, connect, post, read_event, read_events

from chatbridge.web.access import digest

ASK = {"model": "m", "input": "hi", "stream": True}
TOKEN = "cb-0123456789abcdef"


@pytest.fixture
def start(tmp_path):
    started = []

    def start(text, *options, **more):
        (tmp_path / "c.toml").write_text(text)
        started.append(Bridge(tmp_path, "--config", "c.toml", *options, **more))
        return started[-1]

    yield start
    for bridge in started:
        bridge.close()


@pytest.fixture
def upstreams():
    with closing(Upstream(("old ",))) as old, closing(Upstream(("new ",))) as new:
        yield old, new


def reload(bridge, tmp_path, text, line="Configuration reloaded"):
    (tmp_path / "c.toml").write_text(text)
    bridge.signal(signal.SIGHUP)
    return bridge.expect(line)


def asks(upstream):
    return f'upstream_url = "{upstream.url}"\nno_api_key = true\n'


def test_running_answers_keep_the_old_and_new_ones_get_the_new(start, tmp_path, upstreams):
    old, new = upstreams
    bridge = start(asks(old))
    port = bridge.info()["port"]
    running = post(port, ASK)
    assert read_event(running)["type"] == "response.created"
    reload(bridge, tmp_path, asks(new))
    new.go_on.set()
    after = read_events(post(port, ASK))
    assert after[-1]["response"]["output"][0]["content"][0]["text"] == "new two"
    old.go_on.set()
    before = read_events(running)
    assert before[-1]["response"]["output"][0]["content"][0]["text"] == "old two"
    bridge.signal()
    assert bridge.wait() == -signal.SIGTERM
    assert "Traceback" not in bridge.output


def test_a_broken_file_keeps_the_old_and_says_why(start, tmp_path, upstreams):
    old, _ = upstreams
    bridge = start(asks(old))
    port = bridge.info()["port"]
    line = reload(bridge, tmp_path, 'upstream_url = "x"\nprot = 1\n', "not reloaded")
    assert "c.toml:2: there is no option 'prot'; did you mean 'port'?" in line
    old.go_on.set()
    assert read_events(post(port, ASK))[-1]["type"] == "response.completed"


def test_what_only_a_restart_changes_is_said(start, tmp_path, upstreams):
    old, _ = upstreams
    bridge = start(asks(old))
    bridge.info()
    line = reload(bridge, tmp_path, asks(old) + 'drain_seconds = 1\nallow_host = ["a"]\n', "Only a restart")
    assert line.endswith("Only a restart changes drain_seconds\n")


def test_tokens_are_read_again(start, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {digest(TOKEN).hex()}\n")
    text = 'practice = true\nclient_token_file = "tokens"\n'
    bridge = start(text)
    port = bridge.info()["port"]

    def status(token):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status

    assert (status(TOKEN), status("cb-another-token-1")) == (200, 401)
    tokens.write_text(f"bob {digest('cb-another-token-1').hex()}\n")
    reload(bridge, tmp_path, text)
    assert (status(TOKEN), status("cb-another-token-1")) == (401, 200)


def test_many_reloads_under_load_lose_nothing(start, tmp_path, upstreams):
    old, new = upstreams
    old.go_on.set()
    new.go_on.set()
    bridge = start(asks(old))
    port = bridge.info()["port"]
    ends = []

    def ask():
        ends.extend(read_events(post(port, ASK))[-1]["type"] for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(6):
        reload(bridge, tmp_path, asks(new if number % 2 else old))
    for thread in threads:
        thread.join(PATIENCE)
    assert ends == ["response.completed"] * 20
    assert "Traceback" not in bridge.output


def test_without_a_file_a_hangup_ends_the_daemon(tmp_path):
    bridge = Bridge(tmp_path, "--practice")
    bridge.info()
    bridge.signal(signal.SIGHUP)
    assert bridge.wait() == -signal.SIGHUP
    bridge.close()


def test_json_log(start):
    bridge = start('practice = true\nlog_format = "json"\n')
    port = json.loads(bridge.expect("Listening on"))["message"].rpartition(":")[2].removesuffix("/v1")
    with closing(connect(int(port))):
        pass
    read_events(post(int(port), ASK | {"model": "practice"}))
    line = json.loads(bridge.expect('"request":'))
    assert (line["status"], line["end"], line["model"]) == (200, "completed", "practice")
    bridge.signal()
    bridge.wait()
    for text in bridge.lines:
        json.loads(text)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_revoked_token_ends_with_sighup_also_without_a_configuration_file(tmp_path, workers):
    (tmp_path / "tokens").write_text(f"ann {digest(TOKEN).hex()}\nbob {digest('x').hex()}\n")
    bridge = Bridge(
        tmp_path, "--practice", "--store", "none", "--workers", workers, "--client-token-file", "tokens"
    )  # fmt: skip
    try:
        port = bridge.info()["port"]

        def status():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
                connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
                return connection.getresponse().status

        assert status() == 200
        (tmp_path / "tokens").write_text(f"bob {digest('x').hex()}\n")
        bridge.signal(signal.SIGHUP)
        bridge.expect("Configuration reloaded")
        assert status() == 401
        bridge.signal()
        assert bridge.wait() == -signal.SIGTERM
        assert "Traceback" not in bridge.output
    finally:
        bridge.close()


def test_a_reload_opens_no_port_to_the_network(start, tmp_path, upstreams):
    old, _ = upstreams
    old.go_on.set()
    open_to_all = f'{asks(old)}host = "0.0.0.0"\n'
    bridge = start(f'{open_to_all}client_token_env = "TOKEN"\n', TOKEN=TOKEN)
    port = bridge.info()["port"]
    line = reload(bridge, tmp_path, open_to_all, "not reloaded")
    assert "0.0.0.0 is not a loopback address" in line
    assert post(port, ASK).status == 401
