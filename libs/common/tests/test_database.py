"""One engine, one transaction, locks by name, on real PostgreSQL."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError

from common import database
from common.database import Unavailable, fetch, lock, statement, transaction, try_lock
from stack.testing import Servers

_LOCK_IMPATIENTLY = text("""
    SELECT pg_advisory_xact_lock(:number)
    FROM (SELECT set_config('lock_timeout', '50ms', true)) AS soon
""")


def backend(connection: Connection) -> int:
    """Say which process of the server serves it."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_an_error_in_a_transaction_keeps_nothing(engine: Engine) -> None:
    def fail() -> None:
        with transaction(engine) as connection:
            connection.execute(text("CREATE TABLE never (x int)"))
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT to_regclass('never')")).scalar_one() is None


def test_an_error_of_the_statement_is_not_an_outage(engine: Engine) -> None:
    with pytest.raises(DataError), transaction(engine) as connection:
        connection.execute(text("SELECT 1 / 0"))


def test_a_single_statement_is_kept_as_soon_as_it_is_done(engine: Engine) -> None:
    with statement(engine) as connection:
        connection.execute(text("CREATE TABLE kept (x int)"))
        with transaction(engine) as other:
            assert other.execute(text("SELECT to_regclass('kept')")).scalar_one() == "kept"


def test_a_transaction_is_one_again_after_a_single_statement(engine: Engine) -> None:
    def fail() -> None:
        with transaction(engine) as connection:
            connection.execute(text("INSERT INTO again VALUES (1)"))
            raise KeyError("x")

    with statement(engine) as connection:
        connection.execute(text("CREATE TABLE again (x int)"))
    with pytest.raises(DataError), statement(engine) as connection:
        connection.execute(text("SELECT 1 / 0"))
    with pytest.raises(KeyError):
        fail()
    with statement(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM again")).scalar_one() == 0


def test_a_connection_cut_in_a_single_statement_is_an_outage(engine: Engine) -> None:
    with pytest.raises(Unavailable), statement(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    database.probe(engine)


def test_connections_cut_while_idle_are_made_anew_unnoticed(engine: Engine) -> None:
    idle = database.connect(engine.url.render_as_string(hide_password=False), "common-tests", pool_size=2)
    with transaction(idle) as first, transaction(idle) as second:
        before = {backend(first), backend(second)}
    with statement(engine) as connection:
        for each in before:  # it returns when the backend is gone
            connection.execute(text("SELECT pg_terminate_backend(:pid, 30000)"), {"pid": each})
    with transaction(idle) as first, statement(idle) as second:
        assert before.isdisjoint({backend(first), backend(second)})
    idle.dispose()


_DOUBLE = text("SELECT CAST(:x AS int) * 2 AS double, '100 %' AS share")
_KEPT = text("INSERT INTO fetched VALUES (:x) RETURNING x")


def test_a_hot_statement_gives_its_rows_by_name_on_every_connection(engine: Engine) -> None:
    for _ in range(2):
        with transaction(engine) as first, statement(engine) as second:
            assert fetch(first, _DOUBLE, {"x": 4}) == [{"double": 8, "share": "100 %"}]
            assert fetch(second, _DOUBLE, {"x": 5}) == [{"double": 10, "share": "100 %"}]


def test_a_hot_statement_is_part_of_its_transaction(engine: Engine) -> None:
    def fail() -> None:
        with transaction(engine) as connection:
            fetch(connection, _KEPT, {"x": 1})
            raise KeyError("x")

    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE fetched (x int UNIQUE)"))
    with pytest.raises(KeyError):
        fail()
    with statement(engine) as connection:
        assert fetch(connection, _KEPT, {"x": 1}) == [{"x": 1}]


def test_errors_of_hot_statements_are_those_of_others(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS fetched (x int UNIQUE)"))
    for value, error in ((7, None), (7, IntegrityError), ("seven", DataError)):
        if error is None:
            with transaction(engine) as connection:
                fetch(connection, _KEPT, {"x": value})
        else:
            with pytest.raises(error), transaction(engine) as connection:
                fetch(connection, _KEPT, {"x": value})
    with pytest.raises(Unavailable), transaction(engine) as connection:
        fetch(connection, text("SELECT pg_terminate_backend(pg_backend_pid())"), {})
    with transaction(engine) as connection:
        assert fetch(connection, _DOUBLE, {"x": 1})[0]["double"] == 2


def test_a_plan_that_a_migration_spoiled_is_an_outage_of_one_call(engine: Engine) -> None:
    read = text("SELECT * FROM changing")
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE changing AS SELECT 1 AS x"))
        assert fetch(connection, read, {}) == [{"x": 1}]
    with transaction(engine) as connection:
        connection.execute(text("ALTER TABLE changing ADD COLUMN y int"))
    with pytest.raises(Unavailable), statement(engine) as connection:
        fetch(connection, read, {})
    with transaction(engine) as connection:
        assert fetch(connection, read, {}) == [{"x": 1, "y": None}]
        connection.execute(text("DROP TABLE changing"))


def test_a_lock_is_held_until_the_transaction_ends(engine: Engine) -> None:
    with transaction(engine) as first:
        lock(first, "run", 1)
        with transaction(engine) as second:
            assert not try_lock(second, "run", 1)
            assert try_lock(second, "run", 2)
            assert try_lock(second, "run1")
    with transaction(engine) as third:
        assert try_lock(third, "run", 1)


def test_waiting_too_long_for_a_lock_is_an_outage(engine: Engine) -> None:
    with transaction(engine) as first:
        lock(first, "slow")
        with pytest.raises(Unavailable), transaction(engine) as second:
            second.execute(_LOCK_IMPATIENTLY, {"number": database.lock_number("slow")})


def test_a_connection_that_was_cut_is_an_outage_and_the_next_one_works(engine: Engine) -> None:
    with pytest.raises(Unavailable), transaction(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    database.probe(engine)


def test_a_database_that_is_not_there_is_an_outage(servers: Servers) -> None:
    url = servers.database_url("jobs").replace(f":{servers.ports.postgres}/", ":1/")
    with pytest.raises(Unavailable):
        database.probe(database.connect(url, "nobody"))


def test_a_url_without_a_driver_is_read_as_psycopg2() -> None:
    assert database.connect("postgresql://u:p@127.0.0.1:1/x", "a").driver == "psycopg2"


def test_names_of_locks_do_not_run_into_each_other() -> None:
    numbers = {database.lock_number(*names) for names in (("a", "b"), ("ab",), ("a", "", "b"), ("b", "a"))}
    assert len(numbers) == 4
    assert all(-(2**63) <= number < 2**63 for number in numbers)


def test_a_statement_under_a_lock_waits_for_it_and_sees_what_its_holder_did(engine: Engine) -> None:
    count = text("SELECT count(*) AS n FROM counted")

    def read() -> int:
        with statement(engine) as connection:
            return int(fetch(connection, count, {}, locked=("counted",))[0]["n"])

    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE counted (x int)"))
    with ThreadPoolExecutor(1) as threads:
        with transaction(engine) as holder:
            lock(holder, "counted")
            reading = threads.submit(read)
            until_somebody_waits(engine)
            holder.execute(text("INSERT INTO counted VALUES (1)"))
        assert reading.result(timeout=30) == 1
    with transaction(engine) as connection:
        assert try_lock(connection, "counted")
        connection.execute(text("DROP TABLE counted"))


def until_somebody_waits(engine: Engine) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    until = time.monotonic() + 30
    with engine.connect() as connection:
        while not connection.execute(waiting).scalar_one():
            assert time.monotonic() < until
            connection.rollback()
