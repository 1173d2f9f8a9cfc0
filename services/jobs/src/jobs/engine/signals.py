"""Signals: outside events that runs wait for.

The sends of a partner's key stand in a line, and each is consumed by one wait. Whoever sends or waits takes
the key's lock first, then the run's row: neither can miss the other, and a key never has both a wait and a
signal nobody consumed. A receipt is one transaction: the signal is consumed and kept as a checkpoint, the
wait is gone, the run goes on.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from common.clock import rfc3339
from common.database import lock
from jobs.deliveries import outbox
from jobs.engine import fence, line, moves, receipts
from jobs.engine.fence import GUARD, RunIsNotExecuting
from jobs.engine.moves import Step
from jobs.engine.receipts import Receipt, Waiter
from jobs.engine.states import Status
from jobs.engine.tables import RUN_COLUMNS, Run, columns, run_of

KEPT_DAYS = 7
DEFAULT_SECONDS = 3600
LONGEST_SECONDS = 30 * 24 * 3600
NOTIFY = "notify"  # the kind of delivery that tells a URL of a wait


class KeyIsWaitedFor(Exception):
    """Another run of the partner waits for this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Another run waits for this event: {key}")
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a run wants to wait for."""

    key: str
    timeout_seconds: float = DEFAULT_SECONDS
    notify_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A run waits for a key: a row of `wait`."""

    id: UUID  # the trigger, to clients
    run_id: UUID
    key: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An event that was sent, or had been. `resumed` is the run that waited for it."""

    id: int
    sent_at: datetime
    resumed: Run | None


_WAIT_COLUMNS = columns(Wait, "wait")

_LOCK = text(f"SELECT {RUN_COLUMNS} FROM run WHERE {GUARD} FOR UPDATE")  # noqa: S608 (constants, here and below)
_WAITING_BY = text(f"SELECT {_WAIT_COLUMNS} FROM wait WHERE run_id = :run AND lease = :lease AND key = :key")  # noqa: S608
_WAITING_AS = text(f"SELECT {_WAIT_COLUMNS} FROM wait WHERE id = :trigger AND run_id = :run")  # noqa: S608
_LIST = text(f"""
    SELECT {_WAIT_COLUMNS} FROM wait WHERE partner = :partner AND id > :after ORDER BY id LIMIT :most
""")  # noqa: S608
_BEGIN = text(f"""
    INSERT INTO wait (id, run_id, lease, partner, key, notify_url, expires_at)
    VALUES (:trigger, :run, :lease, :partner, :key, :notify_url, now() + make_interval(secs => :timeout))
    ON CONFLICT (partner, key) DO NOTHING
    RETURNING {_WAIT_COLUMNS}
""")  # noqa: S608
# A run that ended meanwhile has no wait any more: the row's lock makes sure.
_WAITER = text("""
    SELECT wait.id, wait.run_id, wait.lease, wait.partner, wait.key, run.caller
    FROM wait JOIN run ON run.id = wait.run_id
    WHERE wait.partner = :partner AND wait.key = :key AND run.status = 'waiting' AND run.lease = wait.lease
    FOR UPDATE OF run
""")

_NEWEST = text("""
    SELECT id, created_at AS sent_at, payload IS NOT DISTINCT FROM CAST(:payload AS jsonb) AS is_equal
    FROM signal WHERE partner = :partner AND key = :key AND consumed_at IS NULL ORDER BY id DESC LIMIT 1
""")
_SEND = text("""
    INSERT INTO signal (partner, key, payload) VALUES (:partner, :key, CAST(:payload AS jsonb))
    RETURNING id, created_at AS sent_at
""")
# What a live run received may be asked for again.
_FORGET = text("""
    DELETE FROM signal WHERE id IN (
        SELECT signal.id FROM signal LEFT JOIN run ON run.id = signal.consumed_by
        WHERE signal.created_at < now() - make_interval(days => :days)
          AND (run.id IS NULL OR run.finished_at IS NOT NULL)
        ORDER BY signal.created_at LIMIT 5000)
