"""Families under many hands at once: no deadlock, no parent that waits for what is over."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from common.database import Unavailable, transaction
from jobs.engine import family, leases, sweeps, turns
from jobs.engine.family import Child, TooDeep
from jobs.engine.fence import RunIsFinal, RunRefused
from jobs.engine.leases import Failure
from jobs.engine.tables import Run

HANDS = 6
DEEDS = 120
GENERATIONS = 4
LOST = """
    SELECT parent.id FROM run AS parent JOIN run AS child ON child.id = parent.awaits_run_id
    WHERE parent.status = 'waiting' AND child.finished_at IS NOT NULL
"""
LEFT_OUT = """
    SELECT child.id FROM run AS child JOIN run AS parent ON parent.id = child.parent_run_id
    WHERE parent.ended_by = 'cancel' AND child.finished_at IS NULL AND child.cancel_requested_at IS NULL
"""


class Crowd:
    """Executors, clients and dispatchers, each doing what comes to mind to runs of the same families."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.jobs = [bench.job() for _ in range(8)]
        self.held: dict[UUID, int] = {}
        self.known: list[UUID] = []
        self.guard = threading.Lock()
        self.deeds: list[Callable[[random.Random], None]] = [
            self.work,
            self.work,
            self.spawn,
            self.spawn,
            self.spawn,
            self.complete,
            self.fail,
            self.cancel,
            self.sweep,
        ]

    def act(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(DEEDS):
            if len(self.held) < HANDS:
                self.know([self.bench.submit(retry={"backoff": "fixed", "initial_delay_secs": 0})])
                self.work(chance)
            with suppress(RunRefused, TooDeep, IndexError):
                chance.choice(self.deeds)(chance)

    def know(self, runs: list[Run]) -> None:
        with self.guard:
            self.known += [run.id for run in runs]

    def one_held(self, chance: random.Random) -> tuple[UUID, int]:
        with self.guard:
            return chance.choice(sorted(self.held.items()))

    def do(self, deed: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with transaction(self.bench.engine) as connection:
                return deed(connection, *arguments)
        except RunIsFinal as refused:
            with self.guard:
                self.held.pop(refused.run_id, None)
            raise

    def work(self, chance: random.Random) -> None:
        for run in self.do(turns.dequeue, "default", 50):
            with suppress(RunRefused):
                self.do(leases.claim, run.id, run.lease, uuid4(), "x")
                with self.guard:
                    self.held[run.id] = run.lease

    def spawn(self, chance: random.Random) -> None:
        run_id, lease = self.one_held(chance)
        job, seconds = chance.choice(self.jobs), chance.choice([None, 3600, 3600, 0])
        child = Child(job_id=job, payload={}, inputs={}, await_seconds=seconds)

        def make(connection: Connection) -> Run:
            parent = family.hold(connection, run_id, lease)
            if parent.depth >= GENERATIONS:
                raise TooDeep
            return family.spawn(connection, parent, child)

        self.know([self.do(make)])

    def complete(self, chance: random.Random) -> None:
        run_id, lease = self.one_held(chance)
        self.do(leases.complete, run_id, lease)

    def fail(self, chance: random.Random) -> None:
        (run_id, lease), failure = self.one_held(chance), Failure(error="e", retryable=chance.random() < 0.5)
        self.do(leases.fail, run_id, lease, failure)

    def cancel(self, chance: random.Random) -> None:
        if chance.random() < 0.3:
            self.do(family.request_cancel, chance.choice(self.known[-40:]))

    def sweep(self, chance: random.Random) -> None:
        self.do(sweeps.time_out_awaits)
        self.do(sweeps.cancel_by_force, chance.choice([0, 3600]))
        if chance.random() < 0.1:
            self.do(sweeps.reap, 1)


def test_a_crowd_around_a_few_families_never_deadlocks_and_loses_no_parent(bench: Any) -> None:
    crowd = Crowd(bench)
    with ThreadPoolExecutor(HANDS) as threads:
        list(threads.map(crowd.act, range(HANDS)))
    assert len(crowd.known) > HANDS
    assert bench.execute("SELECT id FROM run WHERE parent_run_id IS NOT NULL")
    assert bench.execute(LOST) == []
    assert bench.execute(LEFT_OUT) == []
    for run_id in crowd.known:
        crowd.do(family.request_cancel, run_id)
    crowd.do(sweeps.cancel_by_force, 0)
    assert bench.execute("SELECT id, status FROM run WHERE finished_at IS NULL") == []


def test_ends_from_below_meet_a_cancel_from_above(bench: Any) -> None:
    for _ in range(10):
        bench.empty()
        chain = [bench.claimed()]
        while len(chain) < 5:
            with transaction(bench.engine) as connection:
                parent = family.hold(connection, chain[-1].id, chain[-1].lease)
                child = Child(job_id=bench.job(), payload={}, inputs={}, await_seconds=0)
                family.spawn(connection, parent, child)
            [given] = bench.dequeue()
            with transaction(bench.engine) as connection:
                chain.append(leases.claim(connection, given.id, given.lease, uuid4(), "x"))
        together = threading.Barrier(len(chain) + 2)

        def complete(run: Run, together: threading.Barrier = together) -> None:
            together.wait(timeout=30)
            with suppress(RunRefused), transaction(bench.engine) as connection:
                leases.complete(connection, run.id, run.lease)

        def cancel(root: UUID = chain[0].id, together: threading.Barrier = together) -> None:
            together.wait(timeout=30)
            with transaction(bench.engine) as connection:
                family.request_cancel(connection, root)

        def sweep(together: threading.Barrier = together) -> None:
            together.wait(timeout=30)
            with transaction(bench.engine) as connection:
                sweeps.time_out_awaits(connection)

        with ThreadPoolExecutor(len(chain) + 2) as threads:
            doing = [threads.submit(complete, run) for run in chain]
            doing += [threads.submit(cancel), threads.submit(sweep)]
            for deed in doing:
                deed.result(timeout=60)
        assert bench.execute(LOST) == []


def test_a_sweep_waits_for_no_parent_that_somebody_is_writing(bench: Any) -> None:
    parent = bench.claimed()
    with transaction(bench.engine) as connection:
        held = family.hold(connection, parent.id, parent.lease)
        job = bench.job()
        child = family.spawn(connection, held, Child(job_id=job, payload={}, inputs={}, await_seconds=60))
    bench.execute("UPDATE run SET expires_at = now() - interval '1 h' WHERE id = :id", id=child.id)
    with transaction(bench.engine) as writing:
        writing.execute(text("SELECT FROM run WHERE id = :id FOR UPDATE"), {"id": parent.id})
        with transaction(bench.engine) as connection:
            assert sweeps.expire(connection) == []
    with transaction(bench.engine) as connection:
        assert [run.id for run in sweeps.expire(connection)] == [child.id]
    assert bench.run(parent.id).ended_child_id == child.id


def test_a_run_that_somebody_is_writing_gets_its_turn_later(bench: Any) -> None:
    run, other = bench.submit(), bench.submit()
    with transaction(bench.engine) as writing:
        writing.execute(text("SELECT FROM run WHERE id = :id FOR UPDATE"), {"id": run.id})
        assert [given.id for given in bench.dequeue()] == [other.id]
    assert [given.id for given in bench.dequeue()] == [run.id]


def test_a_deadlock_all_the_same_would_be_told_as_unavailable(bench: Any) -> None:
    first, second = bench.submit().id, bench.submit().id
    together = threading.Barrier(2)

    def lock_both(order: tuple[UUID, UUID]) -> bool:
        try:
            with transaction(bench.engine) as connection:
                for place, run_id in enumerate(order):
                    connection.execute(text("SELECT FROM run WHERE id = :id FOR UPDATE"), {"id": run_id})
                    if place == 0:
                        together.wait(timeout=30)
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(lock_both, [(first, second), (second, first)])) == [False, True]
