"""How the executor API writes what it answers: snake_case, RFC 3339, empty optional fields left out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from common.clock import rfc3339
from jobs.engine import retry
from jobs.engine.outputs import Output
from jobs.engine.states import FINAL, Status
from jobs.engine.tables import Event, Run

_ALWAYS = ("status", "attempt", "payload", "priority", "triggered_by", "created_by")
_OPTIONAL = (
    "result",
    "metadata",
    "error",
    "error_class",
    "error_code",
    "progress",
    "started_at",
    "finished_at",
    "heartbeat_at",
    "expires_at",
    "cancel_requested_at",
    "parent_run_id",
    "continuation_of",
    "replay_of",
    "batch_id",
    "concurrency_key",
    "tags",
    "lineage_depth",
)


class RunSchema(Schema):
    """A run. Empty optional fields are left out."""

    id = fields.UUID(required=True)
    number = fields.Int(required=True)
    job_id = fields.UUID(required=True)
    project_id = fields.Str(required=True, metadata={"description": "the partner"})
    status = fields.Str(required=True, metadata={"enum": [status.value for status in Status]})
    attempt = fields.Int(required=True)
    payload = fields.Raw(required=True)
    priority = fields.Int(required=True)
    triggered_by = fields.Str(required=True)
    created_by = fields.Str(required=True)
    created_at = fields.Str(required=True)
    execution_trace = fields.Dict(keys=fields.Str(), values=fields.Int(), required=True)
    max_attempts_override = fields.Int()
    timeout_secs_override = fields.Int()
    retry_backoff = fields.Str(metadata={"enum": list(retry.KINDS)})
    retry_initial_delay_secs = fields.Float()
    retry_max_delay_secs = fields.Float()
    scheduled_at = fields.Str()
    next_retry_at = fields.Str()
    result = fields.Raw()
    metadata = fields.Dict(keys=fields.Str(), values=fields.Str())
    error = fields.Str()
    error_class = fields.Str()
    error_code = fields.Str()
    progress = fields.Raw()
    started_at = fields.Str()
    finished_at = fields.Str()
    heartbeat_at = fields.Str()
    expires_at = fields.Str()
    cancel_requested_at = fields.Str()
    parent_run_id = fields.Str()
    continuation_of = fields.Str()
    replay_of = fields.Str()
    batch_id = fields.Str()
    concurrency_key = fields.Str()
    tags = fields.List(fields.Str())
    lineage_depth = fields.Int()


class EventSchema(Schema):
    """A line of a run's history; `id` is its place in it."""

    id = fields.Int(required=True)
    run_id = fields.UUID(required=True)
    type = fields.Str(required=True)
    level = fields.Str(required=True)
    message = fields.Str(required=True)
    data = fields.Raw()
    created_at = fields.Str(required=True)


class UsedSchema(Schema):
    """A call of a model; `id` is its place in the run's history."""

    id = fields.Int(required=True)
    run_id = fields.UUID(required=True)
    provider = fields.Str(required=True, metadata={"example": "anthropic"})
    model = fields.Str(required=True, metadata={"example": "some-model"})
    prompt_tokens = fields.Int(required=True)
    completion_tokens = fields.Int(required=True)
    total_tokens = fields.Int(required=True)
    cost_microusd = fields.Int(required=True, metadata={"description": "millionths of a US dollar"})
    created_at = fields.Str(required=True)


class ToolCalledSchema(Schema):
    """A call of a tool; `id` is its place in the run's history."""

    id = fields.Int(required=True)
    run_id = fields.UUID(required=True)
    tool_name = fields.Str(required=True, metadata={"example": "search"})
    input = fields.Raw()
    output = fields.Raw()
    duration_ms = fields.Float()
    status = fields.Str(metadata={"example": "ok"})
    created_at = fields.Str(required=True)


class KeptOutputSchema(Schema):
    """A named output of a run; `output_key` is the key once more."""

    id = fields.UUID(required=True)
    run_id = fields.UUID(required=True)
    output_key = fields.Str(required=True, metadata={"example": "summary"})
    key = fields.Str(required=True, metadata={"example": "summary"})
    value = fields.Raw(required=True, allow_none=True)
    schema = fields.Raw()
    created_at = fields.Str(required=True)
    updated_at = fields.Str(required=True)


