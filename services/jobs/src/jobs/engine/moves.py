"""The only writer of `run.status`.

A Step names where runs go, which ones, and what changes with them; its statement locks the rows that may go
there, writes them, notes the event, ends the wait of a run that waited and, when the target is final,
releases what the runs held and records the deliveries to outputs and to webhooks: all in one statement, for
one run or many. Where a run may come from is decided by the table in states.py and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, TextClause, text

from jobs.deliveries.webhooks import RECORD_ENDS
from jobs.engine import states
from jobs.engine.states import FINAL, Status
from jobs.engine.tables import RUN_COLUMNS, Run, runs_of_rows

_STATEMENT = """
WITH old AS (
    SELECT id, status FROM run
    WHERE {where} AND status = ANY(:sources)
    FOR UPDATE{skip_locked}
), moved AS (
    UPDATE run SET status = :target, event_seq = run.event_seq + 1{changes}
    FROM old WHERE run.id = old.id
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

_RELEASE = ", holds_job = false, awaits_run_id = NULL, finished_at = now(), ended_by = :by"

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
    def ends_waits(self) -> bool:
        return self.is_final or Status.WAITING in self.sources

    @cached_property
    def statement(self) -> TextClause:
        changes = (f", {self.changes}" if self.changes else "") + (_RELEASE if self.is_final else "")
        return text(
            _STATEMENT.format(
                where=self.where,
                skip_locked=" SKIP LOCKED" if self.skips_locked else "",
                changes=changes,
                columns=RUN_COLUMNS,
                ends=(_ENDS_WAIT if self.ends_waits else "") + (_ENDS if self.is_final else ""),
            )
        )


def move(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    """Move the selected runs to a state that is not final; return those that moved, as they are now."""
    if step.is_final:
        raise states.IllegalMove(f"{step.target} is final: end() does what an end needs")
    return _execute(connection, step, values)


def end(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    """End the selected runs: release their jobs and waits, record their outcomes; return those that ended.

    Every way to an end comes through here. Nudge the deliveries after the commit.
    """
    if not step.is_final:
        raise states.IllegalMove(f"{step.target} is not final")
    return _execute(connection, step, values)


def _execute(connection: Connection, step: Step, values: Mapping[str, Any]) -> list[Run]:
    own = {"sources": sorted(step.sources), "target": step.target, "by": step.by, "level": step.level}
    return runs_of_rows(connection.execute(step.statement, {**values, **own}).mappings().all())
