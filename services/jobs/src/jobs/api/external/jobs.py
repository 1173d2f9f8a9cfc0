"""Create a job, look at it, get fresh upload URLs."""

from typing import Any
from uuid import UUID

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common.api import Blueprint, current_principal
from common.database import transaction
from common.idempotency import once, statement_once
from common.problems import bad_request
from jobs.api.external import documents, schemas
from jobs.api.external.bodies import json_body
from jobs.api.external.callers import creator, job_uid
from jobs.api.external.conditional import answer
from jobs.assessments import jobs, rules, shape
from jobs.assessments.shape import JobRequest
from jobs.assessments.tables import Creator, Job
from jobs.engine import line
from jobs.services import services

blp = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs", faulty_status=400)
_NO_JOB = "Job not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"


@blp.route("", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.doc(
    requestBody=schemas.body_of(schemas.JobBody, required=True),
    parameters=[schemas.query("dryRun", "`true`: check everything, store nothing, answer 200")],
)
@blp.repeatable
@blp.refuses(400, "Invalid tenant. ea/nobody does not exist", "invalid-tenant")
@blp.refuses(400, "Bundle not found or not enabled for partner: assessments/NONE", "bundle-not-found")
@blp.refuses(400, "School year is not enabled: 2020", "school-year-not-enabled")
@blp.refuses(400, "No ODS found for school year: 2026", "ods-not-found")
@blp.refuses(400, "Missing required params: TEST_TYPE", "missing-required-params")
@blp.refuses(400, "Missing required files: INPUT_FILE", "missing-required-files")
@blp.refuses(403, "Invalid partner code: acme", "invalid-partner")
@blp.refuses(403, "Token must include a client_id or azp claim", "missing-client-claim")
@blp.response(201, schemas.Created)
@blp.alt_response(200, schema=schemas.DryRun, description="`dryRun=true`: the job could be created")
def create_job() -> Any:
    """Create a job.

    The answer has one upload URL a file, valid for an hour: PUT the bytes there with any content type,
    then start the job. With an `Idempotency-Key`, a repeat answers with the same job and fresh URLs.
    """
    dry = _is_dry_run()
    asked = shape.read_job(json_body())
    by = creator()
    rules.check_caller(asked, by.client_id, current_principal().partners)
    with statement_once(services().engine) as connection:
        if dry:
            jobs.check(connection, asked)
            return jsonify(valid=True)
        job = _created_once(connection, asked, by)
    return {"uid": job.uid, "uploadUrls": _upload_urls(job)}, {"Location": f"/api/v1/jobs/{job.uid}"}


def _created_once(connection: Connection, asked: JobRequest, by: Creator) -> Job:
    created: list[Job] = []

    def effect() -> str:
        created.append(jobs.check(connection, asked)(by))
        return str(created[0].uid)

    made = once(connection, effect)
    return created[0] if created else jobs.get(connection, UUID(made.reference))


def _is_dry_run() -> bool:
    text = request.args.get("dryRun", "false")
    if text not in ("true", "false"):
        raise bad_request(
            'dryRun must be "true" or "false"', details={"dryRun": ['must be "true" or "false"']}
        )
    return text == "true"


def _upload_urls(job: Job) -> dict[str, str]:
    return {key: services().store.presign_put(job.object_key(key)) for key in job.files}


@blp.route("/<uid>", methods=["GET"])
@blp.admits(scopes=("read:jobs",))
@blp.conditional
@blp.refuses(400, "Validation failed (uuid is expected)", "invalid-uuid")
@blp.refuses(404, _NO_JOB, "job-not-found")
@blp.response(200, schemas.JobDetail)
def show_job(uid: str) -> ResponseReturnValue:
    """Show a job, its files and its runs.

    `status` is `created`, `queued`, `running`, `waiting`, `publishing`, `completed`, `failed` or `canceled`;
    `completed` always means that its output sets are listed.
    """
    with transaction(services().engine) as connection:
        job = jobs.get_visible(connection, job_uid(uid), current_principal().partners)
        runs = line.runs_of(connection, [job.uid])[job.uid]
    found = {} if runs else jobs.look_up_files(services().store, job)
    return answer(documents.job_detail(job, runs, found))


@blp.route("/<uid>/upload-urls", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.refuses(400, "Validation failed (uuid is expected)", "invalid-uuid")
@blp.refuses(404, _NO_JOB, "job-not-found")
@blp.refuses(409, "Job was already started: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "job-started")
@blp.response(200, schemas.UploadUrls)
def renew_upload_urls(uid: str) -> Any:
    """Make fresh upload URLs, as long as the job was never started."""
    with transaction(services().engine) as connection:
        job = jobs.get_visible(connection, job_uid(uid), current_principal().partners)
        if line.runs_of(connection, [job.uid])[job.uid]:
            raise jobs.JobStarted(job.uid)
    return {"uploadUrls": _upload_urls(job)}
