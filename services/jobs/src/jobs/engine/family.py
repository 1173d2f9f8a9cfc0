"""Families: runs spawn children and continue in other runs, await a child, and are canceled with their tree.

What a run spawns and continues carries the id of the run it all began with as `batch_id`: that is the family.

Locks are taken in one order, so that nobody waits in a circle: the job's, the family's, then rows of `run`, a
later number before an earlier one: a child's row before its parent's. Who adds to a family or cancels in it
holds the family's lock, so that a tree does not grow while it is canceled. A run that ends needs its own row
and that of the parent that awaits it, in this order (moves.py); sweeps wait for no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common.database import lock
from jobs.engine import fence, line, memory, moves
from jobs.engine.fence import GUARD, CancelRequested, RunIsNotExecuting, RunNotFound
from jobs.engine.line import NewRun
from jobs.engine.moves import Step
from jobs.engine.states import LIVE, Status
from jobs.engine.tables import RUN_COLUMNS, Run, run_of

DEEPEST = 20  # children of children
LONGEST_LINEAGE = 10  # continuations of continuations


class TooDeep(Exception):
    """The family has as many generations as it may have."""


class CannotReplay(Exception):
    """This run is not to be run again."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A run to spawn. `priority` none: the parent's. With `await_seconds` the parent waits for its end."""

    job_id: UUID
    payload: dict[str, Any]
    inputs: dict[str, Any]
    priority: int | None = None
    await_seconds: float | None = None


_FAMILIES = text("SELECT DISTINCT coalesce(batch_id, id) AS family FROM run WHERE id = ANY(:ids)")
_HOLD = text(f"UPDATE run SET heartbeat_at = now() WHERE {GUARD} RETURNING {RUN_COLUMNS}")  # noqa: S608 (constants, here and below)
_AWAIT = Step(
    target=Status.WAITING,
    where="id = :id",
    by="spawn",
    changes="awaits_run_id = :child, await_expires_at = now() + make_interval(secs => :seconds),"
    " deadline_at = NULL",
)
_TREES = text("""
    WITH RECURSIVE tree AS (
        SELECT id FROM run WHERE id = ANY(:ids) AND status = ANY(:live)
        UNION
        SELECT run.id FROM run JOIN tree ON run.parent_run_id = tree.id
    )
    SELECT id, status FROM run WHERE id IN (SELECT id FROM tree) AND status = ANY(:live)
    ORDER BY number DESC FOR UPDATE
""")
_CANCEL = Step(
    target=Status.CANCELED,
    where="id = ANY(:ids)",
    by="cancel",
    origins=frozenset({Status.DELAYED, Status.QUEUED, Status.DEQUEUED, Status.WAITING}),
)
_REQUEST = text("""
    WITH asked AS (
        UPDATE run SET cancel_requested_at = now(), event_seq = run.event_seq + 1
        WHERE id = ANY(:ids) AND cancel_requested_at IS NULL
        RETURNING id, event_seq
    )
    INSERT INTO run_event (run_id, seq, type, level) SELECT id, event_seq, 'cancel', 'warning' FROM asked
""")
_THESE = text(f"SELECT {RUN_COLUMNS} FROM run WHERE id = ANY(:ids)")  # noqa: S608
_ENDED = text("SELECT id, status, result, error FROM run WHERE id = :id")


def hold(connection: Connection, run_id: UUID, lease: int) -> Run:
    """Hold a run and its family for its executor, who is about to add to it; raises RunRefused."""
    _lock_families(connection, [run_id])
    row = connection.execute(_HOLD, {"id": run_id, "lease": lease}).mappings().one_or_none()
    if row is None:
        raise fence.refusal(connection, run_id, lease)
    run = run_of(row)
    if run.cancel_requested_at is not None:
        raise CancelRequested(run_id)
    return run


def spawn(connection: Connection, parent: Run, child: Child) -> Run:
    """Make a child of a run that is held, which waits for it if asked to. Nudge the line after the commit.

    Raises TooDeep, and RunIsNotExecuting when the parent is to wait and does so already.
    """
    if parent.depth >= DEEPEST:
        raise TooDeep(f"a run has at most {DEEPEST} generations above it")
    values = {
        **_inherited(parent),
        **_of_family(parent),
        "job_id": child.job_id,
        "payload": child.payload,
        "inputs": child.inputs,
        "parent_run_id": parent.id,
        "depth": parent.depth + 1,
        "triggered_by": "spawn",
    }
    if child.priority is not None:
        values["priority"] = child.priority
    made = line.add(connection, NewRun(**values))
    if child.await_seconds is not None:
        _await(connection, parent, made.id, child.await_seconds)
    return made


