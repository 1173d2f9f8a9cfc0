"""What outputs is told: how a run ended, and which school years there are; and what it answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common.clock import rfc3339
from common.database import fetch
from jobs.deliveries import outbox, webhooks
from jobs.deliveries.tables import Delivery

OUTCOME = "outcome"
SCHOOL_YEARS = "school-years"
KINDS = (OUTCOME, SCHOOL_YEARS)

_ENDED = text("""
    SELECT run.id, run.lease, run.status, run.finished_at, run.named_sets, run.partner,
           run.job_id, job.spec -> 'labels' AS labels
    FROM run JOIN job ON job.uid = run.job_id
    WHERE run.id = ANY(CAST(:runs AS uuid[]))
""")
_YEARS = text("SELECT code FROM school_year ORDER BY code")
_STORE = text(f"""
    WITH answer AS (
        SELECT * FROM jsonb_to_recordset(CAST(:answers AS jsonb))
            AS given (run uuid, lease integer, sets jsonb)
    ), stored AS (
        UPDATE run SET output_sets = answer.sets, event_seq = run.event_seq + 1
        FROM answer
        WHERE run.id = answer.run AND run.lease = answer.lease AND run.output_sets IS NULL
        RETURNING run.id, run.partner, run.event_seq, run.output_sets
    ), noted AS (
        INSERT INTO run_event (run_id, seq, type, data)
        SELECT id, event_seq, 'published', jsonb_build_object('output_sets', output_sets) FROM stored
    ), called AS (
        {webhooks.RECORD_PUBLISHED}
    ), closed AS (
        {outbox.CLOSE}
    )
    SELECT id, EXISTS (SELECT FROM called) AS has_called FROM stored
""")  # noqa: S608 (our own constants)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The runs whose answers were kept, and whether webhooks are to be called because of them."""

    runs: list[UUID]
    has_called: bool


def messages(connection: Connection, deliveries: Sequence[Delivery]) -> dict[int, tuple[str, dict[str, Any]]]:
    """Write the target and body of each delivery, by its id. One whose run is gone has no message."""
    outcomes = [delivery for delivery in deliveries if delivery.kind == OUTCOME]
    years = [delivery for delivery in deliveries if delivery.kind == SCHOOL_YEARS]
    return _outcomes(connection, outcomes) | _school_years(connection, years)


def _outcomes(
    connection: Connection, deliveries: Sequence[Delivery]
) -> dict[int, tuple[str, dict[str, Any]]]:
    if not deliveries:
        return {}
    runs = [UUID(delivery.reference["run"]) for delivery in deliveries]
    ended = {str(row["id"]): row for row in fetch(connection, _ENDED, {"runs": runs})}
    return {
        delivery.id: (f"/internal/runs/{delivery.reference['run']}/outcome", _outcome(row))
        for delivery in deliveries
        if (row := ended.get(delivery.reference["run"])) is not None
    }


def _outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    labels = row["labels"] or {}
    job = {"uid": str(row["job_id"]), "partner": row["partner"]}
    job |= {name: labels.get(name) for name in ("tenant", "schoolYear", "bundle")}
    return {
        "lease": row["lease"],
        "status": row["status"],
        "job": job,
        "finished_at": rfc3339(row["finished_at"]),
        "sets": row["named_sets"],
    }


def _school_years(
    connection: Connection, deliveries: Sequence[Delivery]
) -> dict[int, tuple[str, dict[str, Any]]]:
    if not deliveries:
        return {}
    body = {"years": list(connection.execute(_YEARS).scalars())}
    return {delivery.id: ("/internal/school-years", body) for delivery in deliveries}


def store(connection: Connection, answers: Sequence[tuple[Delivery, Mapping[str, Any]]]) -> Stored:
    """Keep with each run what outputs published of it, note it in its history, and close the deliveries."""
    outcomes = [
        {**delivery.reference, "sets": answer.get("sets") or []}
        for delivery, answer in answers
        if delivery.kind == OUTCOME
    ]
    values = {"answers": json.dumps(outcomes), "ids": [delivery.id for delivery, _ in answers], "status": 200}
    rows = fetch(connection, _STORE, values)
    return Stored(runs=[row["id"] for row in rows], has_called=any(row["has_called"] for row in rows))