class KeptCheckpointSchema(Schema):
    """A checkpoint of a run."""

    id = fields.Str(required=True, metadata={"example": "3"})
    run_id = fields.UUID(required=True)
    sequence = fields.Int(required=True)
    source = fields.Str(required=True, metadata={"example": "sdk"})
    state = fields.Raw(required=True, allow_none=True)
    created_at = fields.Str(required=True)


class KeptValueSchema(Schema):
    """A key of a run's state; `state_key` is the same once more."""

    run_id = fields.UUID(required=True)
    state_key = fields.Str(required=True, metadata={"example": "last_page"})
    key = fields.Str(required=True, metadata={"example": "last_page"})
    value = fields.Raw(required=True, allow_none=True, metadata={"example": 7})
    updated_at = fields.Str(required=True)


class EndedChildSchema(Schema):
    """How an awaited child ended."""

    id = fields.UUID(required=True)
    status = fields.Str(
        required=True, metadata={"enum": [status.value for status in Status if status in FINAL]}
    )
    result = fields.Raw(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)


class AwaitedSchema(Schema):
    """What a run waited for and got: an event, or else the end of a `child`.

    `trigger_id` is the wait's; `received_at` is when the run received the event.
    """

    event_key = fields.Str(metadata={"example": "approval:42"})
    trigger_id = fields.UUID()
    payload = fields.Raw(allow_none=True, metadata={"example": {"approved": True}})
    received_at = fields.Str()
    child = fields.Nested(EndedChildSchema)


def run_document(run: Run) -> dict[str, Any]:
    """Write a run. It holds no secret and no URL: what is stored has none."""
    backoff = retry.backoff_of(run.retry)
    document = {
        "id": str(run.id),
        "number": run.number,
        "job_id": str(run.job_id),
        "project_id": run.partner,
        **{name: getattr(run, name) for name in _ALWAYS},
        "created_at": rfc3339(run.created_at),
        "scheduled_at": rfc3339(run.due_at),
        "max_attempts_override": run.max_attempts,
        "timeout_secs_override": run.timeout_seconds,
        "retry_backoff": backoff.kind,
        "retry_initial_delay_secs": float(backoff.initial_seconds),
        "retry_max_delay_secs": float(backoff.max_seconds),
        "execution_trace": _trace(run),
    }
    if run.status is Status.QUEUED and run.attempt > 1:
        document["next_retry_at"] = rfc3339(run.due_at)
    optional = {name: _plain(getattr(run, name)) for name in _OPTIONAL}
    return document | {name: value for name, value in optional.items() if value not in (None, "", {}, [])}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, UUID) else value


def _trace(run: Run) -> Mapping[str, int]:
    """What is measured is a number, what does not apply is 0."""
    return {
        "queue_wait_ms": _ms(run.queued_at, run.pushed_at),
        "dequeue_ms": _ms(run.pushed_at, run.started_at),
        "connect_ms": 0,
        "ttfb_ms": 0,
        "transfer_ms": 0,
        "dispatch_ms": _ms(run.queued_at, run.started_at),
        "total_ms": _ms(run.created_at, run.finished_at),
    }


def _ms(begin: datetime | None, end: datetime | None) -> int:
    return max(0, round((end - begin).total_seconds() * 1000)) if begin and end else 0


def own_document(event: Event) -> dict[str, Any]:
    """Write an event whose data is the thing itself: a call of a model or of a tool."""
    return {
        "id": event.seq,
        "run_id": str(event.run_id),
        **event.data,
        "created_at": rfc3339(event.at),
    }


def output_document(output: Output) -> dict[str, Any]:
    """Write a named output; one that came without a schema shows none."""
    document = {
        "id": str(output.id),
        "run_id": str(output.run_id),
        "output_key": output.key,
        "key": output.key,
        "value": output.value,
        "created_at": rfc3339(output.created_at),
        "updated_at": rfc3339(output.updated_at),
    }
    return document if output.schema is None else {**document, "schema": output.schema}
