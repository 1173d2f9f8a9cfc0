"""The line: one live run a job, whoever starts it and however often."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from common.database import transaction
from jobs.engine import family, leases, line
from jobs.engine.fence import RunIsFinal, RunNotFound
from jobs.engine.line import JobInProgress, NewRun
from jobs.engine.states import Status


@pytest.mark.parametrize("caller", [False, True])
def test_simultaneous_starts_make_one_run(bench: Any, caller: bool) -> None:
    job = bench.job()
    together = threading.Barrier(8)

    def start(_: int) -> bool:
        together.wait(timeout=10)
        try:
            with transaction(bench.engine) as connection:
                line.submit(connection, bench.new(job, caller=caller))
        except JobInProgress as error:
            return bool(error.job_uid != job)
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(start, range(8))) == 1
    assert len(bench.execute("SELECT id FROM run")) == 1


def test_a_job_whose_run_ended_may_be_started_again(bench: Any) -> None:
    job = bench.job()
    runs = []
    for _ in range(3):
        with transaction(bench.engine) as connection:
            runs.append(line.submit(connection, bench.new(job)))
        with transaction(bench.engine) as connection:
            assert line.has_live_run(connection, job)
            family.request_cancel(connection, runs[-1].id)
            assert not line.has_live_run(connection, job)
    with transaction(bench.engine) as connection:
        found = line.runs_of(connection, [job, uuid4()])
    assert [run.id for run in found[job]] == [run.id for run in runs]
    assert sorted(map(len, found.values())) == [0, 3]
    assert len({run.number for run in runs}) == 3


def test_a_continuation_that_lives_also_bars_a_start(bench: Any) -> None:
    run = bench.submit()
    bench.execute("UPDATE run SET holds_job = false WHERE id = :id", id=run.id)
    with pytest.raises(JobInProgress), transaction(bench.engine) as connection:
        line.submit(connection, bench.new(run.job_id))


def test_a_new_run_that_makes_no_sense_cannot_be_built() -> None:
    good: dict[str, Any] = {"partner": "a", "payload": {}, "inputs": {}, "created_by": "t", "job_id": uuid4()}
    for faulty in ({"priority": 11}, {"priority": -1}, {"caller": True, "delay_seconds": 1}):
        with pytest.raises(ValueError):
            NewRun(**{**good, **faulty})


def test_a_run_keeps_what_it_was_given(bench: Any) -> None:
    fields = {"metadata": {"a": "b"}, "tags": ("x",), "retry": {"backoff": "fixed"}, "triggered_by": "retry"}
    run = bench.submit(**fields, inputs={"A": {"etag": "e"}}, timeout_seconds=5, max_attempts=2, priority=9)
    assert (run.metadata, run.tags, run.retry) == ({"a": "b"}, ["x"], {"backoff": "fixed"})
    assert (run.inputs, run.timeout_seconds, run.max_attempts, run.priority) == (
        {"A": {"etag": "e"}},
        5,
        2,
        9,
    )
    assert run.expires_at > run.due_at


@pytest.mark.parametrize("fields", [{}, {"delay_seconds": 60}])
def test_cancelling_a_run_in_line_ends_it_at_once(bench: Any, fields: Any) -> None:
    run = bench.submit(**fields)
    with transaction(bench.engine) as connection:
        canceled = family.request_cancel(connection, run.id)
    assert (canceled.status, canceled.holds_job, len(bench.deliveries())) == (Status.CANCELED, False, 1)


def test_cancelling_a_run_with_a_turn_makes_its_ticket_useless(bench: Any) -> None:
    run = bench.submit()
    bench.dequeue()
    with transaction(bench.engine) as connection:
        assert family.request_cancel(connection, run.id).status is Status.CANCELED
    with pytest.raises(RunIsFinal), transaction(bench.engine) as connection:
        leases.claim(connection, run.id, 1, uuid4(), "executor-1")


def test_cancelling_an_executing_run_asks_its_executor_once(bench: Any) -> None:
    run = bench.claimed()
    asked = []
    for _ in range(2):
        with transaction(bench.engine) as connection:
            asked.append(family.request_cancel(connection, run.id))
    assert [each.status for each in asked] == [Status.EXECUTING] * 2
    assert asked[0].cancel_requested_at == asked[1].cancel_requested_at is not None
    assert len(bench.execute("SELECT * FROM run_event WHERE type = 'cancel'")) == 1


def test_cancelling_a_waiting_run_releases_what_it_waits_for(bench: Any) -> None:
    run = bench.claimed()
    bench.execute("UPDATE run SET status = 'waiting' WHERE id = :id", id=run.id)
    bench.execute(
        "INSERT INTO wait (id, run_id, lease, partner, key, expires_at)"
        " VALUES (:wait, :id, 1, 'acme', 'k', now() + interval '1 h')",
        wait=uuid4(),
        id=run.id,
    )
    with transaction(bench.engine) as connection:
        assert family.request_cancel(connection, run.id).status is Status.CANCELED
    assert bench.execute("SELECT * FROM wait") == []


def test_cancelling_what_is_over_changes_nothing(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        leases.complete(connection, run.id, 1)
        assert family.request_cancel(connection, run.id).status is Status.COMPLETED
    assert len(bench.deliveries()) == 1


def test_cancelling_a_run_that_is_not_there_says_so(bench: Any) -> None:
    with pytest.raises(RunNotFound), transaction(bench.engine) as connection:
        family.request_cancel(connection, uuid4())
