"""Every way to an end does the same: the job is free, the wait is gone, one outcome goes out."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from common.database import transaction
from jobs.engine import family, leases, line, sweeps, turns
from jobs.engine.leases import Failure
from jobs.engine.states import FINAL, Status
from jobs.engine.tables import Run
from jobs.engine.turns import Given

Way = Callable[[Connection, Run], Any]
PAST = "now() - interval '1 h'"


def give_up(connection: Connection, run: Run) -> None:
    turns.compare(connection, {}, frozenset({Given(run=run.id, lease=run.lease)}))


def end_waits(connection: Connection, _: Run) -> None:
    connection.execute(text(f"UPDATE wait SET expires_at = {PAST}"))
    sweeps.end_waits(connection)


WAYS: dict[str, tuple[Status, str, Way]] = {
    "complete": (Status.COMPLETED, "", lambda c, run: leases.complete(c, run.id, run.lease)),
    "fail": (Status.FAILED, "", lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e"))),
    "spend": (
        Status.DEAD_LETTER,
        "UPDATE run SET attempt = max_attempts",
        lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e", retryable=True)),
    ),
    "obey": (
        Status.CANCELED,
        "UPDATE run SET cancel_requested_at = now()",
        lambda c, run: leases.fail(c, run.id, run.lease, Failure(error="e", retryable=True)),
    ),
    "reap": (
        Status.CRASHED,
        f"UPDATE run SET attempt = max_attempts, heartbeat_at = {PAST}",
        lambda c, _: sweeps.reap(c, 60),
    ),
    "reap after a request to cancel": (
        Status.CANCELED,
        f"UPDATE run SET cancel_requested_at = now(), heartbeat_at = {PAST}",
        lambda c, _: sweeps.reap(c, 60),
    ),
    "time out": (
        Status.TIMED_OUT,
        f"UPDATE run SET deadline_at = {PAST}",
        lambda c, _: sweeps.time_out(c, 60),
    ),
    "end waits": (Status.TIMED_OUT, "UPDATE run SET status = 'waiting'", end_waits),
    "cancel by force": (
        Status.CANCELED,
        f"UPDATE run SET cancel_requested_at = {PAST}",
        lambda c, _: sweeps.cancel_by_force(c, 30),
    ),
    "cancel while waiting": (
        Status.CANCELED,
        "UPDATE run SET status = 'waiting'",
        lambda c, run: family.request_cancel(c, run.id),
    ),
    "cancel in line": (
        Status.CANCELED,
        "UPDATE run SET status = 'queued'",
        lambda c, run: family.request_cancel(c, run.id),
    ),
    "expire": (
        Status.EXPIRED,
        f"UPDATE run SET status = 'queued', expires_at = {PAST}",
        lambda c, _: sweeps.expire(c),
    ),
    "give up": (Status.SYSTEM_FAILED, "UPDATE run SET status = 'dequeued', turns_lost = 10000", give_up),
}


def brought_to_its_end(bench: Any, name: str) -> Run:
    """Claim a run that also has a wait, and end it in one of the ways."""
    _, before, way = WAYS[name]
    run: Run = bench.claimed()
    bench.execute(before or "SELECT 1")
    bench.execute(
        "INSERT INTO wait (id, run_id, lease, partner, key, expires_at)"
        " VALUES (:wait, :id, 1, 'acme', 'k', now() + interval '1 h')",
        wait=uuid4(),
        id=run.id,
    )
    with transaction(bench.engine) as connection:
        way(connection, run)
    return run


@pytest.mark.parametrize("name", WAYS)
def test_every_end_frees_the_job_and_tells_of_it_once(bench: Any, name: str) -> None:
    run = brought_to_its_end(bench, name)
    ended = bench.run(run.id)
    status = WAYS[name][0]
    assert (ended.status, ended.holds_job, ended.finished_at is not None) == (status, False, True)
    assert bench.execute("SELECT * FROM wait") == []
    [delivery] = bench.deliveries()
    assert (delivery["kind"], delivery["reference"]) == ("outcome", {"run": str(run.id), "lease": run.lease})
    assert bench.statuses(run.id)[-1] == status
    with transaction(bench.engine) as connection:
        assert line.submit(connection, bench.new(run.job_id)).status is Status.QUEUED


@pytest.mark.parametrize("name", WAYS)
def test_every_end_is_told_to_webhooks_once(bench: Any, name: str) -> None:
    bench.execute("DELETE FROM webhook")
    [webhook] = bench.execute(
        "INSERT INTO webhook (id, partner, url, events, secret)"
        """ VALUES (:id, 'acme', 'http://x', '["run.completed", "run.failed"]', '') RETURNING id""",
        id=uuid4(),
    )
    run = brought_to_its_end(bench, name)
    [told] = [each for each in bench.deliveries() if each["kind"] == "webhook"]
    event = "run.completed" if WAYS[name][0] is Status.COMPLETED else "run.failed"
    assert (told["reference"]["event"], told["reference"]["run"]) == (event, str(run.id))
    assert told["webhook_id"] == webhook["id"]
    bench.execute("DELETE FROM delivery; DELETE FROM webhook")


def test_the_ways_lead_to_every_final_state() -> None:
    assert {status for status, _, _ in WAYS.values()} == FINAL
