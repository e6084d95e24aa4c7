"""The same contract for each store."""

import itertools
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace

import pytest
import pytest_twisted
from postgres import PASSWORD, postgres  # noqa: F401 - a fixture

from chatbridge.protocol.errors import ApiError
from chatbridge.service.secret import Secret
from chatbridge.store import postgres as postgres_module
from chatbridge.store import schema, sqlite
from chatbridge.store.archive import Archive
from chatbridge.store.memory import MemoryStore
from chatbridge.store.process import identity
from chatbridge.store.record import Addition, Conversation, Stored, StoreError
from chatbridge.store.sql import LOST
from chatbridge.store.sqlite import sqlite_store

PUBLIC = "postgresql://bridge@/postgres"


class Time:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


class Place:
    """Where several stores, as of several bridges, keep the same."""

    def __init__(self, kind, request, tmp_path, time):
        self.kind = kind
        self._time = time
        self._opened = []
        self.path = tmp_path / "r.db"
        if kind == "postgres":
            self.server = request.getfixturevalue("postgres")
            for (table,) in self.server.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                self.server.query(f"DROP TABLE {table}")

    def open(self, process=""):
        from twisted.internet import reactor

        if self.kind == "memory":
            made = MemoryStore(self._time, 3600.0)
        elif self.kind == "sqlite":
            made = sqlite_store(str(self.path), self._time, 3600.0, reactor, process=process)
        else:
            from chatbridge.store.postgres import postgres_store

            url, password = self.server.public_url, Secret(PASSWORD)
            made = postgres_store(url, password, self._time, 3600.0, reactor, process=process)
        self._opened.append(made)
        return made

    def query(self, statement):
        if self.kind == "postgres":
            return self.server.query(statement)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()

    def close(self):
        for store in self._opened:
            pytest_twisted.blockon(store.close())


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request, tmp_path, time):
    made = Place(request.param, request, tmp_path, time)
    yield made
    made.close()


@pytest.fixture
def store(place):
    return place.open()


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request, tmp_path, time):
    made = Place(request.param, request, tmp_path, time)
    yield made
    made.close()


def stored(id="resp_1", *, owner="ann", previous="", created=1_000_000, text="hi", status="completed", events=b""):
    return Stored(
        id=id,
        owner=owner,
        previous=previous,
        created=created,
        input=[{"type": "message", "role": "user", "content": text}],
        response={
            "id": id,
            "status": status,
            "output": [{"type": "message", "id": "msg_1", "content": "caf\u00e9 \u2028 \u0000 {}?%s"}],
        },
        events=events,
    )


@pytest_twisted.ensureDeferred
async def test_what_is_put_is_found(store):
    await store.put(stored())
    assert await store.get("resp_1", "ann") == stored()
    assert await store.get("resp_2", "ann") is None


@pytest_twisted.ensureDeferred
async def test_nobody_else_gets_it(store):
    await store.put(stored(events=b"e"))
    assert await store.get("resp_1", "bob") is None
    assert list(await store.chain("resp_1", "bob")) == []
    assert await store.events("resp_1", "bob") == b""
    assert await store.delete("resp_1", "bob") is False
    await store.put(stored("resp_2", owner="bob", previous="resp_1"))
    assert [it.id for it in await store.chain("resp_2", "bob")] == ["resp_2"]
    assert await store.get("resp_1", "ann") is not None


@pytest_twisted.ensureDeferred
async def test_delete(store):
    await store.put(stored())
    assert await store.delete("resp_1", "ann") is True
    assert await store.get("resp_1", "ann") is None
    assert await store.delete("resp_1", "ann") is False


@pytest_twisted.ensureDeferred
async def test_what_is_put_again_counts(store):
    await store.put(stored(text="old", events=b"old"))
    await store.put(stored(text="new", events=b"new"))
    assert (await store.get("resp_1", "ann")).input[0]["content"] == "new"
    assert await store.events("resp_1", "ann") == b"new"


@pytest_twisted.ensureDeferred
async def test_what_is_too_old_is_not_there(store, time):
    await store.put(stored())
    await store.put_conversation(conversation())
    time.now += 3601
    assert await store.get("resp_1", "ann") is None
    assert await store.get_conversation("conv_1", "ann") is None
    assert await store.items("conv_1", "ann") is None


@pytest_twisted.ensureDeferred
async def test_events_are_kept_as_they_are(store):
    await store.put(stored(events=bytes(range(256))))
    assert await store.events("resp_1", "ann") == bytes(range(256))
    await store.put(stored("resp_2"))
    assert await store.events("resp_2", "ann") == b""


