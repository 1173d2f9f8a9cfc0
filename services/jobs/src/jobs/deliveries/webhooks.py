"""Webhooks: which addresses are told of what happens to a partner's runs.

Events are recorded as deliveries with what decides them, one for each webhook that asked for them.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from common.database import lock
from common.sealing import Sealer
from jobs.deliveries.tables import PROGRESS_COLUMNS, WEBHOOK_COLUMNS, Progress, Webhook

WEBHOOK = "webhook"
RUN_COMPLETED = "run.completed"
RUN_FAILED = "run.failed"  # every other end; `status` says which
SET_PUBLISHED = "output_set.published"
EVENTS = (RUN_COMPLETED, RUN_FAILED, SET_PUBLISHED)
MOST_A_PARTNER = 20

# A part of the one statement that moves runs: `moved` are those that end (engine/moves.py).
RECORD_ENDS = f"""
    INSERT INTO delivery (kind, webhook_id, reference)
    SELECT '{WEBHOOK}', webhook.id,
           jsonb_build_object('id', gen_random_uuid(), 'event', ended.event, 'run', ended.id)
    FROM (
        SELECT id, partner,
               CASE status WHEN 'completed' THEN '{RUN_COMPLETED}' ELSE '{RUN_FAILED}' END AS event
        FROM moved
    ) AS ended
    JOIN webhook ON webhook.partner = ended.partner AND webhook.deleted_at IS NULL
                AND webhook.events ? ended.event
"""  # noqa: S608 (our own constants)
# A part of the one statement that keeps answers: `stored` are the runs they are about (outcomes.py).
RECORD_PUBLISHED = f"""
    INSERT INTO delivery (kind, webhook_id, reference)
    SELECT '{WEBHOOK}', webhook.id,
           jsonb_build_object('id', gen_random_uuid(), 'event', '{SET_PUBLISHED}', 'run', stored.id,
                              'output_set', published.output_set)
    FROM stored CROSS JOIN LATERAL jsonb_array_elements(stored.output_sets) AS published (output_set)
    JOIN webhook ON webhook.partner = stored.partner AND webhook.deleted_at IS NULL
                AND webhook.events ? '{SET_PUBLISHED}'
    RETURNING delivery.id
"""  # noqa: S608 (our own constants)

_COUNT = text("SELECT count(*) FROM webhook WHERE partner = :partner AND deleted_at IS NULL")
_SECRETS = text("SELECT id, secret FROM webhook ORDER BY id FOR UPDATE")
_RESEAL = text("UPDATE webhook SET secret = :sealed WHERE id = :id")
_CREATE = text(f"""
    INSERT INTO webhook (id, partner, url, events, secret, created_by)
    VALUES (:id, :partner, :url, CAST(:events AS jsonb), :secret, :created_by)
    RETURNING {WEBHOOK_COLUMNS}
""")  # noqa: S608 (a constant list of columns, as below)
_LIST = text(f"""
    SELECT {WEBHOOK_COLUMNS} FROM webhook WHERE partner = :partner AND deleted_at IS NULL ORDER BY id
""")  # noqa: S608
_FIND = text(f"""
    SELECT {WEBHOOK_COLUMNS} FROM webhook
    WHERE id = :id AND partner = ANY(:partners) AND deleted_at IS NULL
""")  # noqa: S608
_DELETE = text("""
    UPDATE webhook SET deleted_at = now(), secret = ''
    WHERE id = :id AND partner = ANY(:partners) AND deleted_at IS NULL RETURNING id
""")
_DROP = text("""
    UPDATE delivery SET closed_at = now(), last_error = 'the webhook was deleted'
    WHERE webhook_id = :id AND closed_at IS NULL
""")
_PROGRESS = text(f"""
    SELECT {PROGRESS_COLUMNS} FROM delivery
    WHERE webhook_id = :id AND id < :before ORDER BY id DESC LIMIT :most
""")  # noqa: S608


class WebhookNotFound(Exception):
    """There is no such webhook, or it is another partner's."""

    def __init__(self, webhook: object) -> None:
        super().__init__(f"Webhook not found: {webhook}")


class TooManyWebhooks(Exception):
    """The partner has MOST_A_PARTNER webhooks."""

    def __init__(self) -> None:
        super().__init__(f"A partner has at most {MOST_A_PARTNER} webhooks")


def context(webhook_id: UUID) -> str:
    """Name the place a secret is sealed for."""
    return f"webhook:{webhook_id}"


def create(
    connection: Connection,
    sealer: Sealer,
    *,
    partner: str,
    url: str,
    events: Sequence[str],
    secret: str,
    created_by: str,
) -> Webhook:
    """Register an address; raises TooManyWebhooks."""
    lock(connection, "webhooks", partner)
    if connection.execute(_COUNT, {"partner": partner}).scalar_one() >= MOST_A_PARTNER:
        raise TooManyWebhooks
    webhook_id = ids.new_ordered_id()
    values = {"id": webhook_id, "partner": partner, "url": url, "events": json.dumps(list(events))}
    values |= {"secret": sealer.seal(secret, context(webhook_id)), "created_by": created_by}
    return Webhook(**connection.execute(_CREATE, values).one()._mapping)


def reseal(connection: Connection, sealer: Sealer) -> int:
    """Seal every secret with the first key; raises CannotUnseal."""
    resealed = 0
    for row in connection.execute(_SECRETS).all():
        stored = row.secret
        sealed = sealer.reseal(stored, context(row.id))
        if sealed != stored:
            connection.execute(_RESEAL, {"sealed": sealed, "id": row.id})
            resealed += 1
    return resealed


def of_partner(connection: Connection, partner: str) -> list[Webhook]:
    """List a partner's webhooks, the oldest first."""
    return [Webhook(**row._mapping) for row in connection.execute(_LIST, {"partner": partner})]


def delete(connection: Connection, webhook_id: UUID, partners: Sequence[str]) -> None:
    """Forget an address and its secret; nothing more goes there. Raises WebhookNotFound."""
    values = {"id": webhook_id, "partners": list(partners)}
    if connection.execute(_DELETE, values).one_or_none() is None:
        raise WebhookNotFound(webhook_id)
    connection.execute(_DROP, {"id": webhook_id})


def find(connection: Connection, webhook_id: UUID | str, partners: Sequence[str]) -> Webhook:
    """Find a webhook of these partners; raises WebhookNotFound."""
    row = connection.execute(_FIND, {"id": webhook_id, "partners": list(partners)}).one_or_none()
    if row is None:
        raise WebhookNotFound(webhook_id)
    return Webhook(**row._mapping)


def progress(connection: Connection, webhook_id: UUID, before: int, most: int) -> list[Progress]:
    """List deliveries to a webhook, the newest first."""
    rows = connection.execute(_PROGRESS, {"id": webhook_id, "before": before, "most": most})
    return [Progress(**row._mapping) for row in rows]


def message_id(reference: dict[str, Any]) -> str:
    """Name what is sent, the same over all tries: to a webhook, or of a wait."""
    return f"msg_{reference.get('id') or reference['trigger_id']}"
