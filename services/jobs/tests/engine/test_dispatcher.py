"""The dispatcher's door: nudges, ticks, outages of what it depends on, several of them at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from common import database
from common.clock import FixedClock, SystemClock
from common.database import transaction
from jobs import dispatcher
from jobs.dispatcher import Dispatcher, Timeouts
from jobs.engine import family, leases, nudges, signals, sweeps
from jobs.engine.listening import Listener
from jobs.engine.nudges import NoNudge, RedisNudge
from jobs.engine.signals import Wish
from jobs.engine.states import Status
from jobs.engine.tables import Run
from stack.ports import free_port
from stack.testing import Servers

QUICK = Timeouts(heartbeat_seconds=15, compare_seconds=5, tick_seconds=1)


def make(bench: Any, clock: Any = None, timeouts: Timeouts = QUICK) -> Dispatcher:
    return Dispatcher(
        bench.engine, bench.redis, bench.signer, NoNudge(), clock or SystemClock(), timeouts
    )  # fmt: skip


def until(holds: Callable[[], Any], seconds: float = 15) -> None:
    """Wait for another thread or process."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass in time"
        threading.Event().wait(0.01)


@contextmanager
def running(bench: Any, tick_seconds: float = 0.2) -> Iterator[None]:
    stop, clock = threading.Event(), SystemClock()
    engine = database.connect(bench.engine.url.render_as_string(False), "dispatcher", pool_size=4)
    redis = nudges.connect(bench.redis_url, timeout_seconds=1)
    timeouts = Timeouts(heartbeat_seconds=15, compare_seconds=0.2, tick_seconds=tick_seconds)
    duties = Dispatcher(engine, redis, bench.signer, NoNudge(), clock, timeouts)
    with Listener(redis, clock) as listener:
        thread = threading.Thread(target=dispatcher.run, args=(duties, listener, stop, tick_seconds))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=10)
            engine.dispose()
            redis.close()
    assert not thread.is_alive()


def listed(bench: Any) -> int:
    length: int = bench.redis.llen("jobs:line:default")
    return length


def test_a_tick_wakes_gives_turns_and_pushes_them(bench: Any) -> None:
    run = bench.submit(delay_seconds=60)
    bench.execute("UPDATE run SET due_at = now()")
    make(bench).tick()
    assert bench.run(run.id).status is Status.DEQUEUED
    turn = json.loads(bench.redis.lpop("jobs:line:default"))
    assert (turn["run"], turn["lease"]) == (str(run.id), 1)


def test_more_executors_make_a_larger_window(bench: Any) -> None:
    for _ in range(12):
        bench.submit()
    for name in range(5):
        bench.redis.set(f"jobs:executor:default:{name}", 1, ex=30)
    make(bench).tick()
    assert listed(bench) == 10


def test_nobody_is_reaped_before_the_dispatcher_was_awake_for_a_whole_timeout(bench: Any) -> None:
    clock, run = FixedClock(), bench.claimed()
    bench.execute(
        "UPDATE run SET heartbeat_at = now() - interval '1 h', deadline_at = now() - interval '1 h'"
    )
    duties = make(bench, clock)
    for _ in range(14):
        duties.tick()
        clock.advance(1)
    clock.advance(30)  # asleep, or without a database
    for _ in range(15):
        duties.tick()
        clock.advance(1)
        assert bench.run(run.id).status is Status.EXECUTING
    duties.tick()
    duties.tick()
    reaped = bench.run(run.id)
    assert (reaped.status, reaped.attempt, reaped.error_class) == (Status.QUEUED, 2, "lost")


