"""How a run's outcome makes its sets visible, in an order that pollers can rely on (design.md §5.9).

A partner's clock row is locked from the moment an instant is taken from it until the commit: sets become
visible in the order of their instants, so whoever has seen one has seen all before it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common.clock import rfc3339
from common.database import fetch
from common.objects import ObjectStore
from outputs.sets import REPORT, lock_run, run_lock
from outputs.tables import OutputSet, sets_of_run

COMPLETED = "completed"
STATUSES = (
    COMPLETED,
    "failed",
    "timed_out",
    "crashed",
    "dead_letter",
    "system_failed",
    "canceled",
    "expired",
)

# Finds no row when the run has sets.
_FIND_OR_RECORD = text("""
    WITH found AS (
        SELECT lease, answered, leftovers FROM outcome WHERE run_id = :run_id
    ), recorded AS (
        INSERT INTO outcome (run_id, lease, status, finished_at, answered, leftovers)
        SELECT :run_id, :lease, :status, :finished_at, '{"sets": []}', '{}'
        WHERE NOT EXISTS (SELECT FROM found) AND NOT EXISTS (SELECT FROM output_set WHERE run_id = :run_id)
        RETURNING lease, answered, leftovers
    )
    SELECT * FROM found UNION ALL SELECT * FROM recorded
""")
_RECORD = text("""
    INSERT INTO outcome (run_id, lease, status, finished_at, answered, leftovers)
    VALUES (:run_id, :lease, :status, :finished_at, CAST(:answered AS jsonb), CAST(:leftovers AS text[]))
""")
_NOTE_REMOVED = text("UPDATE outcome SET leftovers = '{}' WHERE run_id = :run_id")
# The answer is the last of :count consecutive milliseconds, all later than any this partner ever had.
_TAKE_INSTANTS = text("""
    INSERT INTO publication_clock (partner, last_at)
    VALUES (:partner, date_trunc('milliseconds', now()) + (:count - 1) * interval '1 millisecond')
    ON CONFLICT (partner) DO UPDATE
    SET last_at = greatest(
        excluded.last_at, publication_clock.last_at + :count * interval '1 millisecond'
    )
    RETURNING last_at
""")
_PUBLISH = text("""
    UPDATE output_set
    SET published_at = CAST(:last_at AS timestamptz) - (:count - chosen.place) * interval '1 millisecond',
        job_uid = :job_uid, partner = :partner, tenant = :tenant, school_year = :school_year, bundle = :bundle
    FROM unnest(CAST(:uids AS uuid[])) WITH ORDINALITY AS chosen (uid, place)
    WHERE output_set.uid = chosen.uid
    RETURNING output_set.uid, output_set.published_at
""")
_DELETE = text("DELETE FROM output_set WHERE uid = ANY (CAST(:uids AS uuid[]))")
_CLOCK = text("SELECT last_at FROM publication_clock WHERE partner = :partner")


class OutcomeDiffers(Exception):
    """Another lease has ended the run already: final is final."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a published set says of the job it came from."""

    job_uid: UUID
    partner: str
    tenant: str
    school_year: str
    bundle: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. `named` are the sets its executor named when it completed; None names all of them."""

    run_id: UUID
    lease: int
    status: str
    finished_at: datetime | None
    labels: Labels
    named: frozenset[UUID] | None

    def publishes(self, made: OutputSet) -> bool:
        """Tell whether a set goes out: sealed, of this lease, and named; of a failed run only reports."""
        if made.sealed_at is None or made.lease != self.lease:
            return False
        if self.status != COMPLETED:
            return made.kind == REPORT
        return self.named is None or made.uid in self.named


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The answer to an outcome, and the prefixes of objects that nobody will ask for again."""

    answered: dict[str, Any]
    leftovers: tuple[str, ...]


def record_without_sets(connection: Connection, outcome: Outcome) -> Recorded | None:
    """Record the outcome of a run that has no sets, in one round trip; None when it has some.

    A repeat finds the first answer. Raises OutcomeDiffers when another lease has ended the run.
    """
    return _find_or_record(connection, outcome, locked=run_lock(outcome.run_id))


def record(connection: Connection, outcome: Outcome) -> Recorded:
    """Publish what the outcome publishes and delete every other set of the run.

    A repeat finds the first answer. Raises OutcomeDiffers when another lease has ended the run.
    """
    lock_run(connection, outcome.run_id)
    return _find_or_record(connection, outcome) or _record_with_sets(connection, outcome)


def _find_or_record(
    connection: Connection, outcome: Outcome, locked: Sequence[object] = ()
) -> Recorded | None:
    found = fetch(connection, _FIND_OR_RECORD, _ended(outcome), locked=locked)
    if not found:
        return None
    [row] = found
    if row["lease"] != outcome.lease:
        raise OutcomeDiffers(f"lease {row['lease']} ended the run")
    return Recorded(answered=row["answered"], leftovers=tuple(row["leftovers"]))


def _record_with_sets(connection: Connection, outcome: Outcome) -> Recorded:
    made = sets_of_run(connection, outcome.run_id)
    chosen = [each for each in made if outcome.publishes(each)]
    lost = [each for each in made if not outcome.publishes(each)]
    if lost:
        connection.execute(_DELETE, {"uids": [each.uid for each in lost]})
    published = _publish(connection, outcome.labels, chosen)
    recorded = Recorded(
        answered={"sets": [_answer(each, published[each.uid]) for each in chosen]},
        leftovers=tuple(each.prefix for each in lost),
    )
    kept = {"answered": json.dumps(recorded.answered), "leftovers": list(recorded.leftovers)}
    connection.execute(_RECORD, {**_ended(outcome), **kept})
    return recorded


def _ended(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in ("run_id", "lease", "status", "finished_at")}


def _publish(
    connection: Connection, labels: Labels, chosen: Sequence[OutputSet]
) -> dict[UUID, datetime]:  # fmt: skip
    if not chosen:
        return {}
    count = len(chosen)
    last_at = take_instants(connection, labels.partner, count)
    values = {
        "last_at": last_at,
        "count": count,
        "uids": [each.uid for each in chosen],
        "job_uid": labels.job_uid,
        "partner": labels.partner,
        "tenant": labels.tenant,
        "school_year": labels.school_year,
        "bundle": labels.bundle,
    }
    return {row.uid: row.published_at for row in connection.execute(_PUBLISH, values)}


def take_instants(connection: Connection, partner: str, count: int) -> datetime:
    """Move the partner's clock by `count` milliseconds or to now, and hold it until the commit.

    Returns the last of the instants taken. Waits for whoever holds the clock.
    """
    taken: datetime = connection.execute(_TAKE_INSTANTS, {"partner": partner, "count": count}).scalar_one()
    return taken


def read_clock(connection: Connection, partner: str) -> datetime | None:
    """The instant of the partner's last publication: every set up to it is visible. None before the first."""
    read: datetime | None = connection.execute(_CLOCK, {"partner": partner}).scalar_one_or_none()
    return read


def _answer(made: OutputSet, published_at: datetime) -> dict[str, str]:
    return {
        "uid": str(made.uid),
        "kind": made.kind,
        "name": made.name,
        "published_at": rfc3339(published_at),
    }


def remove(store: ObjectStore, leftovers: Sequence[str]) -> None:
    """Remove the objects of deleted sets. Call it after the commit; repeating is harmless."""
    for prefix in leftovers:
        store.remove_under(prefix)


def note_removed(connection: Connection, run_id: UUID) -> None:
    """Note that nothing of the run is left to remove."""
    connection.execute(_NOTE_REMOVED, {"run_id": run_id})
