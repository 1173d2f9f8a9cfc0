"""Families: a parent waits for its child and hears of its end, whatever it is; a tree is canceled whole."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from common.database import transaction
from jobs.engine import family, leases, line, memory, sweeps, turns
from jobs.engine.family import CannotReplay, Child, TooDeep
from jobs.engine.fence import (
    CancelRequested,
    LeaseIsStale,
    RunIsFinal,
    RunIsNotExecuting,
    RunNotFound,
    RunRefused,
)
from jobs.engine.leases import Failure
from jobs.engine.line import JobInProgress
from jobs.engine.memory import CheckpointNotKept
from jobs.engine.states import FINAL, Status
from jobs.engine.tables import Run
from jobs.engine.turns import Given

PAST = "now() - interval '1 h'"
Way = Callable[[Connection, Run], Any]


def spawn(bench: Any, parent: Run, **fields: Any) -> Run:
    """Spawn as the executor of `parent` would, in one transaction."""
    values = {"job_id": bench.job(), "payload": {}, "inputs": {}, **fields}
    with transaction(bench.engine) as connection:
        held = family.hold(connection, parent.id, parent.lease)
        return family.spawn(connection, held, Child(**values))


def awaited(bench: Any, parent: Run, **fields: Any) -> Run:
    return spawn(bench, parent, await_seconds=3600, **fields)


def claim(bench: Any, run: Run) -> Run:
    """Give the run its turn and take it."""
    [given] = [each for each in bench.dequeue(run.pool, 1000) if each.id == run.id]
    with transaction(bench.engine) as connection:
        return leases.claim(connection, run.id, given.lease, uuid4(), "executor-2")


def finish(bench: Any, run: Run, result: Any = None) -> Run:
    with transaction(bench.engine) as connection:
        return leases.complete(connection, run.id, run.lease, result=result)


def cancel(bench: Any, run: Run) -> Run:
    with transaction(bench.engine) as connection:
        return family.request_cancel(connection, run.id)


# -- spawning ----------------------------------------------------------------------------------------------


def test_a_child_has_what_its_parent_has_and_does_not_hold_its_job(bench: Any) -> None:
    parent = bench.claimed(tags=("nightly",), priority=7, concurrency_key="k", concurrency_limit=9)
    child = spawn(bench, parent, payload={"part": 1}, inputs={"A": {"key": "a"}})
    grandchild = spawn(bench, claim(bench, child), priority=2)
    assert (child.status, child.parent_run_id, child.depth) == (Status.QUEUED, parent.id, 1)
    assert (child.triggered_by, child.holds_job, child.lineage_depth) == ("spawn", False, 0)
    assert (child.tags, child.priority, child.concurrency_key, child.concurrency_limit) == (
        ["nightly"],
        7,
        "k",
        9,
    )
    assert (child.payload, child.inputs) == ({"part": 1}, {"A": {"key": "a"}})
    assert (grandchild.parent_run_id, grandchild.depth, grandchild.priority) == (child.id, 2, 2)
    assert parent.batch_id is None
    assert child.batch_id == grandchild.batch_id == parent.id
    assert bench.run(parent.id).status is Status.EXECUTING


def test_a_family_has_at_most_twenty_generations_of_children(bench: Any) -> None:
    parent = bench.claimed()
    bench.execute("UPDATE run SET depth = 19 WHERE id = :id", id=parent.id)
    assert spawn(bench, parent).depth == 20
    bench.execute("UPDATE run SET depth = 20 WHERE id = :id", id=parent.id)
    with pytest.raises(TooDeep):
        spawn(bench, parent)
    assert len(bench.execute("SELECT id FROM run")) == 2


def test_who_does_not_hold_the_run_spawns_nothing(bench: Any) -> None:
    parent = bench.claimed()
    with pytest.raises(RunNotFound), transaction(bench.engine) as connection:
        family.hold(connection, uuid4(), 1)
    with pytest.raises(LeaseIsStale), transaction(bench.engine) as connection:
        family.hold(connection, parent.id, parent.lease + 1)
    finish(bench, parent)
    with pytest.raises(RunIsFinal):
        spawn(bench, parent)


def test_a_run_that_was_asked_to_stop_begins_nothing_more(bench: Any) -> None:
    parent = bench.claimed()
    cancel(bench, parent)
    with pytest.raises(CancelRequested):
        spawn(bench, parent)
    with pytest.raises(CancelRequested), transaction(bench.engine) as connection:
        family.continue_(connection, parent.id, parent.lease, None)


def test_a_parent_waits_for_one_child_at_a_time(bench: Any) -> None:
    parent = bench.claimed()
    awaited(bench, parent)
    with pytest.raises(RunIsNotExecuting):
        awaited(bench, parent)
    assert spawn(bench, parent).parent_run_id == parent.id
    assert len(bench.execute("SELECT id FROM run")) == 3


# -- waiting for a child -----------------------------------------------------------------------------------


def give_up(connection: Connection, run: Run) -> None:
    turns.compare(connection, {}, frozenset({Given(run=run.id, lease=run.lease)}))


WAYS: dict[str, tuple[Status, str, Way]] = {
    "complete": (Status.COMPLETED, "", lambda c, run: leases.complete(c, run.id, run.lease)),
    "fail": (Status.FAILED, "", lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e"))),
    "spend": (
        Status.DEAD_LETTER,
        "attempt = max_attempts",
        lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e", retryable=True)),
    ),
    "obey": (
        Status.CANCELED,
        "cancel_requested_at = now()",
        lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e")),
    ),
    "reap": (
        Status.CRASHED,
        f"attempt = max_attempts, heartbeat_at = {PAST}",
        lambda c, _: sweeps.reap(c, 60),
    ),
    "reap after a request to cancel": (
        Status.CANCELED,
        f"cancel_requested_at = now(), heartbeat_at = {PAST}",
        lambda c, _: sweeps.reap(c, 60),
    ),
    "time out": (Status.TIMED_OUT, f"deadline_at = {PAST}", lambda c, _: sweeps.time_out(c, 60)),
    "wait in vain": (
        Status.TIMED_OUT,
        f"status = 'waiting', await_expires_at = {PAST}",
        lambda c, _: sweeps.time_out_awaits(c),
    ),
    "cancel by force": (
        Status.CANCELED,
        f"cancel_requested_at = {PAST}",
        lambda c, _: sweeps.cancel_by_force(c, 30),
    ),
    "cancel in line": (
        Status.CANCELED,
        "status = 'queued'",
        lambda c, run: family.request_cancel(c, run.id),
    ),
    "expire": (Status.EXPIRED, f"status = 'queued', expires_at = {PAST}", lambda c, _: sweeps.expire(c)),
    "give up": (Status.SYSTEM_FAILED, "status = 'dequeued', turns_lost = 10000", give_up),
}


def test_the_ways_lead_to_every_final_state() -> None:
    assert {status for status, _, _ in WAYS.values()} == FINAL


@pytest.mark.parametrize("name", WAYS)
def test_however_a_child_ends_its_parent_comes_back_in_line_once(bench: Any, name: str) -> None:
    status, before, way = WAYS[name]
    parent = bench.claimed()
    child = claim(bench, awaited(bench, parent))
    if before:
        bench.execute(f"UPDATE run SET {before} WHERE id = :id", id=child.id)
    for _ in range(2):
        try:
            with transaction(bench.engine) as connection:
                way(connection, child)
        except RunRefused:
            pass
    resumed = bench.run(parent.id)
    assert bench.run(child.id).status is status
    assert (resumed.status, resumed.attempt, resumed.lease) == (Status.QUEUED, 1, parent.lease)
    assert (resumed.awaits_run_id, resumed.ended_child_id) == (None, child.id)
    assert bench.statuses(parent.id) == ["queued", "dequeued", "executing", "waiting", "queued"]
    again = claim(bench, resumed)
    with transaction(bench.engine) as connection:
        told = family.ended_child(connection, again.ended_child_id)
    ended = bench.run(child.id)
    assert told == {
        "child": {"id": str(child.id), "status": status, "result": ended.result, "error": ended.error}
    }
    assert (again.lease, again.attempt, again.deadline_at is not None) == (parent.lease + 1, 1, True)


def test_a_waiting_parent_has_no_deadline_and_frees_its_concurrency_key(bench: Any) -> None:
    parent = bench.claimed(concurrency_key="k")
    child = awaited(bench, parent)
    waiting = bench.run(parent.id)
    assert (waiting.status, waiting.deadline_at, waiting.awaits_run_id) == (Status.WAITING, None, child.id)
    assert child.concurrency_key == "k"
    assert claim(bench, child).status is Status.EXECUTING


def test_only_the_child_that_is_awaited_resumes_its_parent(bench: Any) -> None:
    parent = bench.claimed()
    other = claim(bench, spawn(bench, parent))
    child = claim(bench, awaited(bench, parent))
    finish(bench, other)
    assert bench.run(parent.id).status is Status.WAITING
    finish(bench, child)
    assert bench.run(parent.id).status is Status.QUEUED


def test_a_retry_of_the_child_does_not_resume_its_parent(bench: Any) -> None:
    parent = bench.claimed()
    child = claim(bench, awaited(bench, parent))
    with transaction(bench.engine) as connection:
        leases.fail(connection, child.id, child.lease, Failure(error="e", retryable=True))
    assert bench.run(parent.id).status is Status.WAITING


def test_the_old_lease_writes_nothing_once_the_parent_was_resumed(bench: Any) -> None:
    parent = bench.claimed()
    finish(bench, claim(bench, awaited(bench, parent)))
    with pytest.raises(RunIsNotExecuting):
        finish(bench, parent)
    claim(bench, bench.run(parent.id))
    with pytest.raises(LeaseIsStale):
        finish(bench, parent)


def test_a_parent_that_gave_up_waiting_is_not_resumed_while_it_waits_for_something_else(bench: Any) -> None:
    parent = bench.claimed(retry={"backoff": "fixed", "initial_delay_secs": 0})
    first = claim(bench, awaited(bench, parent))
    with transaction(bench.engine) as connection:
        leases.fail(connection, parent.id, parent.lease, Failure(error="e", retryable=True))
    parent = claim(bench, bench.run(parent.id))
    second = awaited(bench, parent)
    finish(bench, first)
    assert bench.run(parent.id).status is Status.WAITING
    finish(bench, claim(bench, second))
    assert bench.run(parent.id).ended_child_id == second.id


def test_a_parent_that_waits_again_forgets_the_child_before(bench: Any) -> None:
    parent = bench.claimed()
    finish(bench, claim(bench, awaited(bench, parent)))
    parent = claim(bench, bench.run(parent.id))
    awaited(bench, parent)
    assert bench.run(parent.id).ended_child_id is None


def test_a_callers_run_goes_on_under_its_lease(bench: Any) -> None:
    parent = bench.submit(caller=True)
    child = claim(bench, awaited(bench, parent))
    assert (child.caller, child.max_attempts) == (False, 3)
    bench.execute(f"UPDATE run SET heartbeat_at = {PAST} WHERE id = :id", id=parent.id)
    finish(bench, child, {"n": 1})
    resumed = bench.run(parent.id)
    assert (resumed.status, resumed.lease, resumed.deadline_at is not None) == (Status.EXECUTING, 1, True)
    with transaction(bench.engine) as connection:
        assert sweeps.reap(connection, 60) == []
        beat = leases.heartbeat(connection, parent.id, 1)
        told = family.ended_child(connection, beat.ended_child_id)
    assert told is not None
    assert told["child"]["result"] == {"n": 1}


def test_a_parent_that_waits_for_too_long_times_out_and_its_child_lives_on(bench: Any) -> None:
    parent = bench.claimed()
    child = awaited(bench, parent)
    with transaction(bench.engine) as connection:
        assert sweeps.time_out_awaits(connection) == []
    bench.execute(f"UPDATE run SET await_expires_at = {PAST} WHERE id = :id", id=parent.id)
    with transaction(bench.engine) as connection:
        [ended] = sweeps.time_out_awaits(connection)
    assert (ended.id, ended.status, ended.error_class) == (parent.id, Status.TIMED_OUT, "timeout")
    assert str(child.id) in str(ended.error)
    assert bench.run(child.id).status is Status.QUEUED
    finish(bench, claim(bench, child))
    assert bench.run(parent.id).status is Status.TIMED_OUT


def test_nobody_sees_a_parent_that_waits_without_a_child_or_for_one_that_ended(bench: Any) -> None:
    stop, odd = threading.Event(), []
    statement = """
        SELECT parent.id FROM run AS parent LEFT JOIN run AS child ON child.id = parent.awaits_run_id
        WHERE parent.status = 'waiting' AND (child.id IS NULL OR child.finished_at IS NOT NULL)
    """

    def watch() -> None:
        while not stop.is_set():
            odd.extend(bench.execute(statement))

    parents = [bench.claimed() for _ in range(12)]
    with ThreadPoolExecutor(5) as threads:
        watching = threads.submit(watch)
        try:
            children = list(threads.map(lambda parent: awaited(bench, parent), parents))
            given = {run.id: run for run in bench.dequeue("default", 1000)}
            claimed = [given[child.id] for child in children]
            list(threads.map(lambda run: finish(bench, _take(bench, run)), claimed))
        finally:
            stop.set()
        watching.result(timeout=60)
    assert odd == []
    assert {bench.run(parent.id).status for parent in parents} == {Status.QUEUED}


def _take(bench: Any, run: Run) -> Run:
    with transaction(bench.engine) as connection:
        return leases.claim(connection, run.id, run.lease, uuid4(), "executor-2")


# -- canceling a tree --------------------------------------------------------------------------------------


def test_cancelling_a_run_cancels_its_children_and_theirs(bench: Any) -> None:
    root = bench.claimed()
    in_line = spawn(bench, root)
    at_work = claim(bench, spawn(bench, root))
    below = spawn(bench, at_work)
    stranger = bench.submit()
    asked = cancel(bench, root)
    assert (asked.status, asked.cancel_requested_at is not None) == (Status.EXECUTING, True)
    assert bench.run(at_work.id).cancel_requested_at is not None
    assert {bench.run(run.id).status for run in (in_line, below)} == {Status.CANCELED}
    assert bench.run(stranger.id).status is Status.QUEUED
    bench.execute(f"UPDATE run SET cancel_requested_at = {PAST} WHERE cancel_requested_at IS NOT NULL")
    with transaction(bench.engine) as connection:
        assert {run.id for run in sweeps.cancel_by_force(connection, 30)} == {root.id, at_work.id}


def test_cancelling_a_waiting_parent_ends_it_at_once_and_asks_its_child(bench: Any) -> None:
    parent = bench.claimed()
    child = claim(bench, awaited(bench, parent))
    assert cancel(bench, parent).status is Status.CANCELED
    assert bench.run(child.id).cancel_requested_at is not None
    finish(bench, child)
    assert (bench.run(child.id).status, bench.run(parent.id).status) == (Status.COMPLETED, Status.CANCELED)


def test_children_of_a_child_that_ended_are_found(bench: Any) -> None:
    root = bench.claimed()
    child = claim(bench, spawn(bench, root))
    grandchild = spawn(bench, child)
    finish(bench, child)
    cancel(bench, root)
    assert bench.run(grandchild.id).status is Status.CANCELED


def test_a_canceled_child_resumes_the_parent_above_the_tree(bench: Any) -> None:
    root = bench.claimed()
    child = claim(bench, awaited(bench, root))
    grandchild = awaited(bench, child)
    assert cancel(bench, child).status is Status.CANCELED
    assert bench.run(grandchild.id).status is Status.CANCELED
    assert bench.run(root.id).status is Status.QUEUED


def test_the_end_of_a_parent_and_its_late_cancel_leave_its_children_alone(bench: Any) -> None:
    parent = bench.claimed()
    child = spawn(bench, parent)
    finish(bench, parent)
    assert cancel(bench, parent).status is Status.COMPLETED
    assert bench.run(child.id).status is Status.QUEUED


def test_a_childs_continuation_is_canceled_with_the_tree(bench: Any) -> None:
    root = bench.claimed()
    child = claim(bench, spawn(bench, root))
    with transaction(bench.engine) as connection:
        continued = family.continue_(connection, child.id, child.lease, None)
    finish(bench, child)
    cancel(bench, root)
    assert bench.run(continued.id).status is Status.CANCELED


# -- continuing and replaying ------------------------------------------------------------------------------


def test_a_run_continues_more_than_once_beside_itself(bench: Any) -> None:
    run = bench.claimed(tags=("t",), inputs={"A": {"key": "a"}}, max_attempts=2)
    with transaction(bench.engine) as connection:
        first = family.continue_(connection, run.id, run.lease, None)
        second = family.continue_(connection, run.id, run.lease, {"from": 7})
    assert (first.payload, second.payload) == (run.payload, {"from": 7})
    for made in (first, second):
        assert (made.continuation_of, made.lineage_depth, made.job_id) == (run.id, 1, run.job_id)
        assert (made.holds_job, made.triggered_by, made.status) == (False, "continue", Status.QUEUED)
        assert (made.inputs, made.tags, made.max_attempts) == (run.inputs, ["t"], 2)
        assert (made.batch_id, made.parent_run_id) == (run.id, None)
    assert bench.run(run.id).status is Status.EXECUTING


def test_a_lineage_has_at_most_ten_continuations(bench: Any) -> None:
    run = bench.claimed()
    bench.execute("UPDATE run SET lineage_depth = 10 WHERE id = :id", id=run.id)
    with pytest.raises(TooDeep), transaction(bench.engine) as connection:
        family.continue_(connection, run.id, run.lease, None)


def test_a_job_whose_continuation_lives_is_neither_started_nor_replayed(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        continued = family.continue_(connection, run.id, run.lease, None)
        leases.fail(connection, run.id, run.lease, Failure(error="e"))
    with pytest.raises(JobInProgress), transaction(bench.engine) as connection:
        line.submit(connection, bench.new(run.job_id))
    with pytest.raises(JobInProgress), transaction(bench.engine) as connection:
        family.replay(connection, bench.run(run.id), "me")
    cancel(bench, continued)
    with transaction(bench.engine) as connection:
        assert family.replay(connection, bench.run(run.id), "me").replay_of == run.id


def test_no_start_comes_between_a_run_and_its_continuation(bench: Any) -> None:
    for _ in range(15):
        run = bench.claimed()
        together = threading.Barrier(2)

        def go_on(run: Run = run, together: threading.Barrier = together) -> None:
            together.wait(timeout=30)
            with transaction(bench.engine) as connection:
                family.continue_(connection, run.id, run.lease, None)
            finish(bench, run)

        def start(job: UUID = run.job_id, together: threading.Barrier = together) -> bool:
            together.wait(timeout=30)
            try:
                with transaction(bench.engine) as connection:
                    line.submit(connection, bench.new(job))
            except JobInProgress:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            going, started = threads.submit(go_on), threads.submit(start)
            going.result(timeout=60)
            assert started.result(timeout=60) is False


def test_a_replay_has_the_same_to_do(bench: Any) -> None:
    run = bench.claimed(tags=("t",), inputs={"A": {"key": "a"}}, priority=8, concurrency_key="k")
    with transaction(bench.engine) as connection:
        leases.fail(connection, run.id, run.lease, Failure(error="e"))
        again = family.replay(connection, line.find(connection, run.id) or run, "someone")
    assert (again.replay_of, again.triggered_by, again.created_by) == (run.id, "retry", "someone")
    assert (again.payload, again.inputs, again.tags) == (run.payload, run.inputs, ["t"])
    assert (again.priority, again.concurrency_key, again.holds_job) == (8, "k", True)
    assert (again.status, again.attempt, again.job_id) == (Status.QUEUED, 1, run.job_id)


def test_a_replay_begins_with_a_checkpoint_of_the_old_run(bench: Any) -> None:
    run = bench.claimed()
    with transaction(bench.engine) as connection:
        for row in (1, 2, 3):
            memory.save_checkpoint(connection, run.id, run.lease, {"row": row}, "sdk")
        leases.fail(connection, run.id, run.lease, Failure(error="e"))
    failed = bench.run(run.id)
    with pytest.raises(CheckpointNotKept), transaction(bench.engine) as connection:
        family.replay(connection, failed, "me", 4)
    assert len(bench.execute("SELECT id FROM run")) == 1
    with transaction(bench.engine) as connection:
        again = family.replay(connection, failed, "me", 2)
        kept = memory.last_checkpoint(connection, again.id)
    assert kept is not None
    assert (kept.sequence, kept.state) == (1, {"row": 2})
    claimed = claim(bench, again)
    with transaction(bench.engine) as connection:
        assert memory.save_checkpoint(connection, claimed.id, claimed.lease, 0, "sdk").sequence == 2


def test_what_is_completed_or_lives_or_was_its_callers_is_not_replayed(bench: Any) -> None:
    completed, live, callers = bench.claimed(), bench.claimed(), bench.submit(caller=True)
    finish(bench, completed)
    with transaction(bench.engine) as connection:
        leases.fail(connection, callers.id, 1, Failure(error="e"))
    for run in (completed, live, callers):
        with pytest.raises(CannotReplay), transaction(bench.engine) as connection:
            family.replay(connection, bench.run(run.id), "me")
