"""What outputs is told: how a run ended, and which school years there are; and what it answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from common.clock import rfc3339
from jobs.deliveries import webhooks
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
_STORE = text("""
    UPDATE run SET output_sets = answer.sets, event_seq = run.event_seq + 1
    FROM jsonb_to_recordset(CAST(:answers AS jsonb)) AS answer (run uuid, lease integer, sets jsonb)
    WHERE run.id = answer.run AND run.lease = answer.lease AND run.output_sets IS NULL
    RETURNING run.id, run.event_seq, run.output_sets
""")
_NOTE = text("""
    INSERT INTO run_event (run_id, seq, type, data)
    SELECT note.id, note.seq, 'published', jsonb_build_object('output_sets', note.sets)
    FROM jsonb_to_recordset(CAST(:notes AS jsonb)) AS note (id uuid, seq integer, sets jsonb)
""")


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
    runs = [delivery.reference["run"] for delivery in deliveries]
    ended = {str(row["id"]): row for row in connection.execute(_ENDED, {"runs": runs}).mappings()}
    return {
        delivery.id: (f"/internal/runs/{delivery.reference['run']}/outcome", _outcome(row))
        for delivery in deliveries
        if (row := ended.get(delivery.reference["run"])) is not None
    }


def _outcome(row: RowMapping) -> dict[str, Any]:
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


def store(connection: Connection, answers: Sequence[tuple[Delivery, Mapping[str, Any]]]) -> list[UUID]:
    """Keep with each run what outputs published of it, and note it in its history; return the runs."""
    outcomes = [
        {**delivery.reference, "sets": answer.get("sets") or []}
        for delivery, answer in answers
        if delivery.kind == OUTCOME
    ]
    if not outcomes:
        return []
    stored = connection.execute(_STORE, {"answers": json.dumps(outcomes)}).all()
    notes = [{"id": str(row.id), "seq": row.event_seq, "sets": row.output_sets} for row in stored]
    connection.execute(_NOTE, {"notes": json.dumps(notes)})
    runs = [row.id for row in stored]
    webhooks.record_published(connection, runs)
    return runs
