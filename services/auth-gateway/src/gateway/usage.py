"""How much API keys are used: counted in Redis with their quotas, written down once a minute by one worker.

No request waits for the database. What Redis forgets before it is written down is not counted.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from common import database
from common.clock import Clock
from common.logs import get_logger
from gateway.api_keys import ApiKey
from gateway.counters import Counters
from gateway.key_desk import KEY_ISSUER
from gateway.quotas import HOUR_SECONDS, counter

EVERY_SECONDS = 60
MOST = 1000  # keys written down in one transaction

_COUNTED = text("""
    SELECT id, counted_hour, counted_requests
    FROM gateway.api_key WHERE id = ANY (:ids) ORDER BY id FOR UPDATE
""")
_WRITE = text("""
    UPDATE gateway.api_key
    SET total_requests = total_requests + :more, counted_hour = :hour, counted_requests = :counted,
        last_used_at = greatest(last_used_at, :used_at)
    WHERE id = :key_id
""")


@dataclass(frozen=True, kw_only=True)
class Use:
    """A key's use right now, with what is not written down yet."""

    used_requests: int
    total_requests: int
    last_used_at: datetime | None


def more(counted_hour: int, counted: int, hour: int, previous: int, current: int) -> int:
    """How many requests are not in the total yet, by the counters of the hour and the one before.

    A counter that fell was forgotten by Redis: what it counts from then on will be missed up to the old mark.
    """
    if counted_hour == hour:
        return max(0, current - counted)
    if counted_hour == hour - 1:
        return max(0, previous - counted) + current
    return previous + current


class Usage:
    """Reads the use of keys, and writes it down."""

    def __init__(self, engine: Engine, counters: Counters, clock: Clock) -> None:
        self._engine = engine
        self._counters = counters
        self._clock = clock

    def of(self, keys: Sequence[ApiKey]) -> list[Use]:
        """Say how much each key was used; without Redis, as far as it was written down."""
        hour, counts = self._counts([key.id for key in keys])
        instants = self._counters.last_used([key.id for key in keys])
        return [
            Use(
                used_requests=counts[key.id][1],
                total_requests=key.total_requests
                + more(key.counted_hour, key.counted_requests, hour, *counts[key.id]),
                last_used_at=_instant(at) if at else key.last_used_at,
            )
            for key, at in zip(keys, instants, strict=True)
        ]

    def write_down(self) -> None:
        """Bring totals and last uses into the database. Raises Unavailable; then the next turn does it."""
        until_ms = int(self._clock.now().timestamp() * 1000) - 1
        used = self._counters.used_keys(until_ms)
        for start in range(0, len(used), MOST):
            some = dict(list(used.items())[start : start + MOST])
            hour, counts = self._counts(some)
            with database.transaction(self._engine) as connection:
                _write(connection, hour, counts, some)
        self._counters.forget_used(until_ms)

    def start(self) -> None:
        """Write down every minute from now on, in a thread of this worker; one worker does it for all."""
        threading.Thread(target=self._keep_writing, name="usage", daemon=True).start()

    def _keep_writing(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_SECONDS):
            try:
                if self._counters.take_turn(EVERY_SECONDS - 5):
                    self.write_down()
            except (database.Unavailable, SQLAlchemyError) as error:
                get_logger().warning("usage_unwritten", error=str(error)[:300])

    def _counts(self, ids: Iterable[int]) -> tuple[int, dict[int, tuple[int, int]]]:
        """Read the counters of each key: the hour before, and this one."""
        named = list(ids)
        hour = int(self._clock.now().timestamp()) // HOUR_SECONDS
        names = [counter("api-key", KEY_ISSUER, str(key), each) for key in named for each in (hour - 1, hour)]
        values = self._counters.read(names)
        return hour, dict(zip(named, zip(values[::2], values[1::2], strict=True), strict=True))


def _write(
    connection: Connection, hour: int, counts: Mapping[int, tuple[int, int]], used: Mapping[int, int]
) -> None:
    rows = connection.execute(_COUNTED, {"ids": list(used)}).all()
    written = [
        {
            "key_id": row.id,
            "more": more(row.counted_hour, row.counted_requests, hour, *counts[row.id]),
            "hour": hour,
            "counted": counts[row.id][1],
            "used_at": _instant(used[row.id]),
        }
        for row in rows
    ]
    if written:
        connection.execute(_WRITE, written)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
