"""Webhooks: register an address that is told of runs and output sets, and see what became of it."""

from functools import partial
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from common import pages
from common.api import Blueprint, current_principal
from common.clock import rfc3339
from common.database import transaction
from common.idempotency import once
from common.problems import bad_request, conflict
from jobs.api.external import queries
from jobs.api.external.callers import creator, job_uid
from jobs.api.external.schemas import query
from jobs.deliveries import signing, webhooks
from jobs.deliveries.outbound import OutboundRefused, read_url
from jobs.deliveries.signing import PlatformKeys
from jobs.deliveries.tables import Progress, Webhook
from jobs.deliveries.webhooks import EVENTS, MOST_A_PARTNER
from jobs.services import services

LONGEST_URL = 2048
_END = 2**63 - 1
_NO_UUID = (400, "Validation failed (uuid is expected)", "invalid-uuid")
_NOT_FOUND = (404, "Webhook not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "webhook-not-found")
_NO_PARTNER = (404, "Partner not found: acme", "partner-not-found")
_ONCE = "This Idempotency-Key made a webhook whose secret was shown: delete it and make another"

blp = Blueprint("webhooks", __name__, url_prefix="/v1", faulty_status=400)


def _address(url: str) -> None:
    try:
        read_url(url)
    except OutboundRefused as error:
        raise ValidationError(str(error)) from None


class WebhookBody(Schema):
    """An address to tell of events."""

    class Meta:
        unknown = EXCLUDE

    partner = fields.Str(required=True, metadata={"example": "ea"})
    url = fields.Str(
        required=True,
        validate=[validate.Length(max=LONGEST_URL), _address],
        metadata={"example": "https://district.example/hooks/taxiway"},
    )
    events = fields.List(
        fields.Str(validate=validate.OneOf(EVENTS)),
        required=True,
        validate=validate.Length(min=1, max=len(EVENTS)),
        metadata={"example": list(EVENTS)},
    )


class WebhookShown(Schema):
    """A webhook."""

    id = fields.UUID(required=True)
    partner = fields.Str(required=True)
    url = fields.Str(required=True)
    events = fields.List(fields.Str(), required=True)
    created_at = fields.Str(required=True)


class WebhookMade(WebhookShown):
    """A new webhook. Its secret verifies what we send, and is shown this once."""

    secret = fields.Str(required=True, metadata={"example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})


class WebhookList(Schema):
    """The webhooks of a partner."""

    items = fields.List(fields.Nested(WebhookShown), required=True)


class DeliveryShown(Schema):
    """How far a message has come. `id` is its `webhook-id`; `next_try_at` is null when there is none."""

    id = fields.Str(required=True, metadata={"example": "msg_5a1c4b1e-7f6c-4f57-9a51-3f1d2b7c9e10"})
    type = fields.Str(required=True, metadata={"example": "run.completed"})
    run_id = fields.UUID(required=True)
    state = fields.Str(required=True, metadata={"enum": ["pending", "delivered", "given_up"]})
    tries = fields.Int(required=True)
    last_status = fields.Int(required=True, allow_none=True)
    last_error = fields.Str(required=True, allow_none=True)
    created_at = fields.Str(required=True)
    closed_at = fields.Str(required=True, allow_none=True)
    next_try_at = fields.Str(required=True, allow_none=True)


class DeliveryPage(Schema):
    """A page of deliveries; `next` is the cursor of the page after it, null at the end."""

    items = fields.List(fields.Nested(DeliveryShown), required=True)
    next = fields.Str(required=True, allow_none=True)


class PlatformKeyList(Schema):
    """Public keys, as Standard Webhooks writes them."""

    keys = fields.List(
        fields.Str(metadata={"example": "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}), required=True
    )


@blp.route("/webhooks", methods=["POST"])
@blp.admits(scopes=("create:jobs",))
@blp.repeatable
@blp.refuses(400, f"A partner has at most {MOST_A_PARTNER} webhooks", "too-many-webhooks")
@blp.refuses(*_NO_PARTNER)
@blp.refuses(409, _ONCE, "secret-shown-once")
@blp.arguments(WebhookBody)
@blp.response(201, WebhookMade)
def create_webhook(body: dict[str, Any]) -> Any:
    """Register an address that is told of a partner's events.

    `run.completed`, `run.failed` (every other end; `status` says which) and `output_set.published`. Messages
    are signed as Standard Webhooks describes, with the secret of this answer, and repeated for a day until
    a 2xx answers. A repeat has the same `webhook-id`.
    """
    partner, secret = queries.visible_partner(body["partner"]), signing.new_secret()
    with transaction(services().engine) as connection:
        register = partial(
            webhooks.create,
            connection,
            services().sealer,
            partner=partner,
            url=body["url"],
            events=sorted(set(body["events"])),
            secret=secret,
            created_by=creator().client_id,
        )
        made = once(connection, lambda: str(register().id))
        if made.repeated:
            raise conflict(_ONCE, "secret-shown-once")
        webhook = webhooks.find(connection, made.reference, [partner])
    return {**_shown(webhook), "secret": secret}, {"Location": f"/v1/webhooks/{webhook.id}"}


@blp.route("/webhooks", methods=["GET"])
@blp.admits(scopes=("create:jobs",))
@blp.doc(parameters=[query("partner", "whose webhooks", required=True)])
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(*_NO_PARTNER)
@blp.response(200, WebhookList)
def list_webhooks() -> Any:
    """List a partner's webhooks, the oldest first, without their secrets."""
    partner = queries.partner()
    with transaction(services().engine) as connection:
        found = webhooks.of_partner(connection, partner)
    return {"items": [_shown(webhook) for webhook in found]}


@blp.route("/webhooks/<webhook_id>", methods=["DELETE"])
@blp.admits(scopes=("create:jobs",))
@blp.refuses(*_NO_UUID)
@blp.refuses(*_NOT_FOUND)
@blp.response(204)
def delete_webhook(webhook_id: str) -> None:
    """Delete a webhook: what was not delivered yet is dropped."""
    uid = job_uid(webhook_id)
    with transaction(services().engine) as connection:
        webhooks.delete(connection, uid, sorted(current_principal().partners))


@blp.route("/webhooks/<webhook_id>/deliveries", methods=["GET"])
@blp.admits(scopes=("create:jobs",))
@blp.doc(
    parameters=[
        query("limit", "1 to 1000, 100 if not given"),
        query("cursor", "`next` of the page before"),
    ]
)
@blp.refuses(*_NO_UUID)
@blp.refuses(*_NOT_FOUND)
@blp.response(200, DeliveryPage)
def list_webhook_deliveries(webhook_id: str) -> Any:
    """List what was sent to a webhook in the last two weeks, and what is still to be sent; newest first."""
    uid, limit, before = job_uid(webhook_id), pages.limit(queries.one("limit") or None), _before()
    partners = sorted(current_principal().partners)
    with transaction(services().engine) as connection:
        webhooks.find(connection, uid, partners)
        found = webhooks.progress(connection, uid, before, limit + 1)
    following = pages.encode([found[limit - 1].id]) if len(found) > limit else None
    return {"items": [_progress(each) for each in found[:limit]], "next": following}


@blp.route("/webhook-keys", methods=["GET"])
@blp.admits(anyone=True)
@blp.response(200, PlatformKeyList)
def list_webhook_keys() -> Any:
    """Give the public keys of what we send without a shared secret.

    A `notify_url` is called with a `v1a` signature by each of these keys: one that verifies is enough.
    """
    return {"keys": PlatformKeys(services().settings.sealing_keys).public()}


def _before() -> int:
    cursor = queries.one("cursor")
    [number] = pages.decode(cursor, 1) if cursor else [_END]
    if type(number) is not int or not 0 <= number <= _END:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return number


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "partner": webhook.partner,
        "url": webhook.url,
        "events": webhook.events,
        "created_at": rfc3339(webhook.created_at),
    }


def _progress(found: Progress) -> dict[str, Any]:
    closed_at = rfc3339(found.closed_at) if found.closed_at else None
    return {
        "id": webhooks.message_id(found.reference),
        "type": found.reference["event"],
        "run_id": found.reference["run"],
        "state": _state(found),
        "tries": found.tries,
        "last_status": found.last_status,
        "last_error": found.last_error,
        "created_at": rfc3339(found.created_at),
        "closed_at": closed_at,
        "next_try_at": None if closed_at else rfc3339(found.due_at),
    }


def _state(found: Progress) -> str:
    if found.closed_at is None:
        return "pending"
    return "given_up" if found.last_error else "delivered"
