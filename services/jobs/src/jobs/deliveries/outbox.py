"""The outbox: deliveries are recorded in the transaction that decides them and closed only by an answer.

Taking one moves its due time ahead, so that no transaction is open while it is being sent and a courier that
dies in between loses nothing: the delivery comes due again, and every receiver tolerates a repeat.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from common.database import fetch
from jobs.deliveries.tables import DELIVERY_COLUMNS, Delivery

HOLD_SECONDS = 20.0  # longer than a whole call may take
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
KEPT_DAYS = 14

_RECORD = text("INSERT INTO delivery (kind, reference) VALUES (:kind, CAST(:reference AS jsonb))")
_HOLD = f"""
    UPDATE delivery SET tries = delivery.tries + 1, due_at = now() + make_interval(secs => :hold)
    FROM due WHERE delivery.id = due.id
    RETURNING {DELIVERY_COLUMNS}
"""  # noqa: S608 (a constant list of columns)
_TAKE = text(f"""
    WITH due AS (
        SELECT next.id FROM unnest(CAST(:kinds AS text[])) AS wanted (kind) CROSS JOIN LATERAL (
            SELECT id FROM delivery
            WHERE closed_at IS NULL AND delivery.kind = wanted.kind AND due_at <= now()
            ORDER BY due_at LIMIT :most
            FOR UPDATE SKIP LOCKED
        ) AS next
    )
    {_HOLD}
""")  # noqa: S608 (our own constants, as below)
# Walks through the receivers that wait for something: a backlog of one costs the others nothing.
_TAKE_FAIRLY = text(f"""
    WITH RECURSIVE receiver (id) AS (
        (SELECT webhook_id FROM delivery WHERE closed_at IS NULL AND webhook_id IS NOT NULL
         ORDER BY webhook_id LIMIT 1)
        UNION ALL
        SELECT next.webhook_id FROM receiver CROSS JOIN LATERAL (
            SELECT webhook_id FROM delivery WHERE closed_at IS NULL AND webhook_id > receiver.id
            ORDER BY webhook_id LIMIT 1
        ) AS next
    ), candidate AS (
        SELECT next.id, next.place FROM receiver CROSS JOIN LATERAL (
            SELECT id, row_number() OVER (ORDER BY due_at) AS place FROM delivery
            WHERE closed_at IS NULL AND webhook_id = receiver.id AND due_at <= now()
            ORDER BY due_at
            LIMIT greatest(0, :each - coalesce(CAST(CAST(:busy AS jsonb) ->> receiver.id::text AS int), 0))
        ) AS next
        ORDER BY next.place, random() LIMIT :most
    ), due AS (
        SELECT id FROM delivery
        WHERE id IN (SELECT id FROM candidate) AND closed_at IS NULL AND due_at <= now()
        FOR UPDATE SKIP LOCKED
    )
    {_HOLD}
""")  # noqa: S608
CLOSE = """
    UPDATE delivery SET closed_at = now(), last_status = :status, last_error = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND closed_at IS NULL
"""
_CLOSE = text(CLOSE)
_POSTPONE = text("""
    UPDATE delivery SET due_at = now() + make_interval(secs => :pause), last_status = :status,
        last_error = :error
    WHERE id = :id AND closed_at IS NULL
""")
_GIVE_UP = text("""
    UPDATE delivery SET closed_at = now(), last_status = :status, last_error = :error
    WHERE id = :id AND closed_at IS NULL
""")
_FORGET = text("""
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE closed_at < now() - make_interval(days => :days)
        ORDER BY closed_at LIMIT 5000)
""")
_BACKLOG = text("SELECT kind, count(*) AS open FROM delivery WHERE closed_at IS NULL GROUP BY kind")


def record(connection: Connection, kind: str, reference: dict[str, Any]) -> None:
    """Note that something must go out. Nudge the deliveries after the commit."""
    connection.execute(_RECORD, {"kind": kind, "reference": json.dumps(reference)})


def take(
    connection: Connection, kinds: Sequence[str], most: int, hold_seconds: float = HOLD_SECONDS
) -> list[Delivery]:
    """Take what is due, at most so many of each kind; until the hold is over nobody else gets it."""
    values = {"kinds": list(kinds), "most": most, "hold": hold_seconds}
    return _taken(connection, _TAKE, values)


def take_fairly(
    connection: Connection, most: int, each: int, busy: Mapping[UUID | None, int], hold_seconds: float
) -> list[Delivery]:
    """Take what is due to webhooks: to each not more than `each` less what is on its way already (`busy`)."""
    flying = json.dumps({str(webhook): count for webhook, count in busy.items()})
    return _taken(
        connection, _TAKE_FAIRLY, {"most": most, "each": each, "busy": flying, "hold": hold_seconds}
    )


def _taken(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> list[Delivery]:
    return [Delivery(**row) for row in fetch(connection, statement, values)]


def close(connection: Connection, ids: Sequence[int], status: int) -> None:
    """The receiver has answered: nothing more is sent."""
    if ids:
        connection.execute(_CLOSE, {"ids": list(ids), "status": status})


def postpone(
    connection: Connection, delivery: Delivery, status: int | None, error: str, pause: float
) -> None:
    """It did not work: try again after a pause."""
    values = {"id": delivery.id, "pause": pause, "status": status, "error": error[:500]}
    connection.execute(_POSTPONE, values)


def give_up(connection: Connection, delivery: Delivery, status: int | None, error: str) -> None:
    """It did not work and will not be tried again; the error stays with it."""
    connection.execute(_GIVE_UP, {"id": delivery.id, "status": status, "error": error[:500]})


def pause_seconds(tries: int, chance: Callable[[], float] = random.random) -> float:
    """Compute the pause after a number of failed tries: doubling, bounded, ± 20 %."""
    plain = FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 30)
    return min(plain, LONGEST_PAUSE_SECONDS) * (0.8 + 0.4 * chance())


def backlog(connection: Connection) -> dict[str, int]:
    """Count what still must go out, by kind."""
    return {row.kind: row.open for row in connection.execute(_BACKLOG)}


def forget_closed(connection: Connection) -> None:
    """Drop deliveries that were answered KEPT_DAYS ago, some at a time."""
    connection.execute(_FORGET, {"days": KEPT_DAYS})