@pytest_twisted.ensureDeferred
async def test_history_is_the_whole_chain_in_order(store):
    from twisted.internet import reactor

    archive = Archive(store, reactor)
    for number in range(1, 41):
        await store.put(stored(f"resp_{number}", previous=f"resp_{number - 1}" if number > 1 else "", text=str(number)))
    items = await archive.history("resp_40", "ann")
    assert [item["content"] for item in items[::2]] == [str(number) for number in range(1, 41)]
    assert {item.get("role", "answer") for item in items[1::2]} == {"answer"}
    await store.delete("resp_7", "ann")
    with pytest.raises(ApiError, match="'resp_7' not found") as caught:
        await archive.history("resp_40", "ann")
    assert (caught.value.status, caught.value.code) == (404, "previous_response_not_found")
    await store.put(stored("resp_41", previous="resp_40", status="in_progress"))
    await store.put(stored("resp_7", previous="resp_6"))
    with pytest.raises(ApiError, match="not at its end"):
        await archive.history("resp_41", "ann")


@pytest_twisted.ensureDeferred
async def test_items_are_found_by_their_ids(store):
    await store.put(stored())
    await store.put(replace(stored("resp_2"), response={"id": "resp_2", "output": [{"id": "a"}, {"id": "b"}, {}]}))
    running = replace(stored("resp_3"), response={"id": "resp_3", "status": "in_progress", "output": []})
    await store.put(running)
    assert await store.outputs({"c"}, "ann") == {}
    await store.end(replace(running, response={"id": "resp_3", "status": "completed", "output": [{"id": "c"}]}))
    found = await store.outputs(["a", "msg_1", "none", "c"], "ann")
    assert found == {"a": {"id": "a"}, "msg_1": stored().response["output"][0], "c": {"id": "c"}}
    assert await store.outputs(["a"], "bob") == {}
    await store.delete("resp_2", "ann")
    assert set(await store.outputs(["a", "b", "c"], "ann")) == {"c"}


# --- what runs in the background


@pytest_twisted.ensureDeferred
async def test_a_running_response_ends_once(store):
    await store.put(stored(status="in_progress"))
    assert (await store.get("resp_1", "ann")).running
    assert await store.beat() == {"resp_1": False}
    assert await store.end(stored(status="completed", text="new", events=b"e")) is True
    assert await store.get("resp_1", "ann") == stored(status="completed", text="new")
    assert await store.events("resp_1", "ann") == b"e"
    assert await store.end(stored(status="failed")) is False
    assert await store.beat() == {}


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_while_it_ran_stays_away(store):
    await store.put(stored(status="in_progress"))
    await store.delete("resp_1", "ann")
    assert await store.end(stored()) is False
    assert await store.get("resp_1", "ann") is None


@pytest_twisted.ensureDeferred
async def test_another_process_asks_for_the_end(shared):
    here, there = shared.open("here"), shared.open("there")
    await here.put(stored(status="in_progress"))
    await there.put(stored("resp_2", status="in_progress"))
    await there.cancel("resp_1", "bob")
    assert await here.beat() == {"resp_1": False}
    await there.cancel("resp_1", "ann")
    assert await here.beat() == {"resp_1": True}
    assert await there.beat() == {"resp_2": False}
    await there.delete("resp_1", "ann")
    assert await here.beat() == {}


@pytest_twisted.ensureDeferred
async def test_what_runs_elsewhere_is_left_alone(shared):
    here, there = shared.open("here"), shared.open("there")
    await here.put(stored(status="in_progress"))
    assert await there.recover() == 0
    assert (await there.get("resp_1", "ann")).running
    assert await there.end(stored()) is False


@pytest.mark.parametrize("way", ["recover", "get", "chain"])
@pytest_twisted.ensureDeferred
async def test_who_gives_no_sign_of_life_has_failed(shared, way):
    here, there = shared.open("here"), shared.open("there")
    await here.put(stored(status="in_progress"))
    shared.query("UPDATE chatbridge_processes SET seen = seen - 31 WHERE id = 'here'")
    if way == "recover":
        assert await there.recover() == 1
    elif way == "chain":
        assert (await there.chain("resp_1", "ann"))[0].response["status"] == "failed"
    found = await there.get("resp_1", "ann")
    assert found.response["status"] == "failed"
    assert found.response["error"] == {"code": "server_error", "message": LOST}
    assert found.input == stored().input
    assert await here.beat() == {}
    assert await here.end(stored()) is False


@pytest_twisted.ensureDeferred
async def test_a_process_that_is_gone_is_known_at_once(shared):
    host, pid, start = identity().split(":")
    before = shared.open(f"{host}:{pid}:{int(start) - 1}")  # the same number, given again
    other = shared.open(f"{host}x:{pid}:{int(start) - 1}")
    await before.put(stored(status="in_progress"))
    await other.put(stored("resp_2", status="in_progress"))
    now = shared.open()
    assert await now.recover() == 1
    assert (await now.get("resp_1", "ann")).response["status"] == "failed"
    assert (await now.get("resp_2", "ann")).running


