"""Rows of the table `delivery` as values."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Something that must go out. `reference` says what; the message is written when it is sent."""

    id: int
    kind: str
    reference: dict[str, Any]
    tries: int  # begun so far, the one at hand included
    created_at: datetime


DELIVERY_COLUMNS = ", ".join(f"delivery.{field.name}" for field in fields(Delivery))
