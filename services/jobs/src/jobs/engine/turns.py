"""Turns: who is next, and the short window of turns that stands in Redis.

Keys in Redis:
    jobs:line:<pool>             list of turns {"v", "run", "lease", "ticket", "traceparent"}; executors BLPOP
    jobs:executor:<pool>:<name>  presence of an executor, expires after 30 s
    jobs:nudge                   channel: "line", "deliveries", "run:<id>"

Redis may lose all of it at any moment: `compare` finds out and puts runs back in line.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import Connection, text

from common.database import fetch, lock_number
from jobs.engine import moves
from jobs.engine.moves import Step
from jobs.engine.nudges import NoNudge, Nudge, RedisNudge
from jobs.engine.run_tokens import TICKET_SECONDS, Signer
from jobs.engine.states import Status
from jobs.engine.tables import Run

__all__ = ["NoNudge", "Nudge", "RedisNudge", "compare", "dequeue", "push", "window"]

SMALLEST_WINDOW = 8
MOST_TURNS_LOST = 500  # a minute apart in the end: more than eight hours
TICKET_RENEWAL = timedelta(seconds=TICKET_SECONDS - 600)
LINE = "jobs:line:"
EXECUTOR = "jobs:executor:"
_LINE_LOCK = lock_number("jobs", "line")

_POOLS = text("""
    WITH RECURSIVE lock AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock(:number) AS is_ours
    ), pools AS (
        (SELECT pool FROM run WHERE status = 'queued' ORDER BY pool LIMIT 1)
        UNION ALL
        SELECT (SELECT run.pool FROM run WHERE run.status = 'queued' AND run.pool > pools.pool
                ORDER BY run.pool LIMIT 1)
        FROM pools WHERE pools.pool IS NOT NULL
    )
    SELECT pool FROM pools CROSS JOIN lock WHERE pool IS NOT NULL AND is_ours
""")

# Each partner's own next runs, then the partners in turn: who has fewer runs under way goes first. The walk
# from partner to partner is a skip scan over the index run_line: its cost is that of the partners in line.
_NEXT = text("""
    WITH RECURSIVE room AS (
        SELECT greatest(:window - count(*), 0) AS places FROM run WHERE status = 'dequeued' AND pool = :pool
    ), in_line AS (
        (SELECT partner FROM run WHERE status = 'queued' AND pool = :pool ORDER BY partner LIMIT 1)
        UNION ALL
        SELECT (SELECT run.partner FROM run
                WHERE run.status = 'queued' AND run.pool = :pool AND run.partner > in_line.partner
                ORDER BY run.partner LIMIT 1)
        FROM in_line WHERE in_line.partner IS NOT NULL
    ), under_way AS (
        SELECT partner, count(*) AS runs FROM run
        WHERE status IN ('dequeued', 'executing') AND pool = :pool GROUP BY partner
    ), taken AS (
        SELECT partner, concurrency_key, count(*) AS runs FROM run
        WHERE status IN ('dequeued', 'executing') AND concurrency_key IS NOT NULL
        GROUP BY partner, concurrency_key
    ), candidate AS (
        SELECT own.*, row_number() OVER (
            PARTITION BY own.partner, own.concurrency_key ORDER BY own.priority DESC, own.queued_at, own.id
        ) AS place_of_key
        FROM in_line CROSS JOIN LATERAL (
            SELECT run.id, run.partner, run.priority, run.queued_at, run.concurrency_key,
                   run.concurrency_limit - coalesce(taken.runs, 0) AS room_of_key
            FROM run LEFT JOIN taken
                ON taken.partner = run.partner AND taken.concurrency_key = run.concurrency_key
            WHERE run.status = 'queued' AND run.pool = :pool AND run.partner = in_line.partner
              AND run.due_at <= now() AND run.expires_at > now()
              AND (run.concurrency_key IS NULL OR run.concurrency_limit > coalesce(taken.runs, 0))
            ORDER BY run.priority DESC, run.queued_at, run.id
            LIMIT (SELECT places FROM room)
        ) own
    ), admitted AS (
        SELECT *, row_number() OVER (PARTITION BY partner ORDER BY priority DESC, queued_at, id) AS place
        FROM candidate WHERE concurrency_key IS NULL OR place_of_key <= room_of_key
    )
    SELECT admitted.id FROM admitted LEFT JOIN under_way USING (partner)
    ORDER BY coalesce(under_way.runs, 0) + admitted.place, admitted.queued_at, admitted.id
    LIMIT (SELECT places FROM room)
""")

_GIVE = Step(
    target=Status.DEQUEUED,
    where="id = ANY(:ids)",
    by="turn",
    skips_locked=True,
    changes="lease = run.lease + 1, pushed_at = now()",
)

_GIVEN = text("SELECT id, lease, pool, turns_lost, pushed_at <= now() - :old AS is_old FROM run"
              " WHERE status = 'dequeued'")  # fmt: skip
_THESE = "(id, lease) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS integer[])))"
_DEQUEUED = frozenset({Status.DEQUEUED})
# A turn that nobody took for a long time was not lost: there was no executor.
_TAKE_BACK = Step(
    target=Status.QUEUED,
    where=_THESE,
    by="compare",
    origins=_DEQUEUED,
    skips_locked=True,
    level="warning",
    changes="turns_lost = run.turns_lost + (run.pushed_at > now() - interval '10 minutes')::int,"
    # At once after the first loss, then ever later: a gateway that is away for an hour must cost no run.
    " due_at = now() + make_interval(secs => least(60, power(2, least(run.turns_lost, 6)) - 1))",
)
_GIVE_UP = Step(
    target=Status.SYSTEM_FAILED,
    where=_THESE,
    by="turns",
    origins=_DEQUEUED,
    skips_locked=True,
    level="error",
    changes="error = 'Its turns were taken and never claimed', error_class = 'system'",
)


@dataclass(frozen=True, kw_only=True, order=True)
class Given:
    """A turn by what identifies it."""

    run: UUID
    lease: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found. Hand `absent` to the next one; `moved` left the state of having a turn."""

    absent: frozenset[Given] = frozenset()
    moved: list[Run] = field(default_factory=list)
    stale: dict[str, list[str]] = field(default_factory=dict)


