"""Who calls the External API, and what in its paths must be a job."""

from uuid import UUID

from common import ids
from common.api import current_principal
from common.problems import bad_request
from jobs.assessments.tables import Creator


def creator() -> Creator:
    """The client at hand, as it is noted with what it makes."""
    caller = current_principal()
    # An API key is a client of its own; a token names its client in a claim.
    client_id = caller.client_id or (caller.subject if caller.kind == "api-key" else "")
    return Creator(
        kind=caller.kind, issuer=caller.issuer, client_id=client_id, client_name=caller.client_name
    )


def job_uid(text: str) -> UUID:
    """Read the job's uid from the path; anything else is a 400."""
    uid = ids.parse_uuid(text)
    if uid is None:
        raise bad_request("Validation failed (uuid is expected)", "invalid-uuid")
    return uid
