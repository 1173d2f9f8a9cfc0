"""The outbox: deliveries are recorded in the transaction that decides them and closed only by an answer.

Taking one moves its due time ahead, so that no transaction is open while it is being sent and a courier that
dies in between loses nothing: the delivery comes due again, and every receiver tolerates a repeat.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from jobs.deliveries.tables import DELIVERY_COLUMNS, Delivery

HOLD_SECONDS = 20.0  # longer than a whole call may take
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
KEPT_DAYS = 14

_RECORD = text("INSERT INTO delivery (kind, reference) VALUES (:kind, CAST(:reference AS jsonb))")
_TAKE = text(f"""
    WITH due AS (
        SELECT id FROM delivery
        WHERE closed_at IS NULL AND due_at <= now() AND kind = ANY(:kinds)
        ORDER BY due_at LIMIT :most
        FOR UPDATE SKIP LOCKED
    )
    UPDATE delivery SET tries = delivery.tries + 1, due_at = now() + make_interval(secs => :hold)
    FROM due WHERE delivery.id = due.id
    RETURNING {DELIVERY_COLUMNS}
""")  # noqa: S608 (a constant list of columns)
_CLOSE = text("""
    UPDATE delivery SET closed_at = now(), last_status = :status, last_error = NULL
    WHERE id = ANY(:ids) AND closed_at IS NULL
""")
_POSTPONE = text("""
    UPDATE delivery SET due_at = now() + make_interval(secs => :pause), last_status = :status,
        last_error = :error
    WHERE id = :id AND closed_at IS NULL
""")
_FORGET = text("""
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE closed_at < now() - make_interval(days => :days)
        ORDER BY closed_at LIMIT 5000)
""")
_BACKLOG = text("SELECT count(*) FROM delivery WHERE closed_at IS NULL")


def record(connection: Connection, kind: str, reference: dict[str, Any]) -> None:
    """Note that something must go out. Nudge the deliveries after the commit."""
    connection.execute(_RECORD, {"kind": kind, "reference": json.dumps(reference)})


def take(connection: Connection, kinds: Sequence[str], most: int) -> list[Delivery]:
    """Take what is due; until HOLD_SECONDS have passed nobody else gets it."""
    values = {"kinds": list(kinds), "most": most, "hold": HOLD_SECONDS}
    return [Delivery(**row) for row in connection.execute(_TAKE, values).mappings()]


def close(connection: Connection, ids: Sequence[int], status: int) -> None:
    """The receiver has answered: nothing more is sent."""
    if ids:
        connection.execute(_CLOSE, {"ids": list(ids), "status": status})


def postpone(connection: Connection, delivery: Delivery, status: int | None, error: str) -> None:
    """It did not work: try again after a pause that grows."""
    pause = pause_seconds(delivery.tries)
    values = {"id": delivery.id, "pause": pause, "status": status, "error": error[:500]}
    connection.execute(_POSTPONE, values)


def pause_seconds(tries: int, chance: Callable[[], float] = random.random) -> float:
    """Compute the pause after a number of failed tries: doubling, bounded, ± 20 %."""
    plain = FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 30)
    return min(plain, LONGEST_PAUSE_SECONDS) * (0.8 + 0.4 * chance())


def backlog(connection: Connection) -> int:
    """Count what still must go out."""
    return int(connection.execute(_BACKLOG).scalar_one())


def forget_closed(connection: Connection) -> None:
    """Drop deliveries that were answered KEPT_DAYS ago, some at a time."""
    connection.execute(_FORGET, {"days": KEPT_DAYS})
