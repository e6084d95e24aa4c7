"""The same contract for each store, and the daemon that keeps its responses in a file."""

import http.client
import json
import signal
import sqlite3
import stat
from contextlib import closing

import pytest
import pytest_twisted
from bridge_process import PATIENCE, Bridge

from chatbridge.protocol.errors import ApiError
from chatbridge.store.memory import MemoryStore
from chatbridge.store.record import Stored, history
from chatbridge.store.sqlite import SqliteStore, StoreError


class Time:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, time):
    if request.param == "memory":
        made = MemoryStore(time, 3600.0)
    else:
        from twisted.internet import reactor

        made = SqliteStore(str(tmp_path / "r.db"), time, 3600.0, reactor)
    yield made
    pytest_twisted.blockon(made.close())


def stored(id="resp_1", *, owner="ann", previous="", created=1_000_000, text="hi"):
    return Stored(
        id=id,
        owner=owner,
        previous=previous,
        created=created,
        input=[{"type": "message", "role": "user", "content": text}],
        response={"id": id, "output": [{"type": "message", "id": "msg_1", "content": "caf\u00e9 \u2028"}]},
    )


@pytest_twisted.ensureDeferred
async def test_what_is_put_is_found(store):
    await store.put(stored())
    assert await store.get("resp_1", "ann") == stored()
    assert await store.get("resp_2", "ann") is None


@pytest_twisted.ensureDeferred
async def test_nobody_else_gets_it(store):
    await store.put(stored())
    assert await store.get("resp_1", "bob") is None
    assert await store.delete("resp_1", "bob") is False
    assert await store.get("resp_1", "ann") is not None


@pytest_twisted.ensureDeferred
async def test_delete(store):
    await store.put(stored())
    assert await store.delete("resp_1", "ann") is True
    assert await store.get("resp_1", "ann") is None
    assert await store.delete("resp_1", "ann") is False


@pytest_twisted.ensureDeferred
async def test_what_is_put_again_counts(store):
    await store.put(stored(text="old"))
    await store.put(stored(text="new"))
    assert (await store.get("resp_1", "ann")).input[0]["content"] == "new"


@pytest_twisted.ensureDeferred
async def test_what_is_too_old_is_not_there(store, time):
    await store.put(stored())
    time.now += 3601
    assert await store.get("resp_1", "ann") is None


@pytest_twisted.ensureDeferred
async def test_history_is_the_whole_chain_in_order(store):
    await store.put(stored("resp_1", text="one"))
    await store.put(stored("resp_2", previous="resp_1", text="two"))
    items = await history(store, "resp_2", "ann")
    assert [item.get("role", "answer") for item in items] == ["user", "answer", "user", "answer"]
    assert [items[0]["content"], items[2]["content"]] == ["one", "two"]
    await store.delete("resp_1", "ann")
    with pytest.raises(ApiError) as caught:
        await history(store, "resp_2", "ann")
    assert (caught.value.status, caught.value.code) == (404, "previous_response_not_found")


@pytest_twisted.ensureDeferred
async def test_memory_is_bounded_by_count_and_bytes(time):
    store = MemoryStore(time, 3600.0, count=3)
    for number in range(5):
        await store.put(stored(f"resp_{number}"))
    assert [await store.get(f"resp_{number}", "ann") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    store = MemoryStore(time, 3600.0, size=len(stored().content()) * 2)
    await store.put(stored("resp_1"))
    await store.put(stored("resp_2"))
    await store.get("resp_1", "ann")  # asked for last, so kept
    await store.put(stored("resp_3"))
    assert [await store.get(f"resp_{n}", "ann") is not None for n in (1, 2, 3)] == [True, False, True]
    await store.put(stored("resp_4", text="x" * 10_000))
    assert await store.get("resp_4", "ann") is None


@pytest_twisted.ensureDeferred
async def test_an_old_file_is_pruned(tmp_path, time):
    from twisted.internet import reactor

    path = str(tmp_path / "r.db")
    store = SqliteStore(path, time, 3600.0, reactor)
    await store.put(stored("resp_old"))
    await store.close()
    time.now += 4000
    store = SqliteStore(path, time, 3600.0, reactor)
    await store.put(stored("resp_new", created=int(time.now)))
    await store.get("nothing", "ann")  # after the pruning, in the same thread
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM responses").fetchall() == [("resp_new",)]


def test_a_file_that_cannot_be_used(tmp_path, time):
    for path, content in (
        (tmp_path / "no" / "r.db", None),
        (tmp_path / "other", b"not a database, but long enough" * 9),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StoreError) as caught:
            SqliteStore(str(path), time, 1.0, None)
        assert str(caught.value).startswith(str(path))
    with closing(sqlite3.connect(tmp_path / "newer")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="another version"):
        SqliteStore(str(tmp_path / "newer"), time, 1.0, None)


# --- the daemon


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
