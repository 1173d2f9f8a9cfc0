"""What became of runs since somebody last looked, for those who watch them.

A run's events take their numbers under its row's lock, so what one statement sees of it has no gap before
its end: a reader that remembers the last number misses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from jobs.engine.states import FINAL, Status
from jobs.engine.tables import EVENT_COLUMNS, Event, event_of

PAGE = 200  # events of one run read at once, fewer where they are large
PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a run is, and the number its history has come to."""

    run_id: UUID
    status: Status
    seq: int

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True)
class News:
    """The next events of a run, and where it stands; a long history comes in parts."""

    standing: Standing
    events: Sequence[Event]

    @property
    def seq(self) -> int:
        """The number up to which everything is told."""
        return self.events[-1].seq if self.is_part else self.standing.seq

    @property
    def is_part(self) -> bool:
        return bool(self.events) and self.events[-1].seq < self.standing.seq


_FIND = """
    SELECT id AS run, status, event_seq FROM run WHERE {column} = :name AND partner = ANY(:partners)
"""
_BY_ID, _BY_NUMBER = text(_FIND.format(column="id")), text(_FIND.format(column="number"))

_SINCE = text(f"""
    WITH watched AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS integer[])) AS watched (id, seq)
    )
    SELECT run.id AS run, run.status, run.event_seq, {EVENT_COLUMNS}
    FROM watched JOIN run ON run.id = watched.id
    LEFT JOIN LATERAL (
        SELECT * FROM (
            SELECT page.*, sum(size_bytes) OVER (ORDER BY seq) - size_bytes AS before_bytes FROM (
                SELECT *, octet_length(CAST(data AS text)) AS size_bytes FROM run_event
                WHERE run_event.run_id = watched.id AND run_event.seq > watched.seq
                ORDER BY run_event.seq LIMIT {PAGE}
            ) AS page
        ) AS measured WHERE before_bytes < {PAGE_BYTES}
    ) AS run_event ON true
    WHERE run.event_seq > watched.seq
    ORDER BY run.id, run_event.seq
""")  # noqa: S608 (constants)


def find(connection: Connection, name: UUID | int, partners: frozenset[str]) -> Standing | None:
    """Find a run of these partners by its id or number."""
    statement = _BY_ID if isinstance(name, UUID) else _BY_NUMBER
    row = connection.execute(statement, {"name": name, "partners": sorted(partners)}).mappings().first()
    return _standing(row) if row else None


def since(connection: Connection, seen: Mapping[UUID, int]) -> list[News]:
    """Read the events after those seen, up to PAGE a run; runs without any are left out."""
    values = {"ids": list(seen), "seqs": list(seen.values())}
    by_run: dict[UUID, list[RowMapping]] = {}
    for row in connection.execute(_SINCE, values).mappings():
        by_run.setdefault(row["run"], []).append(row)
    return [_news(rows) for rows in by_run.values()]


def _news(rows: Sequence[RowMapping]) -> News:
    events = [event_of(row) for row in rows if row["seq"] is not None]
    return News(standing=_standing(rows[0]), events=events)


def _standing(row: RowMapping) -> Standing:
    return Standing(run_id=row["run"], status=Status(row["status"]), seq=row["event_seq"])
