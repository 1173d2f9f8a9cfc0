"""The audit: who managed what, when and from where. Rows are only ever added."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

_RECORD = text("""
    INSERT INTO gateway.audit (actor, action, subject, data)
    VALUES (:actor, :action, :subject, CAST(:data AS jsonb))
""")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts, and from where: a principal and its address, or a person at a command line."""

    name: str
    place: str


def record(connection: Connection, actor: Actor, action: str, subject: str, **data: Any) -> None:
    """Note an act in the transaction that does it. `data` holds no secret."""
    noted = json.dumps({"from": actor.place, **data})
    connection.execute(_RECORD, {"actor": actor.name, "action": action, "subject": subject, "data": noted})
