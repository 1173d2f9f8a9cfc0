"""PostgreSQL: one engine a process, one transaction a view, advisory locks by name.

Statements are SQLAlchemy Core `text()`; the ORM is not used. A lost connection is `Unavailable`, which
every service answers with 503, and the pool makes new connections by itself.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg2
import sqlalchemy
from sqlalchemy import Connection, Engine, TextClause, event, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 10_000
_DIALECT = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_LOCK = text("SELECT pg_advisory_xact_lock(:number)")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:number) AS is_locked")
# A standby; a server that stops or is not up yet; a plan from before a migration.
_NOT_NOW = {"25006", "57P01", "57P02", "57P03", "0A000"}


class Unavailable(Exception):
    """The database cannot be reached right now; nothing of this transaction was kept."""


def connect(url: str, application: str, *, pool_size: int = 16) -> Engine:
    """Make an engine of at most so many connections, kept once they are open.

    Call it after the fork; no connection is opened until the first use. Whoever finds all taken waits.
    """
    # SQLAlchemy 2.1 reads `postgresql://` as psycopg 3.
    url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC"
        " -c plan_cache_mode=force_generic_plan"  # what is prepared is planned once
    )
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=10,
        pool_recycle=1800,
        connect_args={"application_name": application, "connect_timeout": 5, "options": options},
    )
    event.listen(engine, "checkout", _look)
    return engine


def _look(connection: Any, *_: object) -> None:
    """Have the pool connect anew where the server has hung up meanwhile: nothing is sent to find out."""
    try:
        connection.poll()  # reads the server's last word
        connection.poll()  # reads that there is no more
    except psycopg2.Error as error:
        raise DisconnectionError(str(error)) from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Open the one transaction of a unit of work; commit at its end, roll back on any error."""
    with _reached(engine), engine.begin() as connection:
        yield connection


@contextmanager
def statement(engine: Engine) -> Iterator[Connection]:
    """Run one statement that is a transaction of its own: kept as soon as it is done.

    It takes one round trip where a transaction takes three. What a second one finds was seen by others.
    """
    with (
        _reached(engine),
        engine.connect() as connection,
        _autocommit(connection.connection.driver_connection),
    ):
        yield connection


@contextmanager
def _autocommit(driver: Any) -> Iterator[None]:
    # SQLAlchemy's own isolation_level="AUTOCOMMIT" has the server told of it, twice a call.
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False


@contextmanager
def _reached(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeoutError) as error:
        raise Unavailable(str(error.__cause__ or error)) from error
    except DBAPIError as error:
        if error.connection_invalidated or _pgcode(error) in _NOT_NOW:
            engine.dispose()  # the other connections lead to the same server
            raise Unavailable(str(error.__cause__ or error)) from error
        raise


def fetch(
    connection: Connection, clause: TextClause, values: Mapping[str, Any], *, locked: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """Run a hot statement and return its rows: prepared once a connection, and straight on the driver.

    To plan one takes the server longer than to run it, and SQLAlchemy's own way as much CPU as the rest of a
    call. `clause` is a constant of its module, because every connection keeps every one. The server plans
    again by itself when a table changes or was analyzed.

    `locked` names an advisory lock that is waited for in the same round trip: the statement sees what the
    holder did, and the lock is held until the transaction ends.
    """
    prepared = _prepared(clause)
    known: set[str] = connection.connection.info.setdefault("prepared", set())
    with closing(connection.connection.cursor()) as cursor:
        try:
            if prepared.name not in known:
                cursor.execute(prepared.prepare)
                known.add(prepared.name)
            cursor.execute(_locking(locked) + prepared.execute, values)
            names = [column[0] for column in cursor.description or ()]
            if not names:
                return []
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            raise DBAPIError.instance(
                str(clause), None, error, psycopg2.Error, hide_parameters=True
            ) from error


def _locking(names: Sequence[object]) -> str:
    return f"SELECT pg_advisory_xact_lock({lock_number(*names)}); " if names else ""


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    name: str
    prepare: str
    execute: str


@lru_cache(maxsize=1024)
def _prepared(clause: TextClause) -> _Prepared:
    compiled = clause.compile(dialect=_DIALECT)
    name = f"hot_{hashlib.blake2b(str(compiled).encode(), digest_size=8).hexdigest()}"
    values = ", ".join(f"%({name})s" for name in compiled.positiontup or ())
    return _Prepared(
        name=name,
        prepare=f"PREPARE {name} AS {compiled}",
        execute=f"EXECUTE {name}({values})" if values else f"EXECUTE {name}",
    )


def _pgcode(error: DBAPIError) -> str:
    return getattr(error.orig, "pgcode", None) or ""


def lock_number(*names: object) -> int:
    """Map a name to the signed 64-bit number PostgreSQL's advisory locks take."""
    digest = hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def lock(connection: Connection, *names: object) -> None:
    """Wait for the advisory lock `names`; it is held until the transaction ends."""
    fetch(connection, _LOCK, {"number": lock_number(*names)})


def try_lock(connection: Connection, *names: object) -> bool:
    """Take the advisory lock `names` if nobody holds it; it is held until the transaction ends."""
    [row] = fetch(connection, _TRY_LOCK, {"number": lock_number(*names)})
    return bool(row["is_locked"])


def probe(engine: Engine) -> None:
    """Ask the database for one; any error means not ready."""
    with transaction(engine) as connection:
        connection.execute(text("SELECT 1"))
