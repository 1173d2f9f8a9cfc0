"""Cancel a run, replay one (executor-api.md §3)."""

from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.problems import conflict
from jobs.api.engine.callers import OF_A_RUN, visible_run
from jobs.api.external.callers import creator
from jobs.api.sdk.callers import run_once
from jobs.api.sdk.documents import RunSchema, run_document
from jobs.api.sdk.fields import Body, Whole, within
from jobs.engine import family
from jobs.engine.line import JobInProgress
from jobs.engine.tables import Run
from jobs.services import services

blp = Blueprint("acting", __name__, url_prefix="/v1/runs", faulty_status=400, tag="Runs", refusals=OF_A_RUN)


class ReplaySchema(Body):
    """How a run is to be replayed."""

    from_checkpoint = Whole(
        allow_none=True,
        validate=within(1, 2**31 - 1),
        metadata={"description": "the sequence of a checkpoint of the old run for the new one to begin with"},
    )


@blp.route("/<run>/cancel", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.response(202, RunSchema, description="Its executor is asked to stop, and forced after 30 seconds")
@blp.alt_response(200, schema=RunSchema, description="The run is over: by this call, or before it")
def cancel_run(run: str) -> ResponseReturnValue:
    """Stop a run and the runs that descend from it.

    Runs that nobody works on end at once. The others are told with their next heartbeat; one that completes
    within the 30 seconds of grace stays completed. A run that is over is answered unchanged, and so are its
    children.
    """
    with transaction(services().engine) as connection:
        canceled = family.request_cancel(connection, visible_run(connection, run).id)
    _tell(canceled)
    return jsonify(run_document(canceled)), 200 if canceled.is_final else 202


@blp.route("/<run>/replay", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.repeatable
@blp.refuses(
    404, "Checkpoint not found: 3 of run 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "checkpoint-not-found"
)
@blp.refuses(409, "A completed run is not replayed: start the job again", "cannot-replay")
@blp.refuses(409, "Job already in progress: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "job-in-progress")
@blp.arguments(ReplaySchema, required=False)
@blp.response(201, RunSchema)
def replay_run(body: dict[str, Any], run: str) -> Any:
    """Do again what a run did not complete: a new run of its job with the same inputs and payload.

    It has `replay_of`, and begins with a checkpoint of the old run where `from_checkpoint` names one. Runs
    that are not over, are completed, or were carried out by their caller are not replayed.
    """
    with transaction(services().engine) as connection:
        old = visible_run(connection, run)
        made = run_once(connection, lambda: _replay(connection, old, body.get("from_checkpoint")))
    _tell(made)
    return run_document(made), {"Location": f"/v1/runs/{made.id}"}


def _replay(connection: Connection, old: Run, from_checkpoint: int | None) -> Run:
    try:
        return family.replay(connection, old, creator().client_id, from_checkpoint)
    except JobInProgress as error:
        raise conflict(str(error), "job-in-progress") from None


def _tell(run: Run) -> None:
    nudge = services().nudge
    nudge.run(run.id)
    nudge.deliveries()
    nudge.line()
