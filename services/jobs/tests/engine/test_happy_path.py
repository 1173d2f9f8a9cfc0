"""A run from the line to its end, statement by statement."""

import json
from typing import Any
from uuid import uuid4

from jobs.engine import leases, turns
from jobs.engine.states import Status


def test_a_run_goes_through_the_line_and_leaves_one_outcome(bench: Any) -> None:
    run = bench.submit()
    assert (run.status, run.lease, run.holds_job, run.event_seq) == (Status.QUEUED, 0, True, 1)

    [given] = bench.dequeue()
    assert (given.id, given.status, given.lease) == (run.id, Status.DEQUEUED, 1)
    turns.push(bench.redis, bench.signer, [given])
    turn = json.loads(bench.redis.lpop("jobs:line:default"))
    assert (turn["v"], turn["run"], turn["lease"]) == (1, str(run.id), 1)

    with bench.engine.begin() as connection:
        claimed = leases.claim(connection, run.id, 1, uuid4(), "executor-1")
    assert claimed.status is Status.EXECUTING
    assert claimed.deadline_at is not None

    with bench.engine.begin() as connection:
        assert leases.heartbeat(connection, run.id, 1).cancel_requested_at is None
        ended = leases.complete(connection, run.id, 1, result={"counts": {"rows": 5}}, named_sets=["a"])
    assert (ended.status, ended.holds_job, ended.named_sets) == (Status.COMPLETED, False, ["a"])
    assert ended.finished_at is not None

    [delivery] = bench.deliveries()
    assert (delivery["kind"], delivery["reference"]) == ("outcome", {"run": str(run.id), "lease": 1})
    events = bench.execute("SELECT seq, data->>'to' AS status FROM run_event ORDER BY seq")
    assert [tuple(e.values()) for e in events] == [
        (1, "queued"),
        (2, "dequeued"),
        (3, "executing"),
        (4, "completed"),
    ]


def test_a_caller_run_is_executing_at_once(bench: Any) -> None:
    run = bench.submit(caller=True)
    assert (run.status, run.lease, run.max_attempts) == (Status.EXECUTING, 1, 1)
    assert bench.dequeue() == []
