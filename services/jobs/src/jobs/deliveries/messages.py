"""What webhooks and notify URLs are told, written at the moment of sending."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from common.clock import rfc3339
from jobs.deliveries import webhooks
from jobs.deliveries.tables import Delivery
from jobs.deliveries.webhooks import SET_PUBLISHED, WEBHOOK

NOTIFY = "notify"
EVENT_AWAITED = "event.awaited"

_TOLD = text("""
    SELECT delivery.id AS delivery, delivery.reference, delivery.created_at,
           webhook.id AS webhook, webhook.url, webhook.secret,
           run.id, run.number, run.job_id, run.partner, run.status, run.attempt, run.error, run.error_class,
           run.finished_at
    FROM delivery
    JOIN webhook ON webhook.id = delivery.webhook_id AND webhook.deleted_at IS NULL
    JOIN run ON run.id = CAST(delivery.reference ->> 'run' AS uuid)
    WHERE delivery.id = ANY(:deliveries)
""")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message and where it goes. Without a webhook it is signed with our own keys."""

    id: str
    url: str
    body: str
    webhook: UUID | None = None
    sealed_secret: str = field(default="", repr=False)
    expires_at: datetime | None = None  # nobody wants it any more


def write(connection: Connection, deliveries: Sequence[Delivery]) -> dict[int, Message]:
    """Write the message of each delivery, by its id. One whose webhook or run is gone has none."""
    to_webhooks = [delivery.id for delivery in deliveries if delivery.kind == WEBHOOK]
    rows = connection.execute(_TOLD, {"deliveries": to_webhooks}).mappings() if to_webhooks else ()
    told = {row["delivery"]: _of_webhook(row) for row in rows}
    return told | {delivery.id: _of_wait(delivery) for delivery in deliveries if delivery.kind == NOTIFY}


def _of_webhook(row: RowMapping) -> Message:
    reference = row["reference"]
    data = _published(row) if reference["event"] == SET_PUBLISHED else _ended(row)
    message_id = webhooks.message_id(reference)
    return Message(
        id=message_id,
        url=row["url"],
        body=_body(message_id, reference["event"], row["created_at"], data),
        webhook=row["webhook"],
        sealed_secret=row["secret"],
    )


def _run(row: RowMapping) -> dict[str, Any]:
    job = {"job_id": str(row["job_id"]), "partner": row["partner"]}
    return {"run_id": str(row["id"]), "number": row["number"], **job}


def _ended(row: RowMapping) -> dict[str, Any]:
    return {
        **_run(row),
        "status": row["status"],
        "attempt": row["attempt"],
        "error": row["error"],
        "error_class": row["error_class"],
        "finished_at": rfc3339(row["finished_at"]),
    }


def _published(row: RowMapping) -> dict[str, Any]:
    return {**_run(row), "output_set": row["reference"]["output_set"]}


def _of_wait(delivery: Delivery) -> Message:
    told = delivery.reference
    message_id = webhooks.message_id(told)
    data = {"run_id": told["run"], **{key: told[key] for key in ("event_key", "trigger_id", "expires_at")}}
    return Message(
        id=message_id,
        url=told["url"],
        body=_body(message_id, EVENT_AWAITED, delivery.created_at, data),
        expires_at=datetime.fromisoformat(told["expires_at"]),
    )


def _body(message_id: str, event: str, created_at: datetime, data: dict[str, Any]) -> str:
    return json.dumps({"id": message_id, "type": event, "created_at": rfc3339(created_at), "data": data})