def window(executors: int) -> int:
    """How many turns of a pool may stand in Redis."""
    return max(SMALLEST_WINDOW, 2 * executors)


def pools(connection: Connection) -> list[str]:
    """Take the line's lock until the transaction ends and name the pools that have a line.

    It names none when somebody else holds the lock.
    """
    return [row["pool"] for row in fetch(connection, _POOLS, {"number": _LINE_LOCK})]


def dequeue(connection: Connection, pool: str, places: int) -> list[Run]:
    """Give turns to the next runs of a pool, in fair order; push them after the commit.

    The caller holds the line's advisory lock: room and concurrency keys are counted, not locked.
    """
    given = newest = _give(connection, pool, places)
    while any(run.concurrency_key for run in newest):
        # Runs of a key that is full by now stood before others: those are looked at again.
        newest = _give(connection, pool, places)
        given += newest
    return given


def _give(connection: Connection, pool: str, places: int) -> list[Run]:
    wanted = [row["id"] for row in fetch(connection, _NEXT, {"pool": pool, "window": places})]
    if not wanted:
        return []
    given = {run.id: run for run in moves.move(connection, _GIVE, {"ids": wanted})}
    return [given[run_id] for run_id in wanted if run_id in given]


def push(redis: "Redis", signer: Signer, runs: Sequence[Run]) -> dict[str, int]:
    """Put turns into Redis in one pipeline; return how many stand there now, by pool.

    What does not arrive is found by the next comparisons.
    """
    with redis.pipeline(transaction=False) as pipeline:
        for run in runs:
            pipeline.rpush(LINE + run.pool, _turn(run, signer.ticket(run)))
        lengths = pipeline.execute()
    return {run.pool: length for run, length in zip(runs, lengths, strict=True)}


def _turn(run: Run, ticket: str) -> str:
    turn = {"v": 1, "run": str(run.id), "lease": run.lease, "ticket": ticket, "traceparent": run.traceparent}
    return json.dumps(turn, separators=(",", ":"))


def executors(redis: "Redis") -> Counter[str]:
    """Count the live executors of each pool."""
    keys = redis.scan_iter(match=f"{EXECUTOR}*", count=1000)
    return Counter(str(key).removeprefix(EXECUTOR).partition(":")[0] for key in keys)


def listed(redis: "Redis") -> dict[str, list[str]]:
    """Read every list of turns."""
    keys = sorted(map(str, redis.scan_iter(match=f"{LINE}*", count=1000)))
    return {str(key): [str(entry) for entry in redis.lrange(key, 0, -1)] for key in keys}


def compare(
    connection: Connection, lists: dict[str, list[str]], absent_before: frozenset[Given]
) -> Comparison:
    """Put runs back in line whose turn is not in Redis twice in a row, or whose ticket is near its end.

    `lists` must have been read before this transaction began: then an entry that matches no run with a turn
    is stale for good, and a turn pushed in between is absent only once. A run whose turns get lost again and
    again is given up as our fault.
    """
    present = {turn for entries in lists.values() for entry in entries if (turn := _read(entry))}
    rows = connection.execute(_GIVEN, {"old": TICKET_RENEWAL}).mappings().all()
    turns = {Given(run=row["id"], lease=row["lease"]): row for row in rows}
    absent = frozenset(turns) - present
    back = (absent & absent_before) | {turn for turn, row in turns.items() if row["is_old"]}
    lost = {turn for turn in back if turns[turn]["turns_lost"] >= MOST_TURNS_LOST}
    moved = _take(connection, back - lost) + _end(connection, lost)
    stale = {key: [entry for entry in entries if _read(entry) not in turns] for key, entries in lists.items()}
    return Comparison(absent=absent - back, moved=moved, stale=stale)


def sweep(redis: "Redis", stale: dict[str, list[str]]) -> None:
    """Remove entries that no longer are anybody's turn, so that a list without readers does not grow."""
    with redis.pipeline(transaction=False) as pipeline:
        for key, entries in stale.items():
            for entry in entries:
                pipeline.lrem(key, 1, entry)
        pipeline.execute()


def _take(connection: Connection, turns: Iterable[Given]) -> list[Run]:
    values = _values(turns)
    return moves.move(connection, _TAKE_BACK, values) if values["ids"] else []


def _end(connection: Connection, turns: Iterable[Given]) -> list[Run]:
    values = _values(turns)
    return moves.end(connection, _GIVE_UP, values) if values["ids"] else []


def _values(turns: Iterable[Given]) -> dict[str, Any]:
    ordered = sorted(turns)
    return {"ids": [turn.run for turn in ordered], "leases": [turn.lease for turn in ordered]}


def _read(entry: str) -> Given | None:
    try:
        turn = json.loads(entry)
        return Given(run=UUID(turn["run"]), lease=int(turn["lease"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
