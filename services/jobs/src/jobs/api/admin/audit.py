"""Read who managed what."""

from flask.typing import ResponseReturnValue

from common import pages
from common.api import Blueprint
from common.clock import rfc3339
from common.database import transaction
from common.problems import bad_request
from jobs.api.admin import schemas
from jobs.api.admin.acting import REFUSALS
from jobs.api.external import queries
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import query
from jobs.catalog import audit
from jobs.services import services

blp = Blueprint(
    "admin-audit",
    __name__,
    url_prefix="/api/v1/admin/audit",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)
_END = 2**63 - 1


@blp.route("", methods=["GET"])
@blp.admits(roles=("Administrator",))
@blp.conditional
@blp.doc(
    parameters=[
        query("limit", "1 to 1000, 100 if not given"),
        query("cursor", "`next` of the page before"),
    ]
)
@blp.response(200, schemas.AuditPage)
def list_acts() -> ResponseReturnValue:
    """List management acts, newest first."""
    limit, before = pages.limit(queries.one("limit") or None), _before()
    with transaction(services().engine) as connection:
        found = audit.newest(connection, before, limit + 1)
    following = pages.encode([found[limit - 1].id]) if len(found) > limit else None
    return answer({"items": [_shown(act) for act in found[:limit]], "next": following})


def _shown(act: audit.Act) -> dict[str, object]:
    return {
        "id": act.id,
        "at": rfc3339(act.at),
        "actor": act.actor,
        "action": act.action,
        "subject": act.subject,
        "data": dict(act.data),
    }


def _before() -> int:
    cursor = queries.one("cursor")
    [number] = pages.decode(cursor, 1) if cursor else [_END]
    if type(number) is not int or not 0 <= number <= _END:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return number
