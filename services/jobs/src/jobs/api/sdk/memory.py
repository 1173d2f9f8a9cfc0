"""What a run remembers: annotations, checkpoints, state (executor-api.md §2)."""

import json
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields
from sqlalchemy import Connection

from common.api import Blueprint
from common.clock import rfc3339
from common.database import transaction
from common.idempotency import once, statement_once
from common.problems import bad_request, not_found
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only, run_once
from jobs.api.sdk.documents import KeptCheckpointSchema, KeptValueSchema, RunSchema, run_document
from jobs.api.sdk.fields import AnyJson, Body, at_most, plain_key, size_bytes
from jobs.api.sdk.secrets import secrets_of
from jobs.engine import leases, memory
from jobs.engine.memory import Checkpoint, StateValue, TooManyKeys
from jobs.engine.redaction import hide, redact
from jobs.engine.tables import Run
from jobs.services import services

MAX_ANNOTATIONS = 50
LONGEST_KEY_BYTES = 128
LONGEST_VALUE_BYTES = 1024
LONGEST_STATE_KEY_BYTES = 256
LONGEST_STATE_BYTES = 64 * 1024

blp = Blueprint(
    "memory",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


class CheckpointSchema(Body):
    """A state to keep."""

    state = AnyJson(required=True, allow_none=True)
    source = fields.Str(load_default="sdk", validate=at_most(LONGEST_KEY_BYTES, "bytes", size_bytes))


class StateSchema(Body):
    """A key to set."""

    key = fields.Str(required=True)
    value = AnyJson(required=True, allow_none=True)


class AnnotationsSchema(Schema):
    """`{"annotations": {…}}`, or the map itself."""

    class Meta:
        unknown = "include"


@blp.route("/annotate", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "1 to 50 annotations are set at once", "limit-exceeded")
@blp.arguments(AnnotationsSchema)
@blp.response(200, RunSchema)
def annotate(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Merge texts into the run's metadata: 1 to 50 keys a call."""
    caller = caller_of(run_id)
    annotations = _annotations(body)
    with transaction(services().engine) as connection:
        run = run_once(connection, lambda: _annotated(connection, caller, annotations))
    services().nudge.run(run.id)
    return run_document(run)


def _annotated(connection: Connection, caller: Caller, annotations: Mapping[str, str]) -> Run:
    clean = redact(annotations, secrets_of(connection, caller.run, caller.lease))
    return memory.annotate(connection, caller.run, caller.lease, clean)


def _annotations(body: dict[str, Any]) -> dict[str, str]:
    named = body.get("annotations")
    annotations = named if isinstance(named, dict) else body
    if not 1 <= len(annotations) <= MAX_ANNOTATIONS:
        raise bad_request(f"1 to {MAX_ANNOTATIONS} annotations are set at once", "limit-exceeded")
    for key, value in annotations.items():
        if not isinstance(value, str):
            raise bad_request("annotations are texts", details={key: ["Not a valid string."]})
        if not 1 <= size_bytes(key) <= LONGEST_KEY_BYTES or size_bytes(value) > LONGEST_VALUE_BYTES:
            limits = f"a key has 1 to {LONGEST_KEY_BYTES} bytes, a value up to {LONGEST_VALUE_BYTES}"
            raise bad_request(limits, "limit-exceeded", {key[:LONGEST_KEY_BYTES]: [limits]})
    return annotations


@blp.route("/checkpoint", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(404, "This checkpoint is no longer kept")
@blp.arguments(CheckpointSchema)
@blp.answers(201, KeptCheckpointSchema)
def save_checkpoint(body: dict[str, Any], run_id: str) -> Any:
    """Keep a state that a later attempt may begin from; the last 20 are kept."""
    caller = caller_of(run_id)
    with statement_once(services().engine) as connection:
        saved = _saved_once(connection, caller, body)
    return memory.document(saved)


def _saved_once(connection: Connection, caller: Caller, body: Mapping[str, Any]) -> Checkpoint:
    saved: list[Checkpoint] = []

    def effect() -> int:
        secrets = secrets_of(connection, caller.run, caller.lease)
        state, source = hide([body["state"], body["source"]], secrets)
        saved.append(memory.save_checkpoint(connection, caller.run, caller.lease, state, source))
        return saved[0].sequence

    made = once(connection, effect)
    found = saved[0] if saved else memory.checkpoint(connection, caller.run, made.reference)
    if found is None:
        raise not_found("This checkpoint is no longer kept")
    return found


@blp.route("/checkpoint", methods=["GET"])
@blp.admits(**WORKS)
@blp.refuses(404, "This run has no checkpoint")
@blp.response(200, KeptCheckpointSchema)
def last_checkpoint(run_id: str) -> Any:
    """Give the newest checkpoint, whichever attempt left it."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        leases.held(connection, caller.run, caller.lease)
        kept = memory.last_checkpoint(connection, caller.run)
    if kept is None:
        raise not_found("This run has no checkpoint")
    return memory.document(kept)


@blp.route("/state", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "a value has at most 65536 bytes", "limit-exceeded")
@blp.arguments(StateSchema)
@blp.response(201, KeptValueSchema)
def put_state(body: dict[str, Any], run_id: str) -> Any:
    """Set a key of the run's state, which survives retries."""
    caller = caller_of(run_id)
    key = _key(body["key"])
    if len(json.dumps(body["value"], ensure_ascii=False).encode()) > LONGEST_STATE_BYTES:
        raise bad_request(f"a value has at most {LONGEST_STATE_BYTES} bytes", "limit-exceeded")
    with transaction(services().engine) as connection:
        value = _put_once(connection, caller, key, body["value"])
    return _state_document(value)


def _put_once(connection: Connection, caller: Caller, key: str, value: Any) -> StateValue:
    put: list[StateValue] = []

    def effect() -> str:
        try:
            put.append(memory.put_state(connection, caller.run, caller.lease, key, value))
        except TooManyKeys as error:
            raise bad_request(str(error), "limit-exceeded") from None
        return key

    once(connection, effect)
    found = put[0] if put else memory.state_value(connection, caller.run, key)
    if found is None:
        raise not_found("This key was deleted since")
    return found


@blp.route("/state", methods=["GET"])
@blp.admits(**WORKS)
@blp.response(200, KeptValueSchema(many=True))
def state(run_id: str) -> Any:
    """Give the whole state, ordered by key."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        leases.held(connection, caller.run, caller.lease)
        return [_state_document(value) for value in memory.state(connection, caller.run)]


@blp.route("/state/<key>", methods=["GET"])
@blp.admits(**WORKS)
@blp.refuses(400, "a key has 1 to 256 bytes, no space and none of / \\ ? # %", "invalid-key")
@blp.refuses(404, "The run's state has no such key")
@blp.response(200, KeptValueSchema)
def state_value(run_id: str, key: str) -> Any:
    """Give one key of the state."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        leases.held(connection, caller.run, caller.lease)
        value = memory.state_value(connection, caller.run, _key(key))
    if value is None:
        raise not_found("The run's state has no such key")
    return _state_document(value)


@blp.route("/state/<key>", methods=["DELETE"])
@blp.admits(**WORKS)
@blp.refuses(400, "a key has 1 to 256 bytes, no space and none of / \\ ? # %", "invalid-key")
@blp.response(204)
def delete_state(run_id: str, key: str) -> None:
    """Remove a key; removing what is not there is fine."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        memory.delete_state(connection, caller.run, caller.lease, _key(key))


def _key(key: str) -> str:
    return plain_key(key, LONGEST_STATE_KEY_BYTES)


def _state_document(value: StateValue) -> dict[str, Any]:
    return {
        "run_id": str(value.run_id),
        "state_key": value.key,
        "key": value.key,
        "value": value.value,
        "updated_at": rfc3339(value.updated_at),
    }
