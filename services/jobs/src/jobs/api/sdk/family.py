"""A run makes other runs: children, which it may wait for, and continuations (executor-api.md §2)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validates_schema
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.problems import not_found
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only, run_once
from jobs.api.sdk.documents import RunSchema, run_document
from jobs.api.sdk.fields import Body, Flag, JsonObject, Number, Whole, within
from jobs.api.sdk.secrets import secrets_of
from jobs.assessments import jobs, spawning
from jobs.assessments.rules import Refused
from jobs.engine import family, leases
from jobs.engine.family import Child
from jobs.engine.redaction import redact
from jobs.engine.tables import Run
from jobs.services import services

USUAL_AWAIT_SECONDS = 24 * 3600
LONGEST_AWAIT_SECONDS = 30 * 24 * 3600
ASKED_TO_STOP = (409, "somebody asked this run to stop", "cancel-requested")

blp = Blueprint(
    "family",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=(*FENCE, ASKED_TO_STOP),
)
blp.before_request(own_run_only)


class SpawnSchema(Body):
    """A child: a bundle over this run's files (`job_slug` and `project_id`), or a run of an existing job."""

    job_slug = fields.Str(
        allow_none=True,
        metadata={"description": "a bundle's key, `assessments/` may be left out", "example": "PSAT_SAT"},
    )
    project_id = fields.Str(allow_none=True, metadata={"description": "this run's own partner"})
    job_id = fields.UUID(allow_none=True, metadata={"description": "an existing job", "example": None})
    payload = JsonObject(
        allow_none=True,
        metadata={"description": "its executor gets it as `input`; `params` override this job's"},
    )
    priority = Whole(allow_none=True, validate=within(0, 10))
    await_completion = Flag(allow_none=True)
    await_timeout_secs = Number(
        allow_none=True, validate=within(1, LONGEST_AWAIT_SECONDS), metadata={"example": 3600}
    )

    @validates_schema
    def _names_one_job(self, body: Mapping[str, Any], **_: Any) -> None:
        if (body.get("job_slug") is None) == (body.get("job_id") is None):
            raise ValidationError("Give either job_slug or job_id.", "job_slug")
        if body.get("job_slug") is not None and body.get("project_id") is None:
            raise ValidationError("Missing data for required field.", "project_id")


class ContinueSchema(Body):
    """What the continuation gets as `input`; this run's own when it is left out."""

    payload = JsonObject(allow_none=True)


@blp.route("/spawn", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "Missing required params: TEST_TYPE", "missing-required-params")
@blp.refuses(400, "Some expected files were not found. Expected files: results.csv", "files-not-found")
@blp.refuses(400, "a run has at most 20 generations above it", "limit-exceeded")
@blp.refuses(403, "Invalid partner code: acme", "invalid-partner")
@blp.refuses(404, "Bundle not found or not enabled for partner: assessments/NONE", "bundle-not-found")
@blp.refuses(404, "Job not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "job-not-found")
@blp.arguments(SpawnSchema)
@blp.response(201, RunSchema)
def spawn(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Make a child run.

    With `await_completion` this run waits, in the same transaction, until the child ends, however it ends:
    then it comes back in line, and `event` of its next claim is `{"child": {"id", "status", "result",
    "error"}}`. A run that its caller carries out goes on under its lease, and its heartbeats bring the
    `event`. A run that waits for more than `await_timeout_secs` (a day if left out) ends as `timed_out`.
    """
    caller = caller_of(run_id)
    inputs = _inputs_of(caller, body["job_id"]) if body.get("job_id") else None
    with transaction(services().engine) as connection:
        run = run_once(connection, lambda: _spawn(connection, caller, body, inputs))
    services().nudge.run(caller.run)
    services().nudge.line()
    return run_document(run)


def _inputs_of(caller: Caller, job_id: UUID) -> dict[str, Any]:
    with transaction(services().engine) as connection:
        parent = leases.held(connection, caller.run, caller.lease)
        job = jobs.get_visible(connection, job_id, {parent.partner})
    return jobs.inputs_of(job, jobs.look_up_files(services().store, job))


def _spawn(
    connection: Connection, caller: Caller, body: Mapping[str, Any], inputs: dict[str, Any] | None
) -> Run:
    parent = family.hold(connection, caller.run, caller.lease)
    payload = _clean(connection, caller, body.get("payload") or {})
    child = Child(
        job_id=body.get("job_id") or _new_job(connection, parent, body, payload),
        inputs=parent.inputs if inputs is None else inputs,
        payload=payload,
        priority=body.get("priority"),
        await_seconds=_await_seconds(body),
    )
    return family.spawn(connection, parent, child)


def _new_job(connection: Connection, parent: Run, body: Mapping[str, Any], payload: dict[str, Any]) -> UUID:
    try:
        job = spawning.child_job(connection, parent, body["project_id"], body["job_slug"], payload)
    except Refused as refused:
        if refused.rule == "bundle-not-found":
            raise not_found(str(refused), refused.rule) from None
        raise
    return job.uid


def _await_seconds(body: Mapping[str, Any]) -> float | None:
    return (body.get("await_timeout_secs") or USUAL_AWAIT_SECONDS) if body.get("await_completion") else None


@blp.route("/continue", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "a run is continued at most 10 times", "limit-exceeded")
@blp.arguments(ContinueSchema, required=False)
@blp.response(201, RunSchema)
def continue_run(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Put another run of the same job in line, to go on where this one leaves off.

    It has `continuation_of` and the same inputs. This run goes on until it ends itself, and may be continued
    more than once.
    """
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        run = run_once(connection, lambda: _continue(connection, caller, body.get("payload")))
    services().nudge.line()
    return run_document(run)


def _continue(connection: Connection, caller: Caller, payload: dict[str, Any] | None) -> Run:
    clean = None if payload is None else _clean(connection, caller, payload)
    return family.continue_(connection, caller.run, caller.lease, clean)


def _clean(connection: Connection, caller: Caller, payload: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = redact(payload, secrets_of(connection, caller.run, caller.lease))
    return cleaned
