"""Which run a client asks about, and what it may ask with."""

import re
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from flask import request
from sqlalchemy import Connection

from common import ids, pages
from common.api import current_principal
from common.problems import bad_request, not_found
from jobs.api.external import queries
from jobs.engine import watching
from jobs.engine.journal import LEVELS
from jobs.engine.states import Status
from jobs.engine.tables import Run
from jobs.engine.watching import Filters, Position

READS = {"kinds": ("client", "api-key"), "scopes": ("read:jobs",)}
NO_RUN = "Run not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"
NO_NAME = "Validation failed (uuid or number is expected)"
OF_A_RUN = ((400, NO_NAME, "invalid-uuid"), (404, NO_RUN, "run-not-found"))
_NUMBER = re.compile("[0-9]{1,18}")
_PLACE = re.compile("[0-9]{1,9}")


def visible_run(connection: Connection, text: str) -> Run:
    """Read the run that the path names by UUID or number.

    Another name is a 400, a run of a partner outside the caller's scope a 404 like one that is not there.
    """
    reference = int(text) if _NUMBER.fullmatch(text) else ids.parse_uuid(text)
    if reference is None:
        raise bad_request(NO_NAME, "invalid-uuid")
    run = watching.find(connection, reference, current_principal().partners)
    if run is None:
        raise not_found(f"Run not found: {text}", "run-not-found")
    return run


def filters() -> Filters:
    """Read which runs are asked for."""
    status = _one_of("status", list(Status))
    return Filters(
        partner=_partner(),
        status=Status(status) if status else None,
        job=_job(),
        tag=queries.one("tag") or None,
        created_after=queries.instant("created_after"),
        created_before=queries.instant("created_before"),
    )


def _partner() -> str:
    """Read the partner; a caller that has only one need not name it."""
    partners = current_principal().partners
    if "partner" not in request.args and len(partners) == 1:
        return next(iter(partners))
    return queries.partner()


def _job() -> UUID | None:
    text = queries.one("job")
    uid = ids.parse_uuid(text) if text else None
    if text and uid is None:
        raise queries.faulty("job", "job must be the uid of a job")
    return uid


def level() -> str | None:
    """Read the lowest level asked for."""
    return _one_of("level", list(LEVELS))


def _one_of(name: str, choices: Collection[str]) -> str | None:
    text = queries.one(name)
    if text and text not in choices:
        raise queries.faulty(name, f"{name} must be one of {', '.join(choices)}")
    return text or None


def limit() -> int:
    """Read the size of a page."""
    return pages.limit(queries.one("limit") or None)


def place() -> int:
    """Read the place in a run's history after which a page begins."""
    text = queries.one("after") or "0"
    if not _PLACE.fullmatch(text):
        raise queries.faulty("after", "after must be the id of an event")
    return int(text)


def cursor_of(run: Run) -> str:
    """Write the position of a run."""
    return pages.encode([run.created_at.isoformat(), str(run.id)])


def position() -> Position | None:
    """Read the run after which a page begins; a cursor that we did not write is a 400."""
    written = queries.one("cursor")
    if not written:
        return None
    at, run_id = pages.decode(written, 2)
    if not _is_instant(at) or not isinstance(run_id, str) or ids.parse_uuid(run_id) is None:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return Position(created_at=at, id=run_id)


def _is_instant(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
