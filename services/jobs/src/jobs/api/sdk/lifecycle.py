"""A run's life as its executor leads it: claim, payload, heartbeats, and the end (executor-api.md §1, §2)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields
from sqlalchemy import Connection

from common.api import Blueprint
from common.clock import rfc3339
from common.database import statement, transaction
from common.idempotency import once
from common.sealing import CannotUnseal
from jobs.api.sdk.callers import CLAIMS, FENCE, WORKS, Caller, caller_of, own_run_only, run_once
from jobs.api.sdk.documents import AwaitedSchema, RunSchema, run_document
from jobs.api.sdk.fields import AnyJson, Body, Flag, at_most, size_bytes
from jobs.api.sdk.journal import ProgressSchema, reached
from jobs.api.sdk.secrets import run_secrets, secrets_of
from jobs.engine import family, journal, leases, memory, receipts
from jobs.engine.fence import RunRefused
from jobs.engine.leases import Beat, Failure, WorkOrder
from jobs.engine.redaction import redact, secrets_in
from jobs.engine.run_tokens import GRACE_SECONDS
from jobs.engine.tables import Run
from jobs.services import services

LONGEST_ERROR = 16_384

blp = Blueprint(
    "lifecycle",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


class ClaimSchema(Body):
    """A claim. Repeat it with the same `claim_id` when its answer was lost."""

    claim_id = fields.UUID(required=True)
    executor = fields.Str(load_default="", validate=at_most(255, "bytes", size_bytes))


class HeartbeatSchema(Body):
    """A sign of life."""

    progress = fields.Nested(ProgressSchema, allow_none=True)


class CompleteSchema(Body):
    """A good end. Only sealed sets that are named here are published."""

    result = AnyJson(load_default=None, allow_none=True)
    output_sets = fields.List(
        fields.UUID(), load_default=list, allow_none=True, validate=at_most(1000, "output sets", len)
    )


class FailSchema(Body):
    """A bad end of this attempt. Without `retryable` the class decides whether there is another."""

    error = fields.Str(required=True)
    error_class = fields.Str(allow_none=True, validate=at_most(128, "bytes", size_bytes))
    code = fields.Str(
        allow_none=True,
        validate=at_most(128, "bytes", size_bytes),
        metadata={"example": "invalid-input"},
    )
    retryable = Flag(allow_none=True)


class ClaimedSchema(Schema):
    """What an executor needs for the run. The token replaces the ticket from here on."""

    run_token = fields.Str(required=True)
    expires_at = fields.Str(required=True)
    heartbeat_interval_secs = fields.Float(required=True)
    heartbeat_timeout_secs = fields.Float(required=True)
    lease = fields.Int(required=True)
    attempt = fields.Int(required=True)
    payload = fields.Raw(required=True)
    last_checkpoint = fields.Raw(allow_none=True)
    event = fields.Nested(AwaitedSchema, required=True, allow_none=True)


class BeatSchema(Schema):
    """The answer to a heartbeat; `run_token` is there when the old one is near its end.

    `event` is there while a caller's run goes on with one and has not repeated its wait.
    """

    status = fields.Str(required=True)
    cancel_requested = fields.Bool(required=True)
    expires_at = fields.Str(required=True)
    run_token = fields.Str()
    event = fields.Nested(AwaitedSchema)


@blp.route("/claim", methods=["POST"])
@blp.admits(**CLAIMS)
@blp.repeatable
@blp.refuses(409, "run was claimed by another executor", "claim-refused")
@blp.arguments(ClaimSchema)
@blp.answers(200, ClaimedSchema)
def claim(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Take the turn that a ticket stands for.

    The answer holds the run token and the payload, with URLs and secrets made at this moment, and as `event`
    what the run waited for when it was last given away. Repeating with the same `claim_id` gives the same
    answer with a new token; another executor's claim is a 409.
    """
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        run = _claimed(connection, caller, body)
        order = services().work_order(connection, run)
        checkpoint = memory.last_checkpoint(connection, run.id)
        event = _event(connection, run)
    run_secrets().remember(run.id, run.lease, secrets_in(order.payload))
    services().nudge.run(run.id)
    services().nudge.line()  # there is room for another turn
    kept = checkpoint and memory.document(checkpoint)
    return _claim_answer(run, order) | {"last_checkpoint": kept, "event": event}


def _event(connection: Connection, run: Run) -> dict[str, Any] | None:
    """What brought a waiting run back: an event, or the end of a child."""
    received = receipts.for_claim(connection, run.id, run.lease)
    return receipts.document(received) if received else family.ended_child(connection, run.ended_child_id)


def _claimed(connection: Connection, caller: Caller, body: Mapping[str, Any]) -> Run:
    def take() -> Run:
        return leases.claim(connection, caller.run, caller.lease, body["claim_id"], body["executor"])

    taken: list[Run] = []
    made = once(connection, lambda: taken.append(take()))
    return take() if made.repeated else taken[0]


