"""The line: how a run comes into it, and what runs a job has.

The line itself is in PostgreSQL: `status = 'queued' AND due_at <= now()`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from common.database import fetch, lock
from jobs.engine import moves
from jobs.engine.moves import Step
from jobs.engine.states import LIVE, Status
from jobs.engine.tables import RUN_COLUMNS, Run, run_of, runs_of_rows

__all__ = [
    "JobInProgress",
    "NewRun",
    "Run",
    "add",
    "find",
    "has_live_run",
    "runs_of",
    "submit",
]

LINE_SECONDS = 24 * 3600
_DOCUMENTS = ("payload", "inputs", "metadata", "tags", "retry")


class JobInProgress(Exception):
    """The job has a run that is not over."""

    def __init__(self, job_uid: UUID) -> None:
        super().__init__(f"Job already in progress: {job_uid}")
        self.job_uid = job_uid


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """What is asked for. `caller`: the client itself does the work, the run never enters the line."""

    job_id: UUID
    partner: str
    payload: dict[str, Any]
    inputs: dict[str, Any]
    created_by: str
    pool: str = "default"
    priority: int = 5
    max_attempts: int = 3
    timeout_seconds: int = 3600
    line_seconds: int = LINE_SECONDS
    delay_seconds: float = 0
    retry: dict[str, Any] = field(default_factory=dict)
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    triggered_by: str = "api"
    metadata: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    replay_of: UUID | None = None
    parent_run_id: UUID | None = None
    continuation_of: UUID | None = None
    batch_id: UUID | None = None
    depth: int = 0
    lineage_depth: int = 0
    holds_job: bool = True
    traceparent: str = ""
    caller: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 10:
            raise ValueError("a priority is a number from 0 to 10")
        if self.caller and self.delay_seconds:
            raise ValueError("a caller's run begins at once")


_SUBMIT = text(f"""
    WITH made AS (
        INSERT INTO run (id, job_id, partner, pool, status, holds_job, event_seq, caller, max_attempts, retry,
            priority, concurrency_key, concurrency_limit, payload, inputs, metadata, tags, timeout_seconds,
            line_seconds, due_at, queued_at, expires_at, replay_of, parent_run_id, continuation_of, batch_id,
            depth, lineage_depth, triggered_by, created_by, traceparent)
        VALUES (:id, :job_id, :partner, :pool, :status, :holds_job, 1, :caller, :max_attempts,
            CAST(:retry AS jsonb), :priority, :concurrency_key, :concurrency_limit, CAST(:payload AS jsonb),
            CAST(:inputs AS jsonb), CAST(:metadata AS jsonb), CAST(:tags AS jsonb), :timeout_seconds,
            :line_seconds,
            now() + make_interval(secs => :delay_seconds), now(),
            now() + make_interval(secs => :delay_seconds + CAST(:line_seconds AS integer)),
            :replay_of, :parent_run_id, :continuation_of, :batch_id, :depth, :lineage_depth, :triggered_by,
            :created_by, :traceparent)
        ON CONFLICT (job_id) WHERE holds_job DO NOTHING
        RETURNING {RUN_COLUMNS}
    ), noted AS (
        INSERT INTO run_event (run_id, seq, type, data)
        SELECT id, 1, 'status', jsonb_build_object('to', status, 'lease', 0, 'attempt', 1, 'by', triggered_by)
        FROM made
    )
    SELECT * FROM made
""")  # noqa: S608 (a constant list of columns)

_GIVE_CALLER_ITS_TURN = Step(
    target=Status.DEQUEUED,
    where="id = :id",
    by="caller",
    changes="lease = run.lease + 1, pushed_at = now()",
)
_BEGIN = Step(
    target=Status.EXECUTING,
    where="id = :id",
    by="caller",
    origins=frozenset({Status.DEQUEUED}),
    changes="started_at = now(), heartbeat_at = now(), executor = 'caller',"
    " deadline_at = now() + make_interval(secs => run.timeout_seconds)",
)

_FIND = text(f"SELECT {RUN_COLUMNS} FROM run WHERE id = :id")  # noqa: S608
_RUNS_OF = text(f"SELECT {RUN_COLUMNS} FROM run WHERE job_id = ANY(:jobs) ORDER BY id")  # noqa: S608
_HAS_LIVE = text("SELECT EXISTS (SELECT FROM run WHERE job_id = :job AND status = ANY(:live)) AS is_live")


def submit(connection: Connection, new: NewRun) -> Run:
    """Put a new run of a job in line, or in the caller's hands; raises JobInProgress. Nudge after the commit.

    The job's lock makes two simultaneous starts queue up; the unique index on `holds_job` would refuse the
    second one even without it.
    """
    lock(connection, "job", new.job_id)
    if has_live_run(connection, new.job_id):
        raise JobInProgress(new.job_id)
    run = add(connection, new)
    return _hand_to_caller(connection, run.id) if new.caller else run


def add(connection: Connection, new: NewRun) -> Run:
    """Put a new run in line beside others of its job; raises JobInProgress when both are to hold it."""
    rows = fetch(connection, _SUBMIT, _values(new))
    if not rows:
        raise JobInProgress(new.job_id)
    return run_of(rows[0])


def find(connection: Connection, run_id: UUID) -> Run | None:
    """Read one run."""
    rows = fetch(connection, _FIND, {"id": run_id})
    return run_of(rows[0]) if rows else None


def runs_of(connection: Connection, job_uids: Iterable[UUID]) -> dict[UUID, list[Run]]:
    """Read the runs of several jobs, each job's oldest first; a job without runs has an empty list."""
    runs: dict[UUID, list[Run]] = defaultdict(list)
    wanted = list(job_uids)
    for run in runs_of_rows(connection.execute(_RUNS_OF, {"jobs": wanted}).mappings().all()):
        runs[run.job_id].append(run)
    return {uid: runs[uid] for uid in wanted}


def has_live_run(connection: Connection, job_uid: UUID) -> bool:
    """Tell whether any run of the job is not over."""
    [row] = fetch(connection, _HAS_LIVE, {"job": job_uid, "live": sorted(LIVE)})
    return bool(row["is_live"])


def _hand_to_caller(connection: Connection, run_id: UUID) -> Run:
    moves.move(connection, _GIVE_CALLER_ITS_TURN, {"id": run_id})
    [run] = moves.move(connection, _BEGIN, {"id": run_id})
    return run


def _values(new: NewRun) -> dict[str, Any]:
    values = {name: getattr(new, name) for name in new.__dataclass_fields__}
    documents = {name: json.dumps(values[name]) for name in _DOCUMENTS}
    status = Status.DELAYED if new.delay_seconds else Status.QUEUED
    attempts = 1 if new.caller else new.max_attempts
    return {**values, **documents, "id": ids.new_ordered_id(), "status": status, "max_attempts": attempts}
