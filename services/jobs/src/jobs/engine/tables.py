"""Rows of the engine's tables as values, and the lists of columns they are read with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from jobs.engine.states import FINAL, Status


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a job: a row of `run`."""

    id: UUID
    number: int
    job_id: UUID
    partner: str
    pool: str
    status: Status
    lease: int  # fences: raised with every turn
    claim_id: UUID | None
    executor: str | None
    caller: bool  # the client itself works; never enters the line
    attempt: int  # from 1; for people and backoff
    max_attempts: int
    retry: dict[str, Any]
    holds_job: bool
    priority: int
    concurrency_key: str | None
    concurrency_limit: int
    payload: dict[str, Any]
    inputs: dict[str, Any]
    metadata: dict[str, str]
    result: Any
    error: str | None
    error_class: str | None
    error_code: str | None
    progress: dict[str, Any] | None
    timeout_seconds: int
    created_at: datetime
    due_at: datetime
    queued_at: datetime | None
    pushed_at: datetime | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    deadline_at: datetime | None
    expires_at: datetime
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    ended_by: str | None  # complete, fail, cancel, silence, time, wait, await, line, turns
    failed_lease: int | None  # the lease whose failure scheduled the attempt at hand
    turns_lost: int  # turns in a row that nobody claimed
    event_seq: int
    parent_run_id: UUID | None
    awaits_run_id: UUID | None
    ended_child_id: UUID | None  # the child whose end resumed it last
    continuation_of: UUID | None
    replay_of: UUID | None
    lineage_depth: int
    depth: int
    batch_id: UUID | None
    tags: list[str]
    triggered_by: str
    created_by: str
    traceparent: str
    named_sets: list[str]  # what complete named, for outputs to publish
    output_sets: list[dict[str, Any]] | None  # what outputs published; none until it has answered

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line of a run's history: a row of `run_event`. `data` always has `message` for logs and progress."""

    run_id: UUID
    seq: int
    type: str
    level: str
    at: datetime
    data: dict[str, Any]


def columns(cls: type[Any], table: str) -> str:
    """List a row class's columns, each with its table's name."""
    return ", ".join(f"{table}.{field.name}" for field in fields(cls))


Row = Mapping[str, Any] | RowMapping

RUN_COLUMNS = columns(Run, "run")
EVENT_COLUMNS = columns(Event, "run_event")
_RUN_NAMES = tuple(field.name for field in fields(Run))
_EVENT_NAMES = tuple(field.name for field in fields(Event))


def run_of(row: Row) -> Run:
    """Read a row that was selected with RUN_COLUMNS (it may hold more)."""
    values = {name: row[name] for name in _RUN_NAMES}
    return Run(**{**values, "status": Status(values["status"])})


def event_of(row: Row) -> Event:
    """Read a row that was selected with EVENT_COLUMNS (it may hold more)."""
    return Event(**{name: row[name] for name in _EVENT_NAMES})


def runs_of_rows(rows: Iterable[Row]) -> list[Run]:
    """Read several rows."""
    return [run_of(row) for row in rows]
