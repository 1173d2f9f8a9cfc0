"""Rows of the tables `webhook` and `delivery` as values."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Something that must go out. `reference` says what; the message is written when it is sent."""

    id: int
    kind: str
    reference: dict[str, Any]
    webhook_id: UUID | None
    tries: int  # begun so far, the one at hand included
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address of a partner that is told of events. Its secret stays in the table, sealed."""

    id: UUID
    partner: str
    url: str
    events: list[str]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a delivery to a webhook has come."""

    id: int
    reference: dict[str, Any]
    tries: int
    created_at: datetime
    due_at: datetime
    last_status: int | None
    last_error: str | None
    closed_at: datetime | None


def _columns(cls: type[Any], table: str) -> str:
    return ", ".join(f"{table}.{field.name}" for field in fields(cls))


DELIVERY_COLUMNS = _columns(Delivery, "delivery")
WEBHOOK_COLUMNS = _columns(Webhook, "webhook")
PROGRESS_COLUMNS = _columns(Progress, "delivery")
