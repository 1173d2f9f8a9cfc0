"""Leases under pressure: races for a claim, stale executors, and what a heartbeat costs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from common.database import transaction
from jobs.engine import family, fence, journal, leases, memory
from jobs.engine.fence import ClaimRefused, LeaseIsStale, RunIsFinal, RunRefused
from jobs.engine.journal import Entry, Progress
from jobs.engine.leases import Failure
from jobs.engine.states import Status
from jobs.engine.tables import Run

UPDATES = """
    SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'run'
"""
OTHERS = """
    SELECT count(*) AS n FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'jobs' AND pid <> pg_backend_pid()
"""


def attempt(bench: Any, work: Any) -> Any:
    try:
        with transaction(bench.engine) as connection:
            return work(connection)
    except RunRefused as refusal:
        return type(refusal)


def test_of_many_executors_racing_for_a_claim_one_gets_it(bench: Any) -> None:
    run = bench.submit()
    bench.dequeue()
    together = threading.Barrier(8)

    def race(number: int) -> Any:
        together.wait(timeout=10)
        return attempt(bench, lambda connection: leases.claim(connection, run.id, 1, uuid4(), f"x{number}"))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(race, range(8)))
    winners = [result for result in results if result is not ClaimRefused]
    assert [winner.executor for winner in winners] == [bench.run(run.id).executor]
    assert bench.statuses(run.id) == ["queued", "dequeued", "executing"]


def test_a_claim_repeated_while_the_first_is_under_way_gets_the_same_answer(bench: Any) -> None:
    run, claim_id = bench.submit(), uuid4()
    bench.dequeue()
    together = threading.Barrier(4)

    def repeat(_: int) -> Any:
        together.wait(timeout=10)
        return attempt(bench, lambda connection: leases.claim(connection, run.id, 1, claim_id, "x"))

    with ThreadPoolExecutor(4) as threads:
        assert {result.started_at for result in threads.map(repeat, range(4))} == {
            bench.run(run.id).started_at
        }


def test_ends_that_race_make_one_end_and_one_outcome(bench: Any) -> None:
    for _ in range(5):
        run = bench.claimed()
        together = threading.Barrier(4)

        def finish(number: int, run: Any = run, together: Any = together) -> Any:
            together.wait(timeout=10)
            if number % 2:
                return attempt(bench, lambda connection: leases.complete(connection, run.id, 1))
            return attempt(bench, lambda connection: leases.fail(connection, run.id, 1, Failure(error="e")))

        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(finish, range(4)))
        assert results.count(RunIsFinal) == 2
        assert bench.statuses(run.id)[-1] == bench.run(run.id).status
    assert len(bench.deliveries()) == 5


def test_an_old_executor_cannot_write_over_a_new_one(bench: Any) -> None:
    run = bench.claimed(retry={"backoff": "fixed", "initial_delay_secs": 0})
    with transaction(bench.engine) as connection:
        leases.fail(connection, run.id, 1, Failure(error="e", retryable=True))
    [given] = bench.dequeue()
    with transaction(bench.engine) as connection:
        leases.claim(connection, run.id, given.lease, uuid4(), "new")
    old: list[Any] = [
        lambda connection: leases.heartbeat(connection, run.id, 1),
        lambda connection: leases.complete(connection, run.id, 1),
        lambda connection: journal.log(connection, run.id, 1, [Entry(type="log")]),
        lambda connection: journal.progress(connection, run.id, 1, Progress(percent=1)),
        lambda connection: memory.annotate(connection, run.id, 1, {"a": "b"}),
        lambda connection: memory.save_checkpoint(connection, run.id, 1, {}, "sdk"),
        lambda connection: memory.put_state(connection, run.id, 1, "k", 1),
        lambda connection: memory.delete_state(connection, run.id, 1, "k"),
    ]
    assert [attempt(bench, write) for write in old] == [LeaseIsStale] * len(old)
    repeated = attempt(bench, lambda connection: leases.fail(connection, run.id, 1, Failure(error="e")))
    assert (repeated.status, repeated.lease) == (Status.EXECUTING, 2)


def test_a_run_that_came_back_within_reach_is_answered_with_try_again(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        assert isinstance(fence.refusal(connection, run.id, 1), fence.RunIsNotExecuting)


def test_events_of_simultaneous_writers_are_numbered_without_gap_or_double(bench: Any) -> None:
    run = bench.claimed()

    def write(number: int) -> list[int]:
        entries = [
            Entry(type="log", data={"message": f"{number}.{place}"}) for place in range(1 + number % 4)
        ]
        with transaction(bench.engine) as connection:
            return [event.seq for event in journal.log(connection, run.id, 1, entries)]

    with ThreadPoolExecutor(8) as threads:
        numbers = [number for batch in threads.map(write, range(40)) for number in batch]
    assert sorted(numbers) == list(range(4, 4 + len(numbers)))
    assert bench.run(run.id).event_seq == 3 + len(numbers)


def test_simultaneous_checkpoints_are_numbered_and_the_last_twenty_kept(bench: Any) -> None:
    run = bench.claimed()

    def save(number: int) -> int:
        with transaction(bench.engine) as connection:
            return memory.save_checkpoint(connection, run.id, 1, {"n": number}, "sdk").sequence

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(save, range(30))) == list(range(1, 31))
    assert kept(bench, run) == list(range(11, 31))


def test_a_checkpoint_that_simultaneous_saves_left_behind_is_not_kept(bench: Any) -> None:
    run = bench.claimed()
    for number in range(21):
        with transaction(bench.engine) as connection:
            memory.save_checkpoint(connection, run.id, 1, {"n": number}, "sdk")
    left = """INSERT INTO checkpoint (id, run_id, sequence, lease, source, state)
              VALUES (gen_random_uuid(), :id, 1, 1, 'sdk', '{}')"""
    bench.execute(left, id=run.id)
    assert kept(bench, run) == list(range(2, 22))


def kept(bench: Any, run: Run) -> list[int]:
    with transaction(bench.engine) as connection:
        return [each.sequence for each in memory.checkpoints(connection, run.id)]


def test_heartbeats_and_events_are_hot_updates(bench: Any) -> None:
    runs = [bench.claimed() for _ in range(5)]
    bench.engine.dispose()  # PostgreSQL counts per connection: the others hand in their counts as they end
    until(lambda: bench.execute(OTHERS)[0]["n"] == 0)
    before = counted(bench)
    for _ in range(40):
        for run in runs:
            with transaction(bench.engine) as connection:
                leases.heartbeat(connection, run.id, 1)
            with transaction(bench.engine) as connection:
                journal.progress(connection, run.id, 1, Progress(percent=1))
    after = counted(bench)
    assert after["updates"] - before["updates"] == 400
    assert after["hot"] - before["hot"] > 380


def counted(bench: Any) -> Any:
    bench.execute("SELECT pg_stat_force_next_flush()")
    return bench.execute(UPDATES)[0]


def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to pass in time")


def test_an_append_of_too_many_entries_cannot_be_asked_for(bench: Any) -> None:
    run = bench.claimed()
    for count in (0, 501):
        with pytest.raises(ValueError), transaction(bench.engine) as connection:
            journal.log(connection, run.id, 1, [Entry(type="log")] * count)


def test_a_failure_after_a_request_to_cancel_ends_as_canceled_and_a_completion_wins(bench: Any) -> None:
    for end, status in (("fail", Status.CANCELED), ("complete", Status.COMPLETED)):
        run = bench.claimed()
        with transaction(bench.engine) as connection:
            family.request_cancel(connection, run.id)
        with transaction(bench.engine) as connection:
            if end == "fail":
                failure = Failure(error="stopped", retryable=True)
                assert leases.fail(connection, run.id, run.lease, failure).status is status
            else:
                assert leases.complete(connection, run.id, run.lease).status is status
