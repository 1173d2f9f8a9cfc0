"""A deep line: every turn is given once, nobody stands behind another's thousand, and an idle line waits for
nobody.

`LINE_RUNS` asks for a deeper line than the one that every test run makes; the numbers are printed.
"""

import json
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from common.clock import SystemClock
from common.database import transaction
from jobs.dispatcher import Dispatcher, Timeouts, run
from jobs.engine import leases, nudges, turns
from jobs.engine.listening import Listener

RUNS = int(os.environ.get("LINE_RUNS", "1500"))
EXECUTORS = 2
IDLE = 100
SECONDS = max(60, RUNS // 20)
KEY = f"{turns.LINE}default"
TIMEOUTS = Timeouts(heartbeat_seconds=60, compare_seconds=0.2, tick_seconds=0.5)
FILL = """
    INSERT INTO run (id, job_id, partner, pool, status, holds_job, event_seq, payload, inputs, created_by,
        timeout_seconds, line_seconds, due_at, queued_at, expires_at, max_attempts, priority, triggered_by)
    SELECT gen_random_uuid(), :job, 'many', 'default', 'queued', false, 1, '{}', '{}', 'test',
        3600, 86400, now(), now(), now() + interval '1 day', 3, 5, 'api'
    FROM generate_series(1, :runs)
"""
NOTE = """
    INSERT INTO run_event (run_id, seq, type, data)
    SELECT id, 1, 'status', '{"to": "queued"}' FROM run WHERE partner = 'many'
"""


class Crew:
    """Two executors that pop, claim and complete, and remember each turn they were given."""

    def __init__(self, bench: Any) -> None:
        self._bench = bench
        self._nudge = nudges.RedisNudge.from_url(bench.redis_url)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(EXECUTORS)]
        self.popped: list[tuple[str, int]] = []
        self.claimed_at: dict[UUID, datetime] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _work(self, number: int) -> None:
        redis = nudges.connect(self._bench.redis_url, timeout_seconds=5)
        while not self._stop.is_set():
            redis.set(f"{turns.EXECUTOR}default:{number}", "1", ex=30)
            found = cast(Any, redis.blpop([KEY], timeout=1))
            if found:
                self._do(json.loads(found[1]), number)
        redis.close()

    def _do(self, turn: dict[str, Any], number: int) -> None:
        self.popped.append((turn["run"], turn["lease"]))
        run_id, lease = UUID(turn["run"]), int(turn["lease"])
        with transaction(self._bench.engine) as connection:
            claimed = leases.claim(connection, run_id, lease, uuid4(), str(number))
        self._nudge.line()
        assert claimed.started_at is not None
        self.claimed_at[run_id] = claimed.started_at
        with transaction(self._bench.engine) as connection:
            leases.complete(connection, run_id, lease)
        self._nudge.line()


@contextmanager
def dispatching(bench: Any) -> Iterator[None]:
    """Run the dispatcher as its process does."""
    nudge, stop, clock = nudges.RedisNudge.from_url(bench.redis_url), threading.Event(), SystemClock()
    dispatcher = Dispatcher(bench.engine, bench.redis, bench.signer, nudge, clock, TIMEOUTS)
    with capture_logs(), Listener(nudges.connect(bench.redis_url, timeout_seconds=3), clock) as listener:
        thread = threading.Thread(target=run, args=(dispatcher, listener, stop, TIMEOUTS.tick_seconds))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def until(reached: Any) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def ended(bench: Any) -> int:
    return int(bench.execute("SELECT count(*) AS n FROM run WHERE finished_at IS NOT NULL")[0]["n"])


@pytest.mark.timeout(SECONDS + 120)
def test_a_deep_line_gives_each_turn_once_and_lets_a_single_run_pass(bench: Any) -> None:
    crew = Crew(bench)
    bench.execute(FILL, job=bench.job("many"), runs=RUNS)
    bench.execute(NOTE)
    began = time.monotonic()
    with dispatching(bench), crew.at_work():
        until(lambda: len(crew.popped) > RUNS // 10)
        single = bench.submit("one")
        before = len(crew.popped)
        nudges.RedisNudge.from_url(bench.redis_url).line()
        until(lambda: single.id in crew.claimed_at)
        passed_by = [run for run, _ in crew.popped].index(str(single.id)) - before
        until(lambda: ended(bench) == RUNS + 1)
    seconds = time.monotonic() - began
    print(f"\n{RUNS} runs on {EXECUTORS} executors: {seconds:.1f} s, {RUNS / seconds:.0f} runs/s")
    print(f"a single run of another partner: claimed after {passed_by} turns of the crowd")
    assert passed_by <= 2 * turns.window(EXECUTORS)
    assert {lease for _, lease in crew.popped} == {1}
    assert set(Counter(crew.popped).values()) == {1}
    assert len(crew.popped) == RUNS + 1


def test_an_idle_line_gives_a_turn_at_once(bench: Any) -> None:
    crew, waited = Crew(bench), list[float]()
    nudge = nudges.RedisNudge.from_url(bench.redis_url)
    with dispatching(bench), crew.at_work():
        until(lambda: turns.executors(bench.redis)["default"] == EXECUTORS)
        for _ in range(IDLE):
            submitted = bench.submit("acme")
            nudge.line()
            until(lambda: submitted.id in crew.claimed_at)  # noqa: B023
            waited.append((crew.claimed_at[submitted.id] - submitted.queued_at).total_seconds() * 1000)
    p50, p99 = statistics.median(waited), statistics.quantiles(waited, n=100)[98]
    print(f"\nstart to claim, idle: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert p50 < 1000 * TIMEOUTS.tick_seconds / 2  # a nudge, and not the next tick, gave it
