"""List jobs by keyset: newest first, filtered in SQL."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from common import ids, pages
from common.problems import bad_request
from jobs.assessments.jobs import JOB, job_of
from jobs.assessments.status import CREATED, PUBLISHING, stored_words
from jobs.assessments.tables import Job

# The run that speaks for a job is the live one, else the newest: the same rule as status.current_run.
_NEWEST = text(f"""
    {JOB}
    LEFT JOIN LATERAL (
        SELECT CASE WHEN r.status = 'completed' AND r.output_sets IS NULL THEN '{PUBLISHING}'
                    ELSE r.status END AS status
        FROM run r WHERE r.job_id = j.uid
        ORDER BY r.finished_at IS NULL DESC, r.id DESC LIMIT 1
    ) latest ON true
    WHERE j.partner = :partner
      AND (CAST(:tenant AS text) IS NULL OR a.tenant = :tenant)
      AND (CAST(:school_year AS text) IS NULL OR a.school_year = :school_year)
      AND (CAST(:bundle AS text) IS NULL OR j.spec -> 'labels' ->> 'bundle' = :bundle)
      AND (CAST(:words AS text[]) IS NULL OR coalesce(latest.status, '{CREATED}') = ANY(:words))
      AND (CAST(:created_after AS timestamptz) IS NULL OR j.created_at > :created_after)
      AND (CAST(:after_at AS timestamptz) IS NULL
           OR (j.created_at, j.uid) < (CAST(:after_at AS timestamptz), CAST(:after_uid AS uuid)))
    ORDER BY j.created_at DESC, j.uid DESC
    LIMIT :limit
""")  # noqa: S608 (our own constants)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which jobs; none means any."""

    partner: str
    tenant: str | None
    school_year: str | None
    bundle: str | None
    status: str | None
    created_after: datetime | None


@dataclass(frozen=True, kw_only=True)
class Position:
    """The job after which a page begins."""

    created_at: str
    uid: str


def newest(connection: Connection, filters: Filters, after: Position | None, limit: int) -> list[Job]:
    """Read up to `limit` jobs that come after a position."""
    values = {
        "partner": filters.partner,
        "tenant": filters.tenant,
        "school_year": filters.school_year,
        "bundle": filters.bundle,
        "words": stored_words(filters.status) if filters.status else None,
        "created_after": filters.created_after,
        "after_at": after.created_at if after else None,
        "after_uid": after.uid if after else None,
        "limit": limit,
    }
    return [job_of(row) for row in connection.execute(_NEWEST, values).mappings()]


def cursor(job: Job) -> str:
    """Write the position of a job."""
    return pages.encode([job.created_at.isoformat(), str(job.uid)])


def position(written: str) -> Position | None:
    """Read a cursor; an empty one is the beginning, one that we did not write is a 400."""
    if not written:
        return None
    at, uid = pages.decode(written, 2)
    if not _is_instant(at) or not isinstance(uid, str) or ids.parse_uuid(uid) is None:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return Position(created_at=at, uid=uid)


def _is_instant(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
