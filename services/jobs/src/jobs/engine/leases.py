"""Leases: an executor claims its turn, stays alive by its heartbeats, and ends the run by its own word."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common.database import fetch
from jobs.engine import fence, moves, retry
from jobs.engine.fence import GUARD, ClaimRefused, RunIsFinal, RunNotFound
from jobs.engine.line import find
from jobs.engine.moves import Step
from jobs.engine.states import LEASED, Status, sources
from jobs.engine.tables import RUN_COLUMNS, Run, run_of


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """What an executor needs for a run, made at the moment it asks: secrets and URLs are in it."""

    payload: dict[str, Any]
    can_send: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An executor's word that it failed. `retryable` none: the class decides."""

    error: str
    error_class: str | None = None
    error_code: str | None = None
    retryable: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What a heartbeat tells the executor."""

    timeout_seconds: int
    cancel_requested_at: datetime | None
    ended_child_id: UUID | None
    has_event: bool  # a caller's run may go on with one


_CLAIM = Step(
    target=Status.EXECUTING,
    where="id = :id AND lease = :lease",
    by="claim",
    origins=frozenset({Status.DEQUEUED}),
    changes="claim_id = :claim_id, executor = :executor, started_at = now(), heartbeat_at = now(),"
    " deadline_at = now() + make_interval(secs => run.timeout_seconds), turns_lost = 0, progress = NULL",
)
_CLAIM_AGAIN = text(f"""
    UPDATE run SET heartbeat_at = now()
    WHERE id = :id AND lease = :lease AND status = 'executing' AND claim_id = :claim_id
    RETURNING {RUN_COLUMNS}
""")  # noqa: S608 (a constant list of columns)
_BEAT = text(f"""
    UPDATE run SET heartbeat_at = now() WHERE {GUARD}
    RETURNING timeout_seconds, cancel_requested_at, ended_child_id, caller AND EXISTS (
        SELECT FROM signal WHERE consumed_by = run.id AND answered_lease IS NULL) AS has_event
""")  # noqa: S608
_LOCK = text(f"SELECT {RUN_COLUMNS} FROM run WHERE {GUARD} FOR UPDATE")  # noqa: S608

_COMPLETE = Step(
    target=Status.COMPLETED,
    where="id = :id AND lease = :lease",
    by="complete",
    changes="result = CAST(:result AS jsonb), named_sets = CAST(:named_sets AS jsonb), heartbeat_at = now(),"
    " error = NULL, error_class = NULL, error_code = NULL",
)
_FAILURE = "error = :error, error_class = :error_class, error_code = :error_code, heartbeat_at = now()"


def _failed(target: Status) -> Step:
    origins = LEASED & sources(target)
    where = "id = :id AND lease = :lease"
    return Step(target=target, where=where, by="fail", origins=origins, changes=_FAILURE, level="error")


_FAIL = _failed(Status.FAILED)
_SPEND = _failed(Status.DEAD_LETTER)
_CANCEL = _failed(Status.CANCELED)
_RETRY = Step(
    target=Status.QUEUED,
    where="id = :id AND lease = :lease",
    by="fail",
    origins=LEASED,
    level="warning",
    changes=f"{_FAILURE}, attempt = run.attempt + 1, failed_lease = run.lease, claim_id = NULL,"
    " deadline_at = NULL, queued_at = now(), due_at = now() + make_interval(secs => :delay),"
    " expires_at = now() + make_interval(secs => :delay + run.line_seconds)",
)


def claim(connection: Connection, run_id: UUID, lease: int, claim_id: UUID, executor: str) -> Run:
    """Take the turn, or find it already taken by the same claim; raises RunRefused.

    A claim whose answer was lost is repeated with the same `claim_id`.
    """
    values = {"id": run_id, "lease": lease, "claim_id": claim_id, "executor": executor}
    if moved := moves.move(connection, _CLAIM, values):
        return moved[0]
    if again := fetch(connection, _CLAIM_AGAIN, values):
        return run_of(again[0])
    return _refuse_claim(find(connection, run_id), run_id, lease)


def _refuse_claim(run: Run | None, run_id: UUID, lease: int) -> Run:
    if run is None:
        raise RunNotFound(run_id)
    if run.is_final:
        raise RunIsFinal(run_id)
    if run.lease != lease or run.status is Status.QUEUED:
        raise ClaimRefused(run_id, "this turn was taken back")
    raise ClaimRefused(run_id, "another executor has claimed this turn")


def held(connection: Connection, run_id: UUID, lease: int) -> Run:
    """Read the run for the executor that holds it; raises RunRefused."""
    return fence.check(find(connection, run_id), run_id, lease)


def heartbeat(connection: Connection, run_id: UUID, lease: int) -> Beat:
    """Note that the executor lives, and tell it whether somebody wants it to stop; raises RunRefused."""
    rows = fetch(connection, _BEAT, {"id": run_id, "lease": lease})
    if not rows:
        raise fence.refusal(connection, run_id, lease)
    return Beat(**rows[0])


def complete(
    connection: Connection, run_id: UUID, lease: int, *, result: Any = None, named_sets: Sequence[str] = ()
) -> Run:
    """End the run well; repeated by the same lease it answers with the stored run. Raises RunRefused."""
    values = {
        "id": run_id,
        "lease": lease,
        "result": json.dumps(result),
        "named_sets": json.dumps(list(named_sets)),
    }
    if ended := moves.end(connection, _COMPLETE, values):
        return ended[0]
    run = find(connection, run_id)
    if run is not None and run.lease == lease and run.ended_by == "complete":
        return run
    raise fence.refusal(connection, run_id, lease)


def fail(connection: Connection, run_id: UUID, lease: int, failure: Failure) -> Run:
    """End the attempt: the run is tried again, or it is over. Raises RunRefused.

    After somebody asked to cancel, a failure is how the executor obeys: the run ends as canceled. Repeated by
    the same lease it answers with the run as it is.
    """
    rows = fetch(connection, _LOCK, {"id": run_id, "lease": lease})
    if not rows:
        return _failed_before(connection, run_id, lease)
    run = run_of(rows[0])
    step = _after(run, failure)
    values = {
        "id": run_id,
        "lease": lease,
        "error": failure.error,
        "error_class": failure.error_class,
        "error_code": failure.error_code,
    }
    if step is _RETRY:
        delay = retry.delay_seconds(retry.backoff_of(run.retry), run.attempt)
        return moves.move(connection, step, {**values, "delay": delay})[0]
    return moves.end(connection, step, values)[0]


def _after(run: Run, failure: Failure) -> Step:
    if run.cancel_requested_at is not None:
        return _CANCEL
    if not retry.is_retryable(failure.retryable, failure.error_class):
        return _FAIL
    if run.attempt < run.max_attempts:
        return _RETRY
    return _SPEND if run.status in _SPEND.sources else _FAIL


def _failed_before(connection: Connection, run_id: UUID, lease: int) -> Run:
    run = find(connection, run_id)
    ended = run is not None and run.lease == lease and run.ended_by == "fail"
    if run is not None and (ended or run.failed_lease == lease):
        return run
    raise fence.refusal(connection, run_id, lease)
