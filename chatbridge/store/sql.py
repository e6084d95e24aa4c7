"""A store in a database that speaks SQL; several processes may use the same one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatbridge.protocol.jsontext import dumps, loads, repair
from chatbridge.store.database import Database
from chatbridge.store.process import identity, is_gone
from chatbridge.store.record import Addition, Conversation, Items, Stored

STALE = 30
"""Seconds without a beat after which a process is taken for gone."""
LOST = "chatbridge was stopped before the answer was complete."
CHAIN_LIMIT = 10_000
"""Responses of one chain."""
_PRUNE_EVERY = 200
_RUNNING = "status IN ('queued', 'in_progress')"

T = TypeVar("T")

_log = Logger()


class SqlStore:
    """Keeps responses and conversations in *database* for *max_age* seconds.

    *now* returns seconds since the epoch. *process* names the process that this store belongs to.
    """

    def __init__(self, database: Database, now: Callable[[], float], max_age: float, process: str = "") -> None:
        self._database = database
        self._now = now
        self._max_age = max_age
        self._process = process or identity()
        self._writes = 0

    # --- responses

    def put(self, stored: Stored, addition: Addition | None = None) -> Deferred[None]:
        def put(sql: _Sql) -> None:
            process = ""
            if stored.running:
                process = self._process
                self._beat(sql)
            sql(
                "INSERT INTO chatbridge_responses VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "owner = excluded.owner, previous = excluded.previous, created = excluded.created, "
                "status = excluded.status, process = excluded.process, content = excluded.content, "
                "events = excluded.events",
                stored.id, stored.owner, stored.previous, stored.created, stored.response.get("status", "completed"),
                process, stored.content(), stored.events,
            )  # fmt: skip
            self._index(sql, stored)
            self._add(sql, stored.owner, addition)

        return self._write(put)

    def end(self, stored: Stored, addition: Addition | None = None) -> Deferred[bool]:
        def end(sql: _Sql) -> bool:
            sql(
                f"UPDATE chatbridge_responses SET status = ?, process = '', content = ?, events = ? "
                f"WHERE id = ? AND owner = ? AND process = ? AND {_RUNNING}",
                stored.response["status"], stored.content(), stored.events, stored.id, stored.owner, self._process,
            )  # fmt: skip
            ended = sql.count > 0
            if ended:
                self._index(sql, stored)
                self._add(sql, stored.owner, addition)
            return ended

        return self._write(end)

    def get(self, id: str, owner: str) -> Deferred[Stored | None]:
        return self._run(lambda sql: self._get(sql, id, owner))

    def chain(self, id: str, owner: str) -> Deferred[list[Stored]]:
        def chain(sql: _Sql) -> list[Stored]:
            first = self._get(sql, id, owner)
            if first is None or not first.previous:
                return [first] if first is not None else []
            rows = sql(
                "WITH RECURSIVE chain (id, previous, created, content, depth) AS ("
                "SELECT id, previous, created, content, 0 FROM chatbridge_responses "
                "WHERE id = ? AND owner = ? AND created >= ? "
                "UNION ALL SELECT r.id, r.previous, r.created, r.content, c.depth + 1 FROM chatbridge_responses r "
                "JOIN chain c ON r.id = c.previous WHERE r.owner = ? AND r.created >= ? AND c.depth < ?"
                ") SELECT id, previous, created, content FROM chain ORDER BY depth",
                first.previous, owner, self._oldest(), owner, self._oldest(), CHAIN_LIMIT,
            )  # fmt: skip
            return [first, *(Stored.of(row[0], owner, *row[1:]) for row in rows)]

        return self._run(chain)

    def events(self, id: str, owner: str) -> Deferred[bytes]:
        def events(sql: _Sql) -> bytes:
            rows = sql("SELECT events FROM chatbridge_responses WHERE id = ? AND owner = ?", id, owner)
            return bytes(rows[0][0]) if rows else b""

        return self._run(events)

    def outputs(self, ids: Collection[str], owner: str) -> Deferred[dict[str, Any]]:
        def outputs(sql: _Sql) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for id in ids:
                if id in found:
                    continue  # it came with another one of the same response
                rows = sql("SELECT response FROM chatbridge_outputs WHERE id = ? AND owner = ?", id, owner)
                stored = self._get(sql, rows[0][0], owner) if rows else None
                found |= stored.outputs() if stored is not None else {}
            return {id: item for id, item in found.items() if id in ids}

        return self._run(outputs)

    def delete(self, id: str, owner: str) -> Deferred[bool]:
        def delete(sql: _Sql) -> bool:
            sql("DELETE FROM chatbridge_responses WHERE id = ? AND owner = ?", id, owner)
            if not sql.count:
                return False
            sql("DELETE FROM chatbridge_outputs WHERE response = ?", id)
            return True

        return self._run(delete)

    def cancel(self, id: str, owner: str) -> Deferred[None]:
        def cancel(sql: _Sql) -> None:
            sql("UPDATE chatbridge_responses SET cancelled = 1 WHERE id = ? AND owner = ?", id, owner)

        return self._run(cancel)

    def beat(self) -> Deferred[dict[str, bool]]:
        def beat(sql: _Sql) -> dict[str, bool]:
            self._beat(sql)
            rows = sql(
                f"SELECT id, cancelled FROM chatbridge_responses WHERE process = ? AND {_RUNNING}",
                self._process,
            )
            return {id: bool(cancelled) for id, cancelled in rows}

        return self._run(beat)

    def recover(self) -> Deferred[int]:
        def recover(sql: _Sql) -> int:
            rows = sql(
                "SELECT DISTINCT r.process, p.seen FROM chatbridge_responses r "
                "LEFT JOIN chatbridge_processes p ON p.id = r.process WHERE r.process <> '' AND r.process <> ?",
                self._process,
            )
            gone = [process for process, seen in rows if self._is_gone(sql, process, seen)]
            return sum(self._fail(sql, process) for process in gone)

        return self._run(recover)

    # --- conversations

    def put_conversation(self, conversation: Conversation, items: Items = ()) -> Deferred[None]:
        def put(sql: _Sql) -> None:
            sql(
                "INSERT INTO chatbridge_conversations VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "metadata = excluded.metadata, touched = excluded.touched",
                conversation.id, conversation.owner, conversation.created, int(self._now()),
                dumps(conversation.metadata),
            )  # fmt: skip
            self._append(sql, conversation.id, conversation.owner, items)

        return self._write(put)

    def get_conversation(self, id: str, owner: str) -> Deferred[Conversation | None]:
        def get(sql: _Sql) -> Conversation | None:
            rows = sql(
                "SELECT created, metadata FROM chatbridge_conversations WHERE id = ? AND owner = ? AND touched >= ?",
                id, owner, self._oldest(),
            )  # fmt: skip
            if not rows:
                return None
            return Conversation(id=id, owner=owner, created=rows[0][0], metadata=loads(rows[0][1]))

        return self._run(get)

    def delete_conversation(self, id: str, owner: str) -> Deferred[bool]:
        def delete(sql: _Sql) -> bool:
            sql("DELETE FROM chatbridge_conversations WHERE id = ? AND owner = ?", id, owner)
            if not sql.count:
                return False
            sql("DELETE FROM chatbridge_items WHERE conversation = ?", id)
            return True

        return self._run(delete)

    def append(self, id: str, owner: str, items: Items) -> Deferred[bool]:
        return self._write(lambda sql: self._append(sql, id, owner, items))

    def items(self, id: str, owner: str) -> Deferred[list[dict[str, Any]] | None]:
        def items(sql: _Sql) -> list[dict[str, Any]] | None:
            rows = sql(
                "SELECT i.content FROM chatbridge_conversations c "
                "LEFT JOIN chatbridge_items i ON i.conversation = c.id "
                "WHERE c.id = ? AND c.owner = ? AND c.touched >= ? ORDER BY i.place",
                id, owner, self._oldest(),
            )  # fmt: skip
            return [loads(content) for (content,) in rows if content is not None] if rows else None

        return self._run(items)

    def delete_item(self, id: str, owner: str, item: str) -> Deferred[bool]:
        def delete(sql: _Sql) -> bool:
            sql(
                "DELETE FROM chatbridge_items WHERE conversation = ? AND id = ? AND EXISTS ("
                "SELECT 1 FROM chatbridge_conversations WHERE id = ? AND owner = ?)",
                id, item, id, owner,
            )  # fmt: skip
            return sql.count > 0

        return self._run(delete)

    def ping(self) -> Deferred[None]:
        def ping(sql: _Sql) -> None:
            sql("SELECT 1 FROM chatbridge_processes WHERE id = ''")

        return self._run(ping)

    def close(self) -> Deferred[None]:
        return self._database.close()

    # --- in a thread

    def _get(self, sql: _Sql, id: str, owner: str) -> Stored | None:
        found = self._read(sql, id, owner)
        if found is None:
            return None
        stored, process, seen = found
        if stored.running and self._is_gone(sql, process, seen) and self._fail(sql, process):
            found = self._read(sql, id, owner)
        return found[0] if found is not None else None

    def _read(self, sql: _Sql, id: str, owner: str) -> tuple[Stored, str, int | None] | None:
        rows = sql(
            "SELECT r.previous, r.created, r.content, r.process, p.seen FROM chatbridge_responses r "
            "LEFT JOIN chatbridge_processes p ON p.id = r.process WHERE r.id = ? AND r.owner = ? AND r.created >= ?",
            id, owner, self._oldest(),
        )  # fmt: skip
        if not rows:
            return None
        previous, created, content, process, seen = rows[0]
        return Stored.of(id, owner, previous, created, content), process, seen

    def _is_gone(self, sql: _Sql, process: str, seen: int | None) -> bool:
        if process == self._process:
            return False
        return seen is None or is_gone(process) or seen < sql.clock() - STALE

    def _fail(self, sql: _Sql, process: str) -> int:
        """End what ran in *process*, unless another one does so now."""
        rows = sql(
            f"SELECT id, owner, previous, created, content FROM chatbridge_responses WHERE process = ? AND {_RUNNING}",
            process,
        )
        failed = 0
        for row in rows:
            stored = Stored.of(*row).failed(LOST)
            sql(
                f"UPDATE chatbridge_responses SET status = 'failed', process = '', content = ? "
                f"WHERE id = ? AND process = ? AND {_RUNNING}",
                stored.content(), stored.id, process,
            )  # fmt: skip
            failed += sql.count
        sql("DELETE FROM chatbridge_processes WHERE id = ?", process)
        return failed

    def _beat(self, sql: _Sql) -> None:
        sql(
            f"INSERT INTO chatbridge_processes VALUES (?, {sql.dialect.clock}) "
            "ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
            self._process,
        )

    def _index(self, sql: _Sql, stored: Stored) -> None:
        for id in stored.outputs():
            sql(
                "INSERT INTO chatbridge_outputs VALUES (?, ?, ?) "
                "ON CONFLICT (id, owner) DO UPDATE SET response = excluded.response",
                id, stored.owner, stored.id,
            )  # fmt: skip

    def _add(self, sql: _Sql, owner: str, addition: Addition | None) -> None:
        if addition is not None:
            self._append(sql, addition.conversation, owner, addition.items)

    def _append(self, sql: _Sql, id: str, owner: str, items: Items) -> bool:
        # First, because it also locks the conversation: two that append at once do it one after the other.
        sql("UPDATE chatbridge_conversations SET touched = ? WHERE id = ? AND owner = ?", int(self._now()), id, owner)
        if not sql.count:
            return False
        ((place,),) = sql("SELECT COALESCE(MAX(place), 0) FROM chatbridge_items WHERE conversation = ?", id)
        for number, item in enumerate(items, place + 1):
            sql(
                "INSERT INTO chatbridge_items VALUES (?, ?, ?, ?) "
                "ON CONFLICT (conversation, id) DO UPDATE SET content = excluded.content",
                id, number, item["id"], dumps(item),
            )  # fmt: skip
        return True

    def _oldest(self) -> int:
        return int(self._now() - self._max_age)

    # --- from the reactor

    def _run(self, work: Callable[[_Sql], T]) -> Deferred[T]:
        return self._database.run(lambda cursor: work(_Sql(cursor, self._database)))

    def _write(self, work: Callable[[_Sql], T]) -> Deferred[T]:
        self._writes += 1
        if self._writes % _PRUNE_EVERY == 1:
            pruned = self._run(self._prune)
            pruned.addErrback(lambda failure: _log.error("what is old was not deleted: {why}", why=failure.value))
        return self._run(work)

    def _prune(self, sql: _Sql) -> None:
        oldest = self._oldest()
        sql(
            "DELETE FROM chatbridge_outputs WHERE response IN (SELECT id FROM chatbridge_responses WHERE created < ?)",
            oldest,
        )
        sql("DELETE FROM chatbridge_responses WHERE created < ?", oldest)
        sql(
            "DELETE FROM chatbridge_items WHERE conversation IN ("
            "SELECT id FROM chatbridge_conversations WHERE touched < ?)",
            oldest,
        )
        sql("DELETE FROM chatbridge_conversations WHERE touched < ?", oldest)


def _writable(text: str) -> str:
    """Return *text* as every database takes it. Clients choose the ids of items, and what they refer to."""
    return repair(text).replace("\0", "\ufffd")


class _Sql:
    """Runs statements written with ``?``; :attr:`count` tells how many rows the last one changed."""

    def __init__(self, cursor: Any, database: Database) -> None:
        self._cursor = cursor
        self.dialect = database.dialect
        self.count = 0

    def __call__(self, statement: str, *values: Any) -> list[Any]:
        writable = [_writable(value) if isinstance(value, str) else value for value in values]
        self._cursor.execute(statement.replace("?", self.dialect.mark), writable)
        self.count = self._cursor.rowcount
        rows: list[Any] = []
        if self._cursor.description is not None:
            rows = self._cursor.fetchall()
        return rows

    def clock(self) -> int:
        """Return the database's time."""
        ((now,),) = self(f"SELECT {self.dialect.clock}")
        return int(now)
