"""A store in PostgreSQL, for several bridges at once. Needs psycopg 3, the optional extra ``postgres``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.service.secret import Secret
from chatbridge.store.database import Database, Dialect
from chatbridge.store.record import StoreError
from chatbridge.store.schema import VERSION, migrate
from chatbridge.store.sql import SqlStore

try:
    import psycopg
except ImportError:  # the optional extra is not installed
    psycopg = None  # type: ignore[assignment]

CONNECTIONS = 4
"""Of one bridge."""
_DIALECT = Dialect(mark="%s", clock="CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)")
_OPTIONS = {
    # A server that is gone without a word is noticed; all of these can be set in the URL too.
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "tcp_user_timeout": "10000",
    "application_name": "chatbridge",
}
_LOCK = 0x63686174  # any number will do that nobody else uses


def postgres_store(
    url: str, password: Secret, now: Callable[[], float], max_age: float, reactor: Any, *, process: str = ""
) -> SqlStore:
    """Return the store in the database at *url*, which holds no password; its tables are made when they are not there.

    Raises :exc:`StoreError` when it cannot be used. The rest is as with :class:`SqlStore`.
    """
    if psycopg is None:
        raise StoreError("PostgreSQL needs psycopg: install chatbridge[postgres], or Debian's python3-psycopg")
    options: dict[str, Any] = {**_OPTIONS, **psycopg.conninfo.conninfo_to_dict(url)}
    if password:
        options["password"] = password.reveal()
    # Poolers between here and the server lose prepared statements.
    options["prepare_threshold"] = None
    try:
        with psycopg.connect(**options) as connection:
            _prepare(connection)
    except (psycopg.Error, StoreError) as error:
        raise StoreError(password.redact(f"{url}: {str(error).strip()}")) from None
    database = Database(
        _DIALECT, reactor, "psycopg", threads=CONNECTIONS, lost=_is_lost,
        cursor={"binary": True},  # as text, bytes are twice as long and take six times as long to read
        cp_openfun=_open, **options,
    )  # fmt: skip
    return SqlStore(database, now, max_age, process)


def _prepare(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))  # not to be done by two at once
        cursor.execute("CREATE TABLE IF NOT EXISTS chatbridge_schema (version INTEGER NOT NULL)")
        row = cursor.execute("SELECT version FROM chatbridge_schema").fetchone()
        migrate(cursor, row[0] if row else 0, "BYTEA")
        if row is None:
            cursor.execute("INSERT INTO chatbridge_schema VALUES (%s)", (VERSION,))
        else:
            cursor.execute("UPDATE chatbridge_schema SET version = %s", (VERSION,))


def _open(connection: Any) -> None:
    connection.execute("SET statement_timeout = '30s'")
    connection.commit()


def _is_lost(error: Exception) -> bool:
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
