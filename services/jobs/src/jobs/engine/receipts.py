"""Receipts: what runs received, and to whom it is given.

An event is consumed once, by one wait. Its payload goes out with the answer to that wait, or, where the run
had to be brought back, with the next claim and its repeats (a caller's run: with its heartbeats). A wait for
the same key by a later lease is answered with it again, once a lease.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from common.clock import rfc3339
from common.database import fetch
from jobs.engine import memory

SOURCE = "event"  # of the checkpoints that hold what was received


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """Who consumes a signal: a wait that stands, or one that need not begin."""

    id: UUID
    run_id: UUID
    lease: int
    partner: str
    key: str
    caller: bool


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A run received an event: a consumed row of `signal`."""

    trigger_id: UUID
    key: str
    payload: Any
    received_at: datetime


_COLUMNS = "signal.trigger_id, signal.key, signal.payload, signal.consumed_at AS received_at"

_CONSUME = text(f"""
    UPDATE signal SET consumed_at = clock_timestamp(), consumed_by = :run, trigger_id = :trigger,
        answered_lease = :answered
    WHERE id = (SELECT id FROM signal WHERE partner = :partner AND key = :key AND consumed_at IS NULL
                ORDER BY id LIMIT 1)
    RETURNING {_COLUMNS}
""")  # noqa: S608 (constants, here and below)
_ANSWER_AGAIN = text(f"""
    UPDATE signal SET answered_lease = :lease
    WHERE id = (SELECT id FROM signal WHERE consumed_by = :run AND key = :key
                AND coalesce(answered_lease, 0) < :lease ORDER BY id LIMIT 1)
    RETURNING {_COLUMNS}
""")  # noqa: S608
_ANSWER_AS = text(f"""
    UPDATE signal SET answered_lease = :lease WHERE consumed_by = :run AND trigger_id = :trigger
    RETURNING {_COLUMNS}
""")  # noqa: S608
_FOR_CLAIM = text(f"""
    UPDATE signal SET claimed_lease = :lease
    WHERE consumed_by = :run
      AND (claimed_lease = :lease OR (claimed_lease IS NULL AND answered_lease IS NULL))
    RETURNING {_COLUMNS}
""")  # noqa: S608
_FOR_HEARTBEAT = text(f"""
    SELECT {_COLUMNS} FROM signal JOIN run ON run.id = signal.consumed_by
    WHERE run.id = :run AND run.status = 'executing' AND signal.answered_lease IS NULL
      AND signal.consumed_at = (SELECT max(consumed_at) FROM signal WHERE consumed_by = :run)
""")  # noqa: S608


def consume(connection: Connection, waiter: Waiter, *, answered: bool) -> Receipt | None:
    """Take the first event of the key's line and keep it as a checkpoint; none when nothing is there.

    The caller holds the key's lock and the run's row. `answered`: the wait itself is answered with it.
    """
    values = {
        "trigger": waiter.id,
        "run": waiter.run_id,
        "partner": waiter.partner,
        "key": waiter.key,
        "answered": waiter.lease if answered else None,
    }
    received = _receipt(connection, _CONSUME, values)
    if received is not None:
        memory.save_checkpoint(connection, waiter.run_id, waiter.lease, received.payload, SOURCE)
    return received


def answer_again(connection: Connection, waiter: Waiter) -> Receipt | None:
    """Answer a wait with the first event of its key that the run has and no wait of this lease was told."""
    values = {"run": waiter.run_id, "lease": waiter.lease, "key": waiter.key}
    return _receipt(connection, _ANSWER_AGAIN, values)


def answer_as(connection: Connection, run_id: UUID, lease: int, trigger_id: UUID) -> Receipt | None:
    """Answer a repeated wait with what it received."""
    values = {"run": run_id, "lease": lease, "trigger": trigger_id}
    return _receipt(connection, _ANSWER_AS, values)


def for_claim(connection: Connection, run_id: UUID, lease: int) -> Receipt | None:
    """Give the event that brought the run back to the first claim after it, and to its repeats."""
    return _receipt(connection, _FOR_CLAIM, {"run": run_id, "lease": lease})


def for_heartbeat(connection: Connection, run_id: UUID) -> Receipt | None:
    """Find the event a caller's run goes on with, until a wait is answered with it or another event comes."""
    return _receipt(connection, _FOR_HEARTBEAT, {"run": run_id})


def document(received: Receipt) -> dict[str, Any]:
    """Write an event as a claim and a heartbeat answer it."""
    return {
        "event_key": received.key,
        "trigger_id": str(received.trigger_id),
        "payload": received.payload,
        "received_at": rfc3339(received.received_at),
    }


def _receipt(connection: Connection, statement: TextClause, values: dict[str, Any]) -> Receipt | None:
    rows = fetch(connection, statement, values)
    return Receipt(**rows[0]) if rows else None
