"""The audit: who managed what, when and from where. Rows are only ever added."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

_RECORD = text("""
    INSERT INTO audit (actor, action, subject, data)
    VALUES (:actor, :action, :subject, CAST(:data AS jsonb))
""")
_PAGE = text("""
    SELECT id, at, actor, action, subject, data FROM audit
    WHERE id < :before ORDER BY id DESC LIMIT :most
""")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts, and from where: a client and its issuer, or a person at a command line."""

    name: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Act:
    """A row of the audit."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    data: Mapping[str, Any]


def record(connection: Connection, actor: Actor, action: str, subject: str, **data: Any) -> None:
    """Note an act in the transaction that does it. `data` holds no secret and nothing of a student."""
    noted = json.dumps({"from": actor.place, **data})
    connection.execute(_RECORD, {"actor": actor.name, "action": action, "subject": subject, "data": noted})


def newest(connection: Connection, before: int, most: int) -> list[Act]:
    """List acts, newest first, older than number `before`."""
    return [Act(**row._mapping) for row in connection.execute(_PAGE, {"before": before, "most": most})]
