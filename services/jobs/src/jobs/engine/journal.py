"""What a run says while it works: log lines, progress, usage, in the order of its own sequence.

Each append is one statement: it proves the lease, counts as a heartbeat, takes its numbers from
`run.event_seq` under the row's lock, and writes the events. Nothing is appended to a final run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from common.database import fetch
from jobs.engine import fence
from jobs.engine.fence import GUARD
from jobs.engine.line import find
from jobs.engine.tables import EVENT_COLUMNS, Event, event_of

MAX_ENTRIES = 500
LEVELS: Mapping[str, int] = {
    "trace": 0,
    "debug": 1,
    "info": 2,
    "notice": 3,
    "warn": 4,
    "warning": 4,
    "error": 5,
    "fatal": 6,
    "critical": 6,
}
# What no log line may pose as; `end` is a live stream's own.
OWN_TYPES = frozenset(
    {"status", "cancel", "progress", "usage", "tool_call", "resources", "stream", "published", "end"}
)


class BudgetSpent(Exception):
    """The models a run called have cost what they may cost."""

    def __init__(self, budget_microusd: int) -> None:
        super().__init__(f"the run has spent its budget of {budget_microusd} millionths of a US dollar")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event to be."""

    type: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is, as its executor sees it."""

    percent: float
    message: str = ""
    step: str | None = None
    eta_seconds: float | None = None

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


def _append(changes: str = "", also: str = "") -> TextClause:
    return text(f"""
        WITH live AS (
            UPDATE run SET heartbeat_at = now(), event_seq = run.event_seq + :count{changes}
            WHERE {GUARD}{also}
            RETURNING id, event_seq
        )
        INSERT INTO run_event (run_id, seq, type, level, data)
        SELECT live.id, live.event_seq - :count + entry.place,
               entry.value ->> 'type', entry.value ->> 'level', entry.value -> 'data'
        FROM live, jsonb_array_elements(CAST(:entries AS jsonb)) WITH ORDINALITY AS entry (value, place)
        RETURNING {EVENT_COLUMNS}
    """)  # noqa: S608 (constants)


_LOG = _append()
_PROGRESS = _append(", progress = CAST(:progress AS jsonb)")
_USAGE = _append(
    ", cost_microusd = run.cost_microusd + :cost",
    " AND (CAST(:budget AS bigint) = 0 OR run.cost_microusd < :budget)",
)
_READ = text(f"""
    SELECT {EVENT_COLUMNS} FROM run_event WHERE run_id = :id AND seq BETWEEN :first AND :last ORDER BY seq
""")  # noqa: S608


def log(connection: Connection, run_id: UUID, lease: int, entries: Sequence[Entry]) -> list[Event]:
    """Append events, at most MAX_ENTRIES, and return them in order; raises RunRefused."""
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ValueError(f"1 to {MAX_ENTRIES} entries are appended at once")
    return _write(connection, _LOG, run_id, lease, entries, {})


def progress(connection: Connection, run_id: UUID, lease: int, reached: Progress) -> Event:
    """Remember how far the run is and note it in its history; raises RunRefused."""
    document = reached.document()
    entry = Entry(type="progress", data=document)
    values = {"progress": json.dumps(document)}
    return _write(connection, _PROGRESS, run_id, lease, [entry], values)[0]


def usage(
    connection: Connection, run_id: UUID, lease: int, used: Mapping[str, Any], *, budget_microusd: int
) -> Event:
    """Note a call of a model and add up what it cost; a budget of 0 is none.

    The call that reaches the budget is noted, for it was made; the next one raises BudgetSpent. Raises
    RunRefused.
    """
    entry = Entry(type="usage", data=dict(used))
    values = {"cost": used["cost_microusd"], "budget": budget_microusd}
    events = _append_to(connection, _USAGE, run_id, lease, [entry], values)
    if not events:
        fence.check(find(connection, run_id), run_id, lease)
        raise BudgetSpent(budget_microusd)
    return events[0]


def read(connection: Connection, run_id: UUID, first: int, last: int) -> list[Event]:
    """Read a stretch of a run's history."""
    rows = connection.execute(_READ, {"id": run_id, "first": first, "last": last})
    return [event_of(row) for row in rows.mappings()]


def _write(
    connection: Connection,
    statement: TextClause,
    run_id: UUID,
    lease: int,
    entries: Sequence[Entry],
    values: dict[str, Any],
) -> list[Event]:
    events = _append_to(connection, statement, run_id, lease, entries, values)
    if not events:
        raise fence.refusal(connection, run_id, lease)
    return events


def _append_to(
    connection: Connection,
    statement: TextClause,
    run_id: UUID,
    lease: int,
    entries: Sequence[Entry],
    values: dict[str, Any],
) -> list[Event]:
    documents = json.dumps([vars(entry) for entry in entries])
    own = {"id": run_id, "lease": lease, "count": len(entries), "entries": documents}
    rows = fetch(connection, statement, {**values, **own})
    return sorted(map(event_of, rows), key=lambda event: event.seq)
