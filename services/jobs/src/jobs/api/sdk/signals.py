"""A run waits for an event from outside (executor-api.md §2)."""

from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields
from sqlalchemy import Connection

from common.api import Blueprint
from common.clock import rfc3339
from common.database import transaction
from common.idempotency import once
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only
from jobs.api.sdk.fields import Body, Number, at_most, plain_key, size_bytes, within
from jobs.deliveries.outbound import OutboundRefused, read_url
from jobs.engine import signals
from jobs.engine.receipts import Receipt
from jobs.engine.signals import DEFAULT_SECONDS, LONGEST_SECONDS, Wait, Wish
from jobs.services import services

LONGEST_EVENT_KEY_BYTES = 512
LONGEST_URL_BYTES = 2048

blp = Blueprint(
    "signals",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


def _http_url(text: str | None) -> None:
    if text is None:
        return
    try:
        read_url(text)
    except OutboundRefused as error:
        raise ValidationError(str(error)) from None


class WaitSchema(Body):
    """What to wait for, and how long."""

    event_key = fields.Str(required=True, metadata={"example": "approval:42"})
    timeout_secs = Number(load_default=DEFAULT_SECONDS, validate=within(1, LONGEST_SECONDS))
    notify_url = fields.Str(
        allow_none=True,
        validate=[at_most(LONGEST_URL_BYTES, "bytes", size_bytes), _http_url],
        metadata={"example": "https://a.example/approvals"},
    )


class WaitingSchema(Schema):
    """The run waits. Whoever works on it stops: its next claim brings the event."""

    status = fields.Str(required=True, metadata={"enum": ["waiting"]})
    event_key = fields.Str(required=True, metadata={"example": "approval:42"})
    expires_at = fields.Str(required=True)
    trigger_id = fields.UUID(required=True)


class ReceivedSchema(Schema):
    """The event was there already: the run goes on."""

    status = fields.Str(required=True, metadata={"enum": ["received"]})
    event_key = fields.Str(required=True, metadata={"example": "approval:42"})
    payload = fields.Raw(required=True, allow_none=True, metadata={"example": {"approved": True}})
    trigger_id = fields.UUID(required=True)


_EITHER = {"anyOf": [WaitingSchema, ReceivedSchema]}


@blp.route("/wait-for-event", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "a key has 1 to 512 bytes, no space and none of / \\ ? # %", "invalid-key")
@blp.refuses(409, "Another run waits for this event: approval:42", "event-key-taken")
@blp.arguments(WaitSchema)
@blp.response(200)
@blp.doc(responses={"200": {"content": {"application/json": {"schema": _EITHER}}}})
def wait_for_event(body: dict[str, Any], run_id: str) -> Any:
    """Wait for an event that somebody sends, or receive one that was sent before.

    While it waits the run has no executor and its time does not run. The event puts it in line again, and the
    next claim has it as `event`. A wait by a later lease for a key the run received before is answered with
    the same event, once a lease.
    """
    caller = caller_of(run_id)
    wish = Wish(
        key=plain_key(body["event_key"], LONGEST_EVENT_KEY_BYTES, "event_key"),
        timeout_seconds=body["timeout_secs"],
        notify_url=body.get("notify_url"),
    )
    with transaction(services().engine) as connection:
        found = _waited_once(connection, caller, wish)
    if isinstance(found, Wait):
        _tell(caller)
    return _document(found)


def _waited_once(connection: Connection, caller: Caller, wish: Wish) -> Wait | Receipt:
    found: list[Wait | Receipt] = []

    def effect() -> str:
        found.append(signals.wait(connection, caller.run, caller.lease, wish))
        return str(_trigger(found[0]))

    made = once(connection, effect)
    return found[0] if found else signals.answer(connection, caller.run, caller.lease, UUID(made.reference))


def _trigger(found: Wait | Receipt) -> UUID:
    return found.id if isinstance(found, Wait) else found.trigger_id


def _tell(caller: Caller) -> None:
    nudge = services().nudge
    nudge.run(caller.run)
    nudge.line()  # a waiting run leaves its concurrency key and its partner's share free
    nudge.deliveries()


def _document(found: Wait | Receipt) -> dict[str, Any]:
    document = {"event_key": found.key, "trigger_id": str(_trigger(found))}
    if isinstance(found, Wait):
        return {"status": "waiting", **document, "expires_at": rfc3339(found.expires_at)}
    return {"status": "received", **document, "payload": found.payload}
