"""Streams while what they depend on is away, and clients that take nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
import urllib3
from sqlalchemy import Engine, text

from stack.testing import Servers

SECONDS = 60  # for what must come, on a busy machine
# Ten kilobytes a line, a hundred lines at once, past the executor API: what matters is how they are read.
FLOOD = """
    WITH moved AS (UPDATE run SET event_seq = event_seq + 100 WHERE id = :run RETURNING id, event_seq)
    INSERT INTO run_event (run_id, seq, type, data)
    SELECT id, event_seq - 100 + n, 'log', jsonb_build_object('message', repeat('x', 10000))
    FROM moved, generate_series(1, 100) AS n
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def killed(server: Any) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.restart()


def comments(stream: Any, count: int) -> list[str]:
    return [block.comment for block in islice((each for each in stream if each.comment), count)]


def test_events_come_without_redis_and_after_it_lost_everything(
    new_watch: Any, runs: Any, servers: Servers
) -> None:
    run = runs.begin()
    with new_watch() as watch, watch.stream(run, query=f"?after={run.event_seq}") as stream:
        with killed(servers.valkey):
            runs.log(run, "by the tick")
            assert stream.next().data["message"] == "by the tick"
        servers.flush_redis()
        runs.log(run, "and afterwards")
        assert stream.next().data["message"] == "and afterwards"
        runs.complete(run)
        assert [block.event for block in stream.events()] == ["status", "end"]


def test_a_stream_outlives_the_database_and_goes_on_where_it_was(
    watch: Any, runs: Any, servers: Servers
) -> None:
    run = runs.begin()
    with watch.stream(run, query=f"?after={run.event_seq}") as stream:
        runs.log(run, "before")
        assert stream.next().data["message"] == "before"
        with killed(servers.postgres):
            assert len(comments(stream, 4)) == 4
            with watch.stream(run) as refused:
                assert refused.status == 503
                assert refused.answer.headers["Retry-After"]
        runs.engine.dispose()
        runs.log(run, "after")
        assert stream.next().data["message"] == "after"
        runs.complete(run)
        assert [block.event for block in stream.events()] == ["status", "end"]


def test_a_database_that_hangs_holds_up_no_comment(watch: Any, runs: Any) -> None:
    run = runs.begin()
    with watch.stream(run, query=f"?after={run.event_seq}") as stream:
        with runs.engine.begin() as connection:
            connection.execute(text("LOCK TABLE run"))  # every read of ours waits
            runs.nudge.run(run.id)
            until(lambda: is_waited_for(runs.engine))
            assert len(comments(stream, 4)) == 4
        runs.log(run, "after")
        assert stream.next().data["message"] == "after"


def is_waited_for(engine: Engine) -> bool:
    statement = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'jobs-watch' AND wait_event_type = 'Lock'"
    )
    with engine.begin() as connection:
        return connection.execute(text(statement)).first() is not None


def test_a_client_that_falls_behind_costs_no_memory_and_misses_nothing(
    watch: Any, runs: Any, rows: Any
) -> None:
    run = runs.begin()
    with watch.stream(run) as quick, watch.stream(run) as slow:
        begun = list(islice(quick.events(), run.event_seq))
        before = watch.status("VmRSS")
        for _ in range(40):  # 40 MB
            rows(FLOOD, run=run.id)
            runs.nudge.run(run.id)
            begun += islice(quick.events(), 100)
        assert (watch.status("VmRSS") - before) / 1024 < 20
        runs.complete(run)
        told = [int(block.id) for block in slow.events() if block.id]
    assert [int(block.id) for block in begun] == list(range(1, run.event_seq + 4001))
    assert told == list(range(1, run.event_seq + 4002))


def test_a_client_that_takes_nothing_is_given_up(new_watch: Any, runs: Any, rows: Any) -> None:
    run = runs.begin()
    with new_watch(client_silence_seconds="0.5") as watch, watch.stream(run):
        for _ in range(10):
            rows(FLOOD, run=run.id)
            runs.nudge.run(run.id)
        until(lambda: watch.measured("taxiway_streams") == 0)


@pytest.fixture(autouse=True)
def _nobody_else_watches(watch: Any) -> None:
    ready = f"http://127.0.0.1:{watch.port}/readyz"
    until(lambda: urllib3.request("GET", ready).status == 200)
    until(lambda: watch.measured("taxiway_streams") == 0)
