"""List jobs, newest first."""

from flask.typing import ResponseReturnValue

from common import pages
from common.api import Blueprint
from common.database import transaction
from common.problems import bad_request
from jobs.api.external import documents, queries, schemas
from jobs.api.external.conditional import answer
from jobs.assessments import listing
from jobs.assessments.listing import Filters
from jobs.assessments.status import WORDS, job_status
from jobs.engine import line
from jobs.services import services

blp = Blueprint("listing", __name__, url_prefix="/api/v1/jobs", faulty_status=400, tag="Jobs")


@blp.route("", methods=["GET"])
@blp.admits(scopes=("read:jobs",))
@blp.doc(
    parameters=[
        schemas.query("partner", "whose jobs", required=True),
        schemas.query("tenant", "exact"),
        schemas.query("schoolYear", "exact"),
        schemas.query("bundle", "exact"),
        schemas.query("status", ", ".join(WORDS)),
        schemas.query("createdAfter", "ISO 8601; strictly after"),
        schemas.query("limit", "1 to 1000, 100 if not given"),
        schemas.query("cursor", "`next` of the page before"),
    ]
)
@blp.conditional
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, schemas.JobPage)
def list_jobs() -> ResponseReturnValue:
    """List the jobs of a partner, newest first.

    `next` is the cursor of the following page, null at the end.
    """
    asked, limit = _filters(), pages.limit(queries.one("limit") or None)
    after = listing.position(queries.one("cursor"))
    with transaction(services().engine) as connection:
        found = listing.newest(connection, asked, after, limit + 1)
        runs = line.runs_of(connection, [job.uid for job in found])
    items = [documents.job_summary(job, job_status(runs[job.uid])) for job in found[:limit]]
    more = len(found) > limit
    return answer({"items": items, "next": listing.cursor(found[limit - 1]) if more else None})


def _filters() -> Filters:
    status = queries.one("status")
    if status and status not in WORDS:
        message = f"status must be one of {', '.join(WORDS)}"
        raise bad_request(message, "invalid-query", details={"status": [message]})
    return Filters(
        partner=queries.partner(),
        tenant=queries.one("tenant") or None,
        school_year=queries.one("schoolYear") or None,
        bundle=queries.one("bundle") or None,
        status=status or None,
        created_after=queries.instant("createdAfter"),
    )
