"""Start a job, cancel it."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from common.api import Blueprint, current_principal
from common.clock import rfc3339
from common.database import statement, transaction
from common.idempotency import once
from jobs.api.external import schemas
from jobs.api.external.bodies import optional_json_body
from jobs.api.external.callers import creator, job_uid
from jobs.assessments import jobs, options
from jobs.assessments.options import StartOptions
from jobs.assessments.status import current_run
from jobs.assessments.tables import Job
from jobs.engine import family, line
from jobs.engine.states import Status
from jobs.engine.tables import Run
from jobs.services import services

blp = Blueprint("starting", __name__, url_prefix="/api/v1/jobs", faulty_status=400, tag="Jobs")
_NO_JOB = "Job not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"


@blp.route("/<uid>/start", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.doc(requestBody=schemas.body_of(schemas.StartBody, required=False))
@blp.repeatable
@blp.refuses(400, "Validation failed (uuid is expected)", "invalid-uuid")
@blp.refuses(400, "Some expected files were not found. Expected files: results.csv", "files-not-found")
@blp.refuses(400, "Job already in progress: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "job-in-progress")
@blp.refuses(404, _NO_JOB, "job-not-found")
@blp.response(202, schemas.Started)
def start_job(uid: str) -> Any:
    """Start a job whose files are uploaded.

    A job whose last run ended may be started again. With `{"executor": "caller"}` the run is not queued:
    the answer has a run token, and you do the work through the executor API.
    """
    job_id, asked = job_uid(uid), options.read_start(optional_json_body())
    with statement(services().engine) as connection:
        job = jobs.get_visible(connection, job_id, current_principal().partners)
    if asked.caller and job.sends_to_ods:
        raise jobs.CallerCannotSend(job.uid)
    inputs = jobs.inputs_of(job, jobs.look_up_files(services().store, job))
    with transaction(services().engine) as connection:
        run = _started_once(connection, job, inputs, asked)
    services().nudge.line()
    return _started(run), {"Location": f"/v1/runs/{run.id}"}


def _started_once(connection: Connection, job: Job, inputs: dict[str, Any], asked: StartOptions) -> Run:
    started: list[Run] = []

    def begin() -> str:
        timeout_seconds, by = services().settings.run_timeout_seconds, creator().client_id
        run = jobs.start(
            connection, job, inputs, created_by=by, timeout_seconds=timeout_seconds, options=asked
        )
        started.append(run)
        return str(run.id)

    made = once(connection, begin)
    run = started[0] if started else line.find(connection, UUID(made.reference))
    if run is None:
        raise line.JobInProgress(job.uid)
    return run


def _started(run: Run) -> dict[str, Any]:
    started = {"jobUid": run.job_id, "runUid": run.id, "status": run.status.value}
    if not run.caller or run.is_final:
        return started
    token, expires_at = services().signer.work(run, can_send=False)
    return {**started, "runToken": token, "expiresAt": rfc3339(expires_at)}


@blp.route("/<uid>/cancel", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.refuses(400, "Validation failed (uuid is expected)", "invalid-uuid")
@blp.refuses(404, _NO_JOB, "job-not-found")
@blp.refuses(409, "Job is not in progress: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "job-not-running")
@blp.response(202, schemas.Started)
def cancel_job(uid: str) -> Any:
    """Stop the job's live runs and what they spawned.

    At once where nobody works on them, else as soon as their executor hears of it.
    """
    with transaction(services().engine) as connection:
        job = jobs.get_visible(connection, job_uid(uid), current_principal().partners)
        runs = line.runs_of(connection, [job.uid])[job.uid]
        current = current_run(runs)
        if current is None or current.is_final:
            raise jobs.JobNotRunning(job.uid)
        canceled = family.cancel(connection, [each.id for each in runs if not each.is_final])
        [run] = [each for each in canceled if each.id == current.id]
        if run.is_final and run.status is not Status.CANCELED:  # it ended while we looked
            raise jobs.JobNotRunning(job.uid)
    services().nudge.run(run.id)
    services().nudge.deliveries()
    services().nudge.line()  # a parent that awaited it goes on
    return _canceled(run), {"Location": f"/v1/runs/{run.id}"}


def _canceled(run: Run) -> dict[str, Any]:
    return {"jobUid": run.job_id, "runUid": run.id, "status": run.status.value}