def _await(connection: Connection, parent: Run, child: UUID, seconds: float) -> None:
    if not moves.move(connection, _AWAIT, {"id": parent.id, "child": child, "seconds": seconds}):
        raise RunIsNotExecuting(parent.id)


def continue_(connection: Connection, run_id: UUID, lease: int, payload: dict[str, Any] | None) -> Run:
    """Put a run of the same job in line that goes on where this one leaves off; raises RunRefused, TooDeep.

    The continuation of a child is a child of the same parent, which does not await it. Nudge the line after
    the commit.
    """
    run = hold(connection, run_id, lease)
    if run.lineage_depth >= LONGEST_LINEAGE:
        raise TooDeep(f"a run is continued at most {LONGEST_LINEAGE} times")
    values = {
        **_again(run),
        **_of_family(run),
        "continuation_of": run.id,
        "lineage_depth": run.lineage_depth + 1,
        "parent_run_id": run.parent_run_id,
        "depth": run.depth,
        "triggered_by": "continue",
    }
    return line.add(connection, NewRun(**values if payload is None else {**values, "payload": payload}))


def replay(connection: Connection, run: Run, created_by: str, from_checkpoint: int | None = None) -> Run:
    """Put a new run in line that does again what a run did not complete. Nudge the line after the commit.

    Raises CannotReplay, line.JobInProgress while the job has a live run, and memory.CheckpointNotKept.
    """
    if run.caller:
        # An executor of ours would be given what its caller never was: a roster, an ODS.
        raise CannotReplay("A run that its caller carried out is not replayed: start the job again")
    if run.status is Status.COMPLETED:
        raise CannotReplay("A completed run is not replayed: start the job again")
    if not run.is_final:
        raise CannotReplay("The run is not over")
    values = {**_again(run), "created_by": created_by, "replay_of": run.id, "triggered_by": "retry"}
    made = line.submit(connection, NewRun(**values))
    if from_checkpoint is not None:
        memory.copy_checkpoint(connection, run.id, from_checkpoint, made.id)
    return made


def _of_family(run: Run) -> dict[str, Any]:
    return {"batch_id": run.batch_id or run.id, "holds_job": False}


def _inherited(run: Run) -> dict[str, Any]:
    """What a child has of its parent, and every run of a run it repeats or continues."""
    return {
        "partner": run.partner,
        "pool": run.pool,
        "priority": run.priority,
        "timeout_seconds": run.timeout_seconds,
        "concurrency_key": run.concurrency_key,
        "concurrency_limit": run.concurrency_limit,
        "tags": tuple(run.tags),
        "created_by": run.created_by,
        "traceparent": run.traceparent,
    }


def _again(run: Run) -> dict[str, Any]:
    same = {"job_id": run.job_id, "payload": run.payload, "inputs": run.inputs, "retry": run.retry}
    attempts = {} if run.caller else {"max_attempts": run.max_attempts}  # a caller has one, by its nature
    return {**_inherited(run), **same, **attempts}


def ended_child(connection: Connection, child_id: UUID | None) -> dict[str, Any] | None:
    """Tell how the child ended whose end resumed a run: the `event` of its claim or heartbeat."""
    if child_id is None:
        return None
    child = connection.execute(_ENDED, {"id": child_id}).one()
    return {
        "child": {
            "id": str(child.id),
            "status": child.status,
            "result": child.result,
            "error": child.error,
        }
    }


def request_cancel(connection: Connection, run_id: UUID) -> Run:
    """Cancel a run and all that descend from it; return it as it is then. Raises RunNotFound."""
    runs = cancel(connection, [run_id])
    if not runs:
        raise RunNotFound(run_id)
    return runs[0]


def cancel(connection: Connection, run_ids: Sequence[UUID]) -> list[Run]:
    """Cancel runs with their trees: at once, or by asking those at work to stop.

    Returns the runs named as they are then; those that are over stay as they are, and so do their children.
    Nudge the line and the deliveries after the commit.
    """
    _lock_families(connection, run_ids)
    rows = connection.execute(_TREES, {"ids": run_ids, "live": sorted(LIVE)}).all()
    at_work = [row.id for row in rows if row.status == Status.EXECUTING]
    if at_rest := [row.id for row in rows if row.status != Status.EXECUTING]:
        moves.end(connection, _CANCEL, {"ids": at_rest})
    if at_work:
        connection.execute(_REQUEST, {"ids": at_work})
    return [run_of(row) for row in connection.execute(_THESE, {"ids": run_ids}).mappings()]


def _lock_families(connection: Connection, run_ids: Sequence[UUID]) -> None:
    for family in sorted(connection.execute(_FAMILIES, {"ids": run_ids}).scalars()):
        lock(connection, "family", family)