def test_a_database_that_froze_in_mid_tick_costs_no_run_its_lease(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, run = FixedClock(), bench.claimed()
    duties = make(bench, clock)
    for _ in range(17):
        duties.tick()
        clock.advance(1)
    bench.execute("UPDATE run SET heartbeat_at = now() - interval '1 h'")
    wake = sweeps.wake

    def freeze(connection: Connection) -> list[Run]:
        clock.advance(30)
        return wake(connection)

    monkeypatch.setattr(sweeps, "wake", freeze)
    duties.tick()
    assert bench.run(run.id).status is Status.EXECUTING


def test_only_while_executors_find_turns_in_redis_nudges_may_wait_for_more(bench: Any) -> None:
    duties, seen = make(bench), []
    for runs in (0, 1, 20, 0):
        for _ in range(runs):
            bench.submit("acme")
        seen.append((duties.give_turns(), duties.has_stock))
    assert seen == [(0, False), (1, False), (7, True), (0, True)]


def test_turns_are_in_redis_before_anybody_is_told_of_them(bench: Any) -> None:
    seen: list[int] = []

    class Looking(NoNudge):
        def run(self, run_id: UUID) -> None:
            seen.append(listed(bench))

    run = bench.submit("acme")
    Dispatcher(bench.engine, bench.redis, bench.signer, Looking(), SystemClock(), QUICK).give_turns()
    assert (bench.statuses(run.id), seen) == (["queued", "dequeued"], [1])


def test_a_second_dispatcher_skips_the_duty_that_is_being_done(bench: Any) -> None:
    bench.submit()
    with transaction(bench.engine) as connection:
        assert database.try_lock(connection, "jobs", "line")
        assert make(bench).give_turns() == 0
    assert make(bench).give_turns() == 1


def test_the_old_is_forgotten(bench: Any) -> None:
    bench.execute("INSERT INTO idempotency_key VALUES ('a', 'b', '1', now() - interval '25 h')")
    bench.execute("INSERT INTO idempotency_key VALUES ('c', 'd', '1', now())")
    bench.execute(
        "INSERT INTO delivery (kind, reference, closed_at)"
        " SELECT 'outcome', '{}', now() - make_interval(days => days) FROM unnest(ARRAY[1, 20]) AS days"
    )
    bench.execute(
        "INSERT INTO signal (partner, key, payload, created_at)"
        " SELECT 'acme', 'k', '1', now() - make_interval(days => days) FROM unnest(ARRAY[6, 8]) AS days"
    )
    make(bench).tick()
    assert len(bench.execute("SELECT * FROM idempotency_key")) == 1
    assert len(bench.deliveries()) == 1
    assert len(bench.execute("SELECT * FROM signal")) == 1


def test_a_wait_past_its_time_ends_with_the_next_tick(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        signals.wait(connection, run.id, run.lease, Wish(key="k"))
    bench.execute("UPDATE wait SET expires_at = now()")
    make(bench).tick()
    assert bench.run(run.id).status is Status.TIMED_OUT


def test_a_disobedient_executor_loses_its_run_after_the_grace(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        family.request_cancel(connection, run.id)
    make(bench).tick()
    assert bench.run(run.id).status is Status.EXECUTING
    bench.execute("UPDATE run SET cancel_requested_at = now() - interval '31 s'")
    make(bench).tick()
    assert bench.run(run.id).status is Status.CANCELED


def test_a_nudge_gives_a_turn_long_before_the_next_tick(bench: Any) -> None:
    nudge = RedisNudge.from_url(bench.redis_url)
    with running(bench, tick_seconds=30):
        until(lambda: bench.redis.pubsub_numsub("jobs:nudge")[0][1] == 1)
        bench.submit()
        nudge.line()
        until(lambda: listed(bench) == 1, seconds=5)


def test_it_outlives_redis_being_killed_and_the_turn_comes_back(bench: Any, servers: Servers) -> None:
    with running(bench):
        first = bench.submit()
        until(lambda: listed(bench) == 1)
        servers.valkey.kill()
        second = bench.submit()
        until(lambda: bench.run(second.id) is not None)
        servers.valkey.restart()
        servers.flush_redis()
        until(lambda: listed(bench) == 2)
    turns = [json.loads(entry) for entry in bench.redis.lrange("jobs:line:default", 0, -1)]
    assert {turn["run"] for turn in turns} == {str(first.id), str(second.id)}
    assert {turn["lease"]: bench.run(turn["run"]).lease == turn["lease"] for turn in turns}


def test_it_outlives_postgresql_being_killed(bench: Any, servers: Servers) -> None:
    with running(bench):
        bench.submit()
        until(lambda: listed(bench) == 1)
        servers.postgres.kill()
        threading.Event().wait(0.5)
        servers.postgres.restart()
        bench.engine.dispose()
        bench.owner.dispose()
        bench.submit()
        until(lambda: listed(bench) == 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_its_metrics_and_ends_cleanly(
    bench: Any, run_token_key: str, number: signal.Signals
) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": bench.engine.url.set(drivername="postgresql").render_as_string(False),
        "REDIS_URL": bench.redis_url,
        "RUN_TOKEN_KEY": run_token_key,
        "METRICS_PORT": str(port),
        "TICK_SECONDS": "0.2",
    }
    command = [sys.executable, "-m", "jobs.dispatcher"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            run = bench.submit()
            until(lambda: listed(bench) == 1)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                assert "taxiway_runs_moved_total" in page.read().decode()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as page:
                assert page.status == 200
            process.send_signal(number)
            output, _ = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0
    events = [json.loads(text)["event"] for text in output.splitlines()]
    assert (events[0], events[-1]) == ("dispatcher_started", "dispatcher_stopped")
    assert str(run.id) in output
    assert "PRIVATE KEY" not in output


def test_a_nudge_never_raises_and_does_not_wait_for_a_redis_that_is_away() -> None:
    nudge = RedisNudge.from_url(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    for _ in range(100):
        nudge.line()
        nudge.deliveries()
        nudge.run(uuid4())
    assert time.monotonic() - began < 1


def test_leases_are_claimed_while_the_dispatcher_works(bench: Any) -> None:
    """Three dispatchers and four executors at once end every run exactly once."""
    for partner in ("a", "b", "c"):
        for _ in range(20):
            bench.submit(partner)
    stop = threading.Event()

    def execute() -> None:
        redis = nudges.connect(bench.redis_url, timeout_seconds=5)
        while not stop.is_set():
            popped = redis.blpop(["jobs:line:default"], timeout=0.1)
            if popped is None:
                continue
            turn = json.loads(popped[1])
            with transaction(bench.engine) as connection:
                leases.claim(connection, turn["run"], turn["lease"], uuid4(), "x")
                leases.complete(connection, turn["run"], turn["lease"])
        redis.close()

    executors = [threading.Thread(target=execute) for _ in range(4)]
    with running(bench, 0.05), running(bench, 0.05), running(bench, 0.05):
        for thread in executors:
            thread.start()
        try:
            until(lambda: len(bench.deliveries()) == 60, seconds=30)
        finally:
            stop.set()
            for thread in executors:
                thread.join(timeout=10)
    assert bench.execute("SELECT status, max(lease) AS lease FROM run GROUP BY 1") == [
        {"status": "completed", "lease": 1}
    ]
