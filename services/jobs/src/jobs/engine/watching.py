"""Read runs and what they said, for those who watch them. Nothing is written here.

Pages are bounded in rows and in bytes, since one event may be as large as a body: a page that is cut says so
by its `next`, whichever bound cut it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from jobs.engine.journal import LEVELS
from jobs.engine.outputs import OUTPUT_COLUMNS, Output, output_of
from jobs.engine.states import Status
from jobs.engine.tables import EVENT_COLUMNS, RUN_COLUMNS, Event, Run, event_of, run_of, runs_of_rows

PAGE_BYTES = 4 * 1024 * 1024
T = TypeVar("T")

# A page of runs carries neither what they were given nor what they made: each may be as large as a body.
_SUMMARY = RUN_COLUMNS.replace("run.payload", "'{}'::jsonb AS payload").replace(
    "run.result", "NULL::jsonb AS result"
)
_NEWEST = text(f"""
    SELECT {_SUMMARY} FROM run
    WHERE partner = :partner
      AND (CAST(:status AS text) IS NULL OR status = :status)
      AND (CAST(:job AS uuid) IS NULL OR job_id = CAST(:job AS uuid))
      AND (CAST(:parent AS uuid) IS NULL OR parent_run_id = CAST(:parent AS uuid))
      AND (CAST(:tag AS text) IS NULL OR (tags <> '[]' AND tags @> jsonb_build_array(CAST(:tag AS text))))
      AND (CAST(:created_after AS timestamptz) IS NULL OR created_at > :created_after)
      AND (CAST(:created_before AS timestamptz) IS NULL OR created_at < :created_before)
      AND (CAST(:after_at AS timestamptz) IS NULL
           OR (created_at, id) < (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY created_at DESC, id DESC
    LIMIT :limit
""")  # noqa: S608 (constants, here and below)
_BY_ID = text(f"SELECT {RUN_COLUMNS} FROM run WHERE id = :reference AND partner = ANY(:partners)")  # noqa: S608
_BY_NUMBER = text(f"SELECT {RUN_COLUMNS} FROM run WHERE number = :reference AND partner = ANY(:partners)")  # noqa: S608


def _page(chosen: str, order: str, weight: str) -> TextClause:
    """Cut what `chosen` selects where it weighs too much; its first row is always given."""
    return text(f"""
        WITH chosen AS ({chosen}), weighed AS (
            SELECT *, count(*) OVER () AS found,
                   sum({weight}) OVER (ORDER BY {order}) - {weight} AS bytes_before
            FROM chosen
        )
        SELECT * FROM weighed WHERE bytes_before < :page_bytes ORDER BY {order}
    """)  # noqa: S608


_EVENTS = _page(
    f"""
        SELECT {EVENT_COLUMNS} FROM run_event
        WHERE run_id = :id AND seq > :after
          AND (CAST(:type AS text) IS NULL OR type = :type)
          AND type <> ALL(CAST(:others AS text[]))
          AND (CAST(:levels AS text[]) IS NULL OR level = ANY(CAST(:levels AS text[])))
        ORDER BY seq LIMIT :limit
    """,  # noqa: S608
    "seq",
    "octet_length(CAST(data AS text))",
)
_OUTPUTS = _page(
    f"""
        SELECT {OUTPUT_COLUMNS} FROM run_output WHERE run_id = :id AND key > :after
        ORDER BY key LIMIT :limit
    """,  # noqa: S608
    "key",
    "octet_length(concat(value, schema))",
)
_TOTALS = text("""
    SELECT count(*) AS calls,
           CAST(coalesce(sum(used.prompt_tokens), 0) AS bigint) AS prompt_tokens,
           CAST(coalesce(sum(used.completion_tokens), 0) AS bigint) AS completion_tokens,
           CAST(coalesce(sum(used.total_tokens), 0) AS bigint) AS total_tokens,
           CAST(coalesce(sum(used.cost_microusd), 0) AS bigint) AS cost_microusd
    FROM run_event, jsonb_to_record(data) AS used
         (prompt_tokens bigint, completion_tokens bigint, total_tokens bigint, cost_microusd bigint)
    WHERE run_id = :id AND type = 'usage'
""")


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which runs of a partner; none means any."""

    partner: str
    status: Status | None = None
    job: UUID | None = None
    parent: UUID | None = None
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Position:
    """The run after which a page begins."""

    created_at: str
    id: str


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list; `more` tells whether there is more of it by now."""

    items: list[T]
    more: bool


@dataclass(frozen=True, kw_only=True)
class Events:
    """Which events: those of `type`, none of `others`, at `level` and above; none means any."""

    type: str | None = None
    others: Iterable[str] = ()
    level: str | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the models that a run called took in all."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_microusd: int


def newest(connection: Connection, filters: Filters, after: Position | None, limit: int) -> Page[Run]:
    """Read up to `limit` runs that come after a position, newest first, without payload and result."""
    values = {
        **{name: getattr(filters, name) for name in Filters.__dataclass_fields__},
        "after_at": after.created_at if after else None,
        "after_id": after.id if after else None,
        "limit": limit + 1,
    }
    found = runs_of_rows(connection.execute(_NEWEST, values).mappings().all())
    return Page(items=found[:limit], more=len(found) > limit)


def find(connection: Connection, reference: UUID | int, partners: Iterable[str]) -> Run | None:
    """Read a run of these partners by its id or number."""
    statement = _BY_NUMBER if isinstance(reference, int) else _BY_ID
    values = {"reference": reference, "partners": sorted(partners)}
    row = connection.execute(statement, values).mappings().one_or_none()
    return run_of(row) if row else None


def events(connection: Connection, run_id: UUID, wanted: Events, after: int, limit: int) -> Page[Event]:
    """Read a run's events whose place is after `after`, in order."""
    values = {
        "id": run_id,
        "after": after,
        "type": wanted.type,
        "others": sorted(wanted.others),
        "levels": _from(wanted.level) if wanted.level else None,
    }
    return _read(connection, _EVENTS, values, limit, event_of)


def outputs(connection: Connection, run_id: UUID, after: str, limit: int) -> Page[Output]:
    """Read a run's outputs whose key is after `after`, ordered by key."""
    return _read(connection, _OUTPUTS, {"id": run_id, "after": after}, limit, output_of)


def totals(connection: Connection, run_id: UUID) -> Totals:
    """Add up what the models that a run called took."""
    return Totals(**connection.execute(_TOTALS, {"id": run_id}).mappings().one())


def _from(level: str) -> list[str]:
    return [name for name, rank in LEVELS.items() if rank >= LEVELS[level]]


def _read(
    connection: Connection,
    statement: TextClause,
    values: Mapping[str, Any],
    limit: int,
    item_of: Callable[[Any], T],
) -> Page[T]:
    own = {"limit": limit + 1, "page_bytes": PAGE_BYTES}
    rows = connection.execute(statement, {**values, **own}).mappings().all()
    items = [item_of(row) for row in rows[:limit]]
    return Page(items=items, more=bool(rows) and rows[0]["found"] > len(items))
