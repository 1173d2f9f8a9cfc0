"""What a run says while it works: log lines and progress, in the order of its own sequence.

Each append is one statement: it proves the lease, counts as a heartbeat, takes its numbers from
`run.event_seq` under the row's lock, and writes the events. Nothing is appended to a final run.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from jobs.engine import fence
from jobs.engine.fence import GUARD
from jobs.engine.tables import EVENT_COLUMNS, Event, event_of

MAX_ENTRIES = 500
OWN_TYPES = frozenset({"status", "cancel"})  # the engine's own words in a history


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
        return {name: value for name, value in asdict(self).items() if value is not None}


def _append(changes: str = "") -> TextClause:
    return text(f"""
        WITH live AS (
            UPDATE run SET heartbeat_at = now(), event_seq = run.event_seq + :count{changes}
            WHERE {GUARD}
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
    documents = json.dumps([asdict(entry) for entry in entries])
    own = {"id": run_id, "lease": lease, "count": len(entries), "entries": documents}
    rows = connection.execute(statement, {**values, **own}).mappings().all()
    if not rows:
        raise fence.refusal(connection, run_id, lease)
    return sorted((event_of(row) for row in rows), key=lambda event: event.seq)
