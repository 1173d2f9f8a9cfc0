"""The only writer of `run.status`.

A Step names where runs go, which ones, and what changes with them; its statement locks the rows that may go
there, writes them, notes the event, ends the wait of a run that waited and, when the target is final,
releases what the runs held and records the deliveries to outputs and to webhooks: all in one statement, for
one run or many. Where a run may come from is decided by the table in states.py and nowhere else.

Whoever ends a child resumes the parent that awaits it in the same transaction: the child's row is locked
first, then the parent's. A step that skips locked rows also leaves a child alone whose parent is locked, so
that sweeps wait for nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, TextClause, text

from common.database import fetch
from jobs.deliveries.webhooks import RECORD_ENDS
from jobs.engine import states
from jobs.engine.states import FINAL, Status
from jobs.engine.tables import RUN_COLUMNS, Run, runs_of_rows

_STATEMENT = """
WITH old AS (
    SELECT id, status FROM run
    WHERE {where} AND status = ANY(:sources)
    FOR UPDATE{skip_locked}
){parents}, moved AS (
    UPDATE run SET status = :target, event_seq = run.event_seq + 1{changes}
    FROM old WHERE run.id = old.id{with_parents}
    RETURNING {columns}, old.status AS old_status
), noted AS (
    INSERT INTO run_event (run_id, seq, type, level, data)
    SELECT id, event_seq, 'status', :level, jsonb_strip_nulls(jsonb_build_object(
        'from', old_status, 'to', status, 'lease', lease, 'attempt', attempt,
        'by', CAST(:by AS text), 'error', error, 'executor', executor))
    FROM moved
){ends}
SELECT * FROM moved
"""

_RELEASE = ", holds_job = false, finished_at = now(), ended_by = :by"
_WAIT_ANEW = ", ended_child_id = NULL"
_WAIT_NO_MORE = ", awaits_run_id = NULL, await_expires_at = NULL"

_PARENTS = """, parent AS (
    SELECT awaits_run_id AS child FROM run WHERE awaits_run_id IN (SELECT id FROM old)
    FOR UPDATE SKIP LOCKED
)"""
_WITH_PARENTS = """ AND (
        run.parent_run_id IS NULL OR run.id IN (SELECT child FROM parent)
        OR NOT EXISTS (SELECT FROM run AS awaiting WHERE awaiting.awaits_run_id = run.id))"""

_ENDS_WAIT = """, released AS (
    DELETE FROM wait USING moved WHERE wait.run_id = moved.id
)"""

_ENDS = f""", told AS (
    INSERT INTO delivery (kind, reference)
    SELECT 'outcome', jsonb_build_object('run', id, 'lease', lease) FROM moved
), called AS (
    {RECORD_ENDS}
)"""  # noqa: S608 (our own constant)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A kind of move. `where` selects rows of `run`, `changes` are further SET clauses; both take parameters.

    `origins` narrows the sources the table allows. Raises IllegalMove when the table does not know the move.
    """

    target: Status
    where: str
    by: str
    changes: str = ""
    origins: frozenset[Status] = field(default_factory=frozenset)
    skips_locked: bool = False
    level: str = "info"

    def __post_init__(self) -> None:
        states.check(self.sources, self.target)

    @property
    def sources(self) -> frozenset[Status]:
        return self.origins or states.sources(self.target)

    @property
    def is_final(self) -> bool:
        return self.target in FINAL

    @property
    def seeks(self) -> bool:
        """Tell whether it looks for its runs, up to `batch` of them, and is not told which they are."""
        return ":batch" in self.where

    @property
    def ends_waits(self) -> bool:
        return self.is_final or Status.WAITING in self.sources

    @cached_property
    def statement(self) -> TextClause:
        ends_unheld = self.is_final and self.skips_locked
        return text(
            _STATEMENT.format(
                where=self.where,
                skip_locked=" SKIP LOCKED" if self.skips_locked else "",
                parents=_PARENTS if ends_unheld else "",
                with_parents=_WITH_PARENTS if ends_unheld else "",
                changes=self._all_changes(),
                columns=RUN_COLUMNS,
                ends=(_ENDS_WAIT if self.ends_waits else "") + (_ENDS if self.is_final else ""),
            )
        )

    def _all_changes(self) -> str:
        own = f", {self.changes}" if self.changes else ""
        waits = _WAIT_ANEW if self.target is Status.WAITING else _WAIT_NO_MORE
        return own + waits + (_RELEASE if self.is_final else "")


_AWAITING = "awaits_run_id = ANY(:children)"
_RESUME = Step(
    target=Status.QUEUED,
    where=f"{_AWAITING} AND NOT caller",
    by="child",
    origins=frozenset({Status.WAITING}),
    changes="ended_child_id = run.awaits_run_id, claim_id = NULL, deadline_at = NULL, queued_at = now(),"
    " due_at = now(), expires_at = now() + make_interval(secs => run.line_seconds)",
)
_RESUME_CALLER = Step(
    target=Status.EXECUTING,
    where=f"{_AWAITING} AND caller",
    by="child",
    origins=frozenset({Status.WAITING}),
    changes="ended_child_id = run.awaits_run_id, heartbeat_at = now(),"
    " deadline_at = now() + make_interval(secs => run.timeout_seconds)",
)


def move(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    """Move the selected runs to a state that is not final; return those that moved, as they are now."""
    if step.is_final:
        raise states.IllegalMove(f"{step.target} is final: end() does what an end needs")
    return _execute(connection, step, values)


def end(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    """End the selected runs: release their jobs and waits, record their outcomes; return those that ended.

    Every way to an end comes through here, and the parents that await these runs are resumed. Nudge the
    deliveries and the line after the commit.
    """
    if not step.is_final:
        raise states.IllegalMove(f"{step.target} is not final")
    ended = _execute(connection, step, values)
    if children := [run.id for run in ended if run.parent_run_id]:
        _execute(connection, _RESUME, {"children": children})
        _execute(connection, _RESUME_CALLER, {"children": children})
    return ended


def _execute(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    own = {"sources": sorted(step.sources), "target": step.target, "by": step.by, "level": step.level}
    if step.seeks:  # how it is best done depends on how many there are
        return runs_of_rows(connection.execute(step.statement, {**values, **own}).mappings().all())
    return runs_of_rows(fetch(connection, step.statement, {**values, **own}))
