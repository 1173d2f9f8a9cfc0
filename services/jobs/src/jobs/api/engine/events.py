"""Send events to the runs that wait for them (executor-api.md, Waiting for an event)."""

from typing import Any
from uuid import UUID

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields
from sqlalchemy import Connection

from common import ids, pages
from common.api import Blueprint, current_principal
from common.clock import rfc3339
from common.database import transaction
from common.idempotency import has_key, once
from common.problems import Problem, bad_request, forbidden
from jobs.api.external import queries
from jobs.api.external.schemas import query
from jobs.api.sdk.fields import AnyJson, Body, plain_key
from jobs.api.sdk.signals import LONGEST_EVENT_KEY_BYTES
from jobs.engine import signals
from jobs.engine.signals import Sent, Wait
from jobs.services import services

blp = Blueprint("events", __name__, url_prefix="/v1/events", faulty_status=422)
_BEGIN = UUID(int=0)


class SendSchema(Body):
    """An event. `partner` may be left out when the token has one."""

    payload = AnyJson(required=True, allow_none=True, metadata={"example": {"approved": True}})
    partner = fields.Str()


class SentSchema(Schema):
    """An event that was sent."""

    id = fields.Int(required=True, metadata={"example": 42})
    partner = fields.Str(required=True)
    event_key = fields.Str(required=True, metadata={"example": "approval:42"})
    sent_at = fields.Str(required=True)


class ListedWaitSchema(Schema):
    """A run that waits."""

    trigger_id = fields.UUID(required=True)
    event_key = fields.Str(required=True, metadata={"example": "approval:42"})
    run_id = fields.UUID(required=True)
    created_at = fields.Str(required=True)
    expires_at = fields.Str(required=True)


class WaitPage(Schema):
    """A page of waits; `next` is the cursor of the page after it, null at the end."""

    items = fields.List(fields.Nested(ListedWaitSchema), required=True)
    next = fields.Str(required=True, allow_none=True)


@blp.route("/<event_key>/send", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.repeatable
@blp.refuses(400, "a key has 1 to 512 bytes, no space and none of / \\ ? # %", "invalid-key")
@blp.refuses(403, "Invalid partner code: acme", "invalid-partner")
@blp.arguments(SendSchema)
@blp.response(202, SentSchema)
def send_event(body: dict[str, Any], event_key: str) -> Any:
    """Send an event to the run that waits for it, or to the next one that will.

    Events of a key stand in line for 7 days, and each is received by one wait. Without an `Idempotency-Key`
    an event that equals the newest one in line counts as a repeat of it.
    """
    key = plain_key(event_key, LONGEST_EVENT_KEY_BYTES, "event_key")
    partner = _partner(body.get("partner"))
    with transaction(services().engine) as connection:
        sent, document = _sent_once(connection, partner, key, body["payload"])
    if sent is not None and sent.resumed is not None:
        services().nudge.run(sent.resumed.id)
        services().nudge.line()
    return document


def _partner(named: str | None) -> str:
    allowed = current_principal().partners
    if named is None and len(allowed) == 1:
        return next(iter(allowed))
    if named is None:
        message = "partner is required when the token has not exactly one"
        raise Problem(status=422, detail=message, type="invalid-input", details={"partner": [message]})
    if named not in allowed:
        raise forbidden(f"Invalid partner code: {named}", "invalid-partner")
    return named


def _sent_once(
    connection: Connection, partner: str, key: str, payload: Any
) -> tuple[Sent | None, dict[str, Any]]:
    sent: list[Sent] = []

    def effect() -> dict[str, Any]:
        sent.append(signals.send(connection, partner, key, payload, keyed=has_key()))
        return {
            "id": sent[0].id,
            "partner": partner,
            "event_key": key,
            "sent_at": rfc3339(sent[0].sent_at),
        }

    made = once(connection, effect)
    return (sent[0] if sent else None), made.reference


@blp.route("", methods=["GET"])
@blp.admits(scopes=("read:jobs",))
@blp.doc(
    parameters=[
        query("partner", "whose waits", required=True),
        query("limit", "1 to 1000, 100 if not given"),
        query("cursor", "`next` of the page before"),
    ]
)
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, WaitPage)
def list_waits() -> ResponseReturnValue:
    """List the waits of a partner's runs, in the order they began."""
    partner, limit, after = queries.partner(), pages.limit(queries.one("limit") or None), _after()
    with transaction(services().engine) as connection:
        found = signals.waits(connection, partner, after, limit + 1)
    following = pages.encode([str(found[limit - 1].id)]) if len(found) > limit else None
    return {"items": [_shown(wait) for wait in found[:limit]], "next": following}


def _after() -> UUID:
    cursor = queries.one("cursor")
    [position] = pages.decode(cursor, 1) if cursor else [str(_BEGIN)]
    found = ids.parse_uuid(position) if isinstance(position, str) else None
    if found is None:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return found


def _shown(wait: Wait) -> dict[str, Any]:
    return {
        "trigger_id": str(wait.id),
        "event_key": wait.key,
        "run_id": str(wait.run_id),
        "created_at": rfc3339(wait.created_at),
        "expires_at": rfc3339(wait.expires_at),
    }