# --- conversations


def conversation(id="conv_1", owner="ann", **metadata):
    return Conversation(id=id, owner=owner, created=1_000_000, metadata=metadata)


def items(*ids):
    return [{"id": id, "type": "message", "content": f"\u00e9 {id}"} for id in ids]


@pytest.mark.parametrize("odd", ["\ud800", "\0", "a\udfffb\0", ""])
@pytest_twisted.ensureDeferred
async def test_ids_that_no_database_can_hold(store, odd):
    assert await store.get(odd, "ann") is None
    assert await store.chain(odd, "ann") == []
    assert await store.outputs([odd], "ann") == {}
    assert await store.delete(odd, "ann") is False
    assert await store.items(odd, "ann") is None
    await store.put_conversation(conversation(), items(odd, "b"))
    assert len(await store.items("conv_1", "ann")) == 2


@pytest_twisted.ensureDeferred
async def test_a_conversation_and_its_items(store):
    await store.put_conversation(conversation(a="1"), items("a", "b"))
    assert await store.get_conversation("conv_1", "ann") == conversation(a="1")
    assert await store.append("conv_1", "ann", items("c")) is True
    assert await store.items("conv_1", "ann") == items("a", "b", "c")
    assert await store.delete_item("conv_1", "ann", "b") is True
    assert await store.delete_item("conv_1", "ann", "b") is False
    await store.put_conversation(conversation(b="2"))
    assert await store.get_conversation("conv_1", "ann") == conversation(b="2")
    assert await store.items("conv_1", "ann") == items("a", "c")
    assert await store.append("conv_1", "ann", items("d", "a")) is True  # said again is not said twice
    assert await store.items("conv_1", "ann") == items("a", "c", "d")
    assert await store.delete_conversation("conv_1", "ann") is True
    assert await store.delete_conversation("conv_1", "ann") is False
    assert await store.items("conv_1", "ann") is None
    await store.put_conversation(conversation())
    assert await store.items("conv_1", "ann") == []


@pytest_twisted.ensureDeferred
async def test_nobody_else_gets_a_conversation(store):
    await store.put_conversation(conversation(), items("a"))
    assert await store.get_conversation("conv_1", "bob") is None
    assert await store.items("conv_1", "bob") is None
    assert await store.append("conv_1", "bob", items("b")) is False
    assert await store.delete_item("conv_1", "bob", "a") is False
    assert await store.delete_conversation("conv_1", "bob") is False
    await store.put(stored(owner="bob"), Addition("conv_1", items("c")))
    assert await store.items("conv_1", "ann") == items("a")


@pytest_twisted.ensureDeferred
async def test_an_answer_adds_to_its_conversation(store):
    await store.put_conversation(conversation())
    await store.put(stored(), Addition("conv_1", items("a", "b")))
    await store.put(stored("resp_2", status="in_progress"))
    await store.end(stored("resp_2"), Addition("conv_1", items("c")))
    await store.end(stored("resp_2"), Addition("conv_1", items("d")))
    assert await store.items("conv_1", "ann") == items("a", "b", "c")
    await store.put(stored("resp_3"), Addition("conv_none", items("e")))
    assert await store.get("resp_3", "ann") is not None


@pytest_twisted.ensureDeferred
async def test_two_that_add_at_once_lose_nothing(shared):
    here, there = shared.open("here"), shared.open("there")
    await here.put_conversation(conversation())
    running = [
        store.append("conv_1", "ann", items(f"{name}{number}"))
        for number, (name, store) in itertools.product(range(20), (("h", here), ("t", there)))
    ]
    for added in running:
        await added
    found = await here.items("conv_1", "ann")
    assert sorted(item["id"] for item in found) == sorted(f"{name}{number}" for name in "ht" for number in range(20))


# --- memory


@pytest_twisted.ensureDeferred
async def test_memory_is_bounded_by_count_and_bytes(time):
    store = MemoryStore(time, 3600.0, count=3)
    for number in range(5):
        await store.put(stored(f"resp_{number}"))
    assert [await store.get(f"resp_{n}", "ann") is not None for n in range(5)] == [False, False, True, True, True]
    store = MemoryStore(time, 3600.0, size=len(stored().content()) * 2)
    await store.put(stored("resp_1"))
    await store.put(stored("resp_2"))
    await store.get("resp_1", "ann")  # asked for last, so kept
    await store.put(stored("resp_3"))
    assert [await store.get(f"resp_{n}", "ann") is not None for n in (1, 2, 3)] == [True, False, True]
    await store.put(stored("resp_4", events=b"x" * 10_000))
    assert await store.get("resp_4", "ann") is None
    await store.put_conversation(conversation())
    await store.append("conv_1", "ann", items("a" * 10_000))
    assert await store.get_conversation("conv_1", "ann") is None
    await store.put(stored("resp_5"))
    assert await store.get("resp_5", "ann") is not None