def _claim_answer(run: Run, order: WorkOrder) -> dict[str, Any]:
    token, expires_at = services().signer.work(run, can_send=order.can_send)
    timeout = services().settings.heartbeat_timeout_seconds
    return {
        "run_token": token,
        "expires_at": rfc3339(expires_at),
        "heartbeat_interval_secs": timeout / 4,
        "heartbeat_timeout_secs": timeout,
        "lease": run.lease,
        "attempt": run.attempt,
        "payload": order.payload,
    }


@blp.route("/payload", methods=["GET"])
@blp.admits(**WORKS)
@blp.response(200, description="The payload as the claim answered it")
def payload(run_id: str) -> Any:
    """Give the payload again, with fresh URLs."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        run = leases.held(connection, caller.run, caller.lease)
        return services().work_order(connection, run).payload


@blp.route("/heartbeat", methods=["POST"])
@blp.admits(**WORKS)
@blp.arguments(HeartbeatSchema)
@blp.answers(200, BeatSchema)
def heartbeat(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Say that the executor lives, and hear whether it should stop.

    Every other write counts as a heartbeat too. The token is renewed when less than a third of its life is
    left.
    """
    caller, opened = caller_of(run_id), transaction if body.get("progress") else statement
    with opened(services().engine) as connection:
        beat = leases.heartbeat(connection, caller.run, caller.lease)
        if body.get("progress"):
            secrets = secrets_of(connection, caller.run, caller.lease)
            journal.progress(connection, caller.run, caller.lease, reached(body["progress"], secrets))
        renewed = leases.held(connection, caller.run, caller.lease) if _is_near_end(caller, beat) else None
        event = _event_of_caller(connection, caller, beat)
    return _beat_answer(caller, beat, renewed) | ({"event": event} if event else {})


def _event_of_caller(connection: Connection, caller: Caller, beat: Beat) -> dict[str, Any] | None:
    received = receipts.for_heartbeat(connection, caller.run) if beat.has_event else None
    return receipts.document(received) if received else family.ended_child(connection, beat.ended_child_id)


def _is_near_end(caller: Caller, beat: Beat) -> bool:
    left = caller.token_expires_at - services().clock.now().timestamp()
    return left < (beat.timeout_seconds + GRACE_SECONDS) / 3


def _beat_answer(caller: Caller, beat: Beat, renewed: Run | None) -> dict[str, Any]:
    answer = {"status": "ok", "cancel_requested": beat.cancel_requested_at is not None}
    if renewed is None:
        return {**answer, "expires_at": rfc3339(datetime.fromtimestamp(caller.token_expires_at, UTC))}
    token, expires_at = services().signer.work(renewed, can_send=caller.can_send)
    return {**answer, "expires_at": rfc3339(expires_at), "run_token": token}


@blp.route("/complete", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(CompleteSchema)
@blp.answers(200, RunSchema)
def complete(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """End the run well. A repeat by the same lease answers with the stored run."""
    caller = caller_of(run_id)
    named = [str(uid) for uid in body["output_sets"] or ()]
    with transaction(services().engine) as connection:
        run = run_once(connection, lambda: _complete(connection, caller, body["result"], named))
    _tell_of_end(run.id)
    return run_document(run)


def _complete(connection: Connection, caller: Caller, result: Any, named: list[str]) -> Run:
    clean = redact(result, _known(connection, caller))
    return leases.complete(connection, caller.run, caller.lease, result=clean, named_sets=named)


@blp.route("/fail", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(FailSchema)
@blp.answers(200, RunSchema)
def fail(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """End this attempt badly: the run is tried again later, or it is over.

    A repeat by the same lease answers with the run as it is.
    """
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        run = run_once(connection, lambda: _fail(connection, caller, body))
    _tell_of_end(run.id)
    return run_document(run)


def _fail(connection: Connection, caller: Caller, body: Mapping[str, Any]) -> Run:
    failure = Failure(
        error=redact(body["error"], _known(connection, caller))[:LONGEST_ERROR],
        error_class=body.get("error_class"),
        error_code=body.get("code"),
        retryable=body.get("retryable"),
    )
    return leases.fail(connection, caller.run, caller.lease, failure)


def _known(connection: Connection, caller: Caller) -> frozenset[str]:
    try:
        return secrets_of(connection, caller.run, caller.lease)
    except (RunRefused, CannotUnseal):
        # An end must not fail because the work order cannot be made any more: what looks secret goes anyway.
        return frozenset()


def _tell_of_end(run_id: UUID) -> None:
    nudge = services().nudge
    nudge.deliveries()
    nudge.run(run_id)
    nudge.line()  # its concurrency key and its partner's share are free
