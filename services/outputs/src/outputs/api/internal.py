"""What our own services tell us: how runs ended, which school years there are."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from common import database, idempotency, ids
from common.api import Blueprint
from common.database import statement, transaction
from common.problems import bad_request
from outputs import publication, tables
from outputs.publication import Labels, Outcome, Recorded
from outputs.schemas import AnsweredSchema, OutcomeSchema, SchoolYearsSchema
from outputs.services import services

OUTCOMES_TO_A_SWEEP = 100
FORGOTTEN_AT_ONCE = 10_000

blp = Blueprint("internal", __name__, url_prefix="/internal", faulty_status=400)


@blp.route("/runs/<run>/outcome", methods=["PUT"])
@blp.admits(kinds=("service",))
@blp.arguments(OutcomeSchema)
@blp.response(200, AnsweredSchema)
def put_outcome(body: dict[str, Any], run: str) -> Mapping[str, Any]:
    """Record how a run ended: publish the sets of the lease that ended it, delete all others.

    Repeated until answered. The objects of deleted sets go before the answer, so that a repeat takes up what
    a crash or a storage outage left; what is published is published by then.
    """
    outcome = _outcome(run, body)
    recorded = _record(outcome)
    if outcome.run_id.int % OUTCOMES_TO_A_SWEEP == 0:  # outputs has no process that does it by the clock
        with transaction(services().engine) as connection:
            idempotency.forget_old(connection, most=FORGOTTEN_AT_ONCE)
    if recorded.leftovers:
        publication.remove(services().store, recorded.leftovers)
        with transaction(services().engine) as connection:
            publication.note_removed(connection, outcome.run_id)
    return recorded.answered


def _record(outcome: Outcome) -> Recorded:
    with statement(services().engine) as connection:
        recorded = publication.record_without_sets(connection, outcome)
    if recorded is not None:
        return recorded
    with transaction(services().engine) as connection:
        return publication.record(connection, outcome)


def _outcome(run: str, body: Mapping[str, Any]) -> Outcome:
    run_id = ids.parse_uuid(run)
    if run_id is None:
        raise bad_request("Validation failed (uuid is expected)", "invalid-uuid")
    job, named = body["job"], body["sets"]
    return Outcome(
        run_id=run_id,
        lease=body["lease"],
        status=body["status"],
        finished_at=body["finished_at"],
        labels=Labels(
            job_uid=UUID(str(job["uid"])),
            partner=job["partner"],
            tenant=job["tenant"],
            school_year=job["schoolYear"],
            bundle=job["bundle"],
        ),
        named=None if named is None else _uids(named),
    )


def _uids(named: Sequence[str]) -> frozenset[UUID]:
    # An executor may name anything; what is no uid names no set, and must not hold the outcome up.
    return frozenset(uid for name in named if (uid := ids.parse_uuid(name)))


@blp.route("/school-years", methods=["PUT"])
@blp.admits(kinds=("service",))
@blp.arguments(SchoolYearsSchema)
@blp.response(200, SchoolYearsSchema)
def put_school_years(body: dict[str, Any]) -> Mapping[str, Any]:
    """Replace the set of known school years."""
    years = sorted(set(body["years"]))
    with transaction(services().engine) as connection:
        database.lock(connection, "school-years")
        tables.replace_years(connection, years)
    return {"years": years}