@pytest_twisted.ensureDeferred
async def test_memory_lets_go_of_nothing_that_runs(time):
    store = MemoryStore(time, 3600.0, count=2)
    await store.put(stored("resp_run", status="in_progress"))
    for number in range(5):
        await store.put(stored(f"resp_{number}"))
    time.now += 4000
    await store.put(stored("resp_new", created=int(time.now)))
    assert await store.beat() == {"resp_run": False}


# --- files and servers


@pytest_twisted.ensureDeferred
async def test_what_is_old_is_pruned(shared, time):
    store = shared.open()
    await store.put(stored("resp_old"))
    await store.put_conversation(conversation("conv_old"), items("a"))
    await store.close()
    time.now += 4000
    store = shared.open()
    await store.put(stored("resp_new", created=int(time.now)))
    await store.put_conversation(conversation("conv_new"), items("a"))
    assert shared.query("SELECT id FROM chatbridge_responses") == [("resp_new",)]
    assert shared.query("SELECT id FROM chatbridge_conversations") == [("conv_new",)]
    assert shared.query("SELECT conversation FROM chatbridge_items") == [("conv_new",)]


@pytest_twisted.ensureDeferred
async def test_a_store_is_there_when_it_is_opened_again(shared):
    await shared.open().put(stored())
    assert await shared.open().get("resp_1", "ann") == stored()


@pytest_twisted.ensureDeferred
async def test_tables_of_the_second_version_are_taken_over(shared, monkeypatch):
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(sqlite, "VERSION", 2)
    monkeypatch.setattr(postgres_module, "VERSION", 2)
    shared.open()
    monkeypatch.undo()
    store = shared.open()
    await store.put(stored())
    assert await store.outputs(["msg_1"], "ann") != {}
    shared.open()  # and once more changes nothing
    assert await store.get("resp_1", "ann") == stored()


@pytest_twisted.ensureDeferred
async def test_a_file_of_the_first_version_is_taken_over(tmp_path, time):
    from twisted.internet import reactor

    path = tmp_path / "r.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, previous TEXT NOT NULL, "
            "created INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID"
        )
        row = ("resp_1", "ann", "", 1_000_000, stored().content())
        connection.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("PRAGMA user_version = 1")
    store = sqlite_store(str(path), time, 3600.0, reactor)
    assert await store.get("resp_1", "ann") == stored()
    await store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644  # as it was


def test_a_file_that_cannot_be_used(tmp_path, time):
    for path, content in (
        (tmp_path / "no" / "r.db", None),
        (tmp_path / "other", b"not a database, but long enough" * 9),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StoreError) as caught:
            sqlite_store(str(path), time, 1.0, None)
        assert str(caught.value).startswith(str(path))
    with closing(sqlite3.connect(tmp_path / "newer")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="another version"):
        sqlite_store(str(tmp_path / "newer"), time, 1.0, None)


def test_a_server_that_cannot_be_used(postgres, time):  # noqa: F811 - the fixture
    from chatbridge.store.postgres import postgres_store

    wrong = Secret("wrong-4711-password")
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        postgres_store(postgres.public_url, wrong, time, 1.0, None)
    assert "4711" not in str(caught.value)
    with pytest.raises(StoreError, match="postgresql://bridge@/postgres"):
        postgres_store("postgresql://bridge@/postgres?host=/nonexistent", Secret(""), time, 1.0, None)
    postgres.query("CREATE TABLE IF NOT EXISTS chatbridge_schema (version INTEGER NOT NULL)")
    postgres.query("DELETE FROM chatbridge_schema")
    postgres.query("INSERT INTO chatbridge_schema VALUES (99)")
    with pytest.raises(StoreError, match="another version"):
        postgres_store(postgres.public_url, Secret(PASSWORD), time, 1.0, None)


@pytest_twisted.ensureDeferred
async def test_a_server_that_starts_again_is_found_again(request, tmp_path, time):
    place = Place("postgres", request, tmp_path, time)
    store = place.open()
    await store.put(stored())
    place.server.stop()
    try:
        with pytest.raises(Exception, match="connection"):
            await store.get("resp_1", "ann")
        with pytest.raises(Exception, match="connection"):
            await store.put(stored("resp_2"))
    finally:
        place.server.start()
    assert await store.get("resp_1", "ann") == stored()
    place.server.stop()
    place.server.start()
    await store.put(stored("resp_2"))  # the first that is asked after it finds the old connection dead
    assert await store.get("resp_2", "ann") is not None
    await store.close()