""")

_WAIT = Step(
    target=Status.WAITING,
    where="id = :id AND lease = :lease",
    by="wait",
    changes="heartbeat_at = now(), deadline_at = NULL",
)
_COME_BACK = Step(
    target=Status.QUEUED,
    where="id = :id AND lease = :lease",
    by="event",
    origins=frozenset({Status.WAITING}),
    changes="claim_id = NULL, queued_at = now(), due_at = now(),"
    " expires_at = now() + make_interval(secs => run.line_seconds)",
)
_GO_ON = Step(
    target=Status.EXECUTING,
    where="id = :id AND lease = :lease",
    by="event",
    origins=frozenset({Status.WAITING}),
    changes="heartbeat_at = now(), deadline_at = now() + make_interval(secs => run.timeout_seconds)",
)


def wait(connection: Connection, run_id: UUID, lease: int, wish: Wish) -> Wait | Receipt:
    """Receive the next event of a key, or begin to wait for it; raises RunRefused and KeyIsWaitedFor.

    What the run received of the key before and no wait of this lease was answered with comes first, so that
    code which is run again gets again what it got. Repeated while it waits, the answer is the same. Nudge the
    run, the line and the deliveries after the commit.
    """
    partner = fence.check(line.find(connection, run_id), run_id, lease).partner
    lock(connection, "signal", partner, wish.key)
    row = connection.execute(_LOCK, {"id": run_id, "lease": lease}).mappings().one_or_none()
    if row is None:
        raise fence.refusal(connection, run_id, lease)
    run = run_of(row)
    if run.status is Status.WAITING:
        return _the_same(connection, run, wish.key)
    waiter = Waiter(
        id=ids.new_ordered_id(),
        run_id=run.id,
        lease=lease,
        partner=partner,
        key=wish.key,
        caller=run.caller,
    )
    return (
        receipts.answer_again(connection, waiter)
        or receipts.consume(connection, waiter, answered=True)
        or _begin(connection, waiter, wish)
    )


def _the_same(connection: Connection, run: Run, key: str) -> Wait:
    values = {"run": run.id, "lease": run.lease, "key": key}
    row = connection.execute(_WAITING_BY, values).mappings().one_or_none()
    if row is None:
        raise RunIsNotExecuting(run.id)  # it waits for something else
    return Wait(**row)


def _begin(connection: Connection, waiter: Waiter, wish: Wish) -> Wait:
    values = {
        "trigger": waiter.id,
        "run": waiter.run_id,
        "lease": waiter.lease,
        "partner": waiter.partner,
        "key": waiter.key,
        "notify_url": wish.notify_url,
        "timeout": wish.timeout_seconds,
    }
    row = connection.execute(_BEGIN, values).mappings().one_or_none()
    if row is None:
        raise KeyIsWaitedFor(wish.key)
    begun = Wait(**row)
    moves.move(connection, _WAIT, {"id": waiter.run_id, "lease": waiter.lease})
    if wish.notify_url is not None:
        outbox.record(connection, NOTIFY, _notice(begun, wish.notify_url))
    return begun


def _notice(begun: Wait, url: str) -> dict[str, str]:
    return {
        "run": str(begun.run_id),
        "event_key": begun.key,
        "trigger_id": str(begun.id),
        "url": url,
        "expires_at": rfc3339(begun.expires_at),
    }


def answer(connection: Connection, run_id: UUID, lease: int, trigger_id: UUID) -> Wait | Receipt:
    """Find what became of a wait, for who repeats it by its id; raises RunRefused."""
    fence.check(line.find(connection, run_id), run_id, lease)
    row = connection.execute(_WAITING_AS, {"run": run_id, "trigger": trigger_id}).mappings().one_or_none()
    found = Wait(**row) if row else receipts.answer_as(connection, run_id, lease, trigger_id)
    if found is None:
        raise RunIsNotExecuting(run_id)
    return found


def send(connection: Connection, partner: str, key: str, payload: Any, *, keyed: bool) -> Sent:
    """Send an event: the run that waits for it receives it, or it stands in line for who will.

    `keyed`: the sender knows its repeats by an Idempotency-Key. Otherwise an event that equals the newest in
    line is that one, repeated. Nudge the resumed run and the line after the commit.
    """
    lock(connection, "signal", partner, key)
    values = {"partner": partner, "key": key, "payload": json.dumps(payload)}
    newest = None if keyed else connection.execute(_NEWEST, values).one_or_none()
    if newest is not None and newest.is_equal:
        return Sent(id=newest.id, sent_at=newest.sent_at, resumed=None)
    sent = connection.execute(_SEND, values).one()
    row = connection.execute(_WAITER, values).mappings().one_or_none()
    resumed = _resume(connection, Waiter(**row)) if row else None
    return Sent(id=sent.id, sent_at=sent.sent_at, resumed=resumed)


def _resume(connection: Connection, waiter: Waiter) -> Run:
    receipts.consume(connection, waiter, answered=False)
    step = _GO_ON if waiter.caller else _COME_BACK
    return moves.move(connection, step, {"id": waiter.run_id, "lease": waiter.lease})[0]


def waits(connection: Connection, partner: str, after: UUID, most: int) -> list[Wait]:
    """List a partner's waits by id, which is the order they began in."""
    values = {"partner": partner, "after": after, "most": most}
    return [Wait(**row) for row in connection.execute(_LIST, values).mappings()]


def forget_old(connection: Connection) -> None:
    """Drop events sent KEPT_DAYS ago, some at a time; what a live run received stays with it."""
    connection.execute(_FORGET, {"days": KEPT_DAYS})
