"""The dispatcher's door: `python -m jobs.dispatcher`.

It gives turns and does what time asks for: SQL and RPUSH, nothing else. Several may run: each duty takes an
advisory lock, the loser skips. It outlives PostgreSQL and Redis: what fails now is done at a later tick.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter as Metric
from prometheus_client import Gauge
from redis import Redis, RedisError
from sqlalchemy import Connection, Engine

from common import database, idempotency, logs, metrics, settings
from common.clock import Clock, SystemClock
from common.database import Unavailable, transaction, try_lock
from jobs.config import DispatcherSettings
from jobs.deliveries import outbox
from jobs.engine import nudges, signals, sweeps, turns
from jobs.engine.listening import CROWD_SECONDS, Listener
from jobs.engine.outages import Outages
from jobs.engine.run_tokens import Signer
from jobs.engine.steadiness import Steadiness
from jobs.engine.tables import Run
from jobs.engine.turns import Comparison, Nudge

CANCEL_GRACE_SECONDS = 30.0
FORGET_EVERY_SECONDS = 60.0
GATHER_SECONDS = 0.005  # while executors find turns in Redis, nudges are answered together
REDIS_TIMEOUT_SECONDS = 3.0

MOVED = Metric("taxiway_runs_moved", "Runs moved by the dispatcher", ("duty", "status"))
TICKS = Metric("taxiway_dispatcher_ticks", "Rounds of all duties")
EXECUTORS = Gauge("taxiway_executors", "Executors that showed themselves in the last 30 s", ("pool",))


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """When the dispatcher does what, in seconds."""

    heartbeat_seconds: float
    compare_seconds: float
    tick_seconds: float


Work = Callable[[Connection], Sequence[Run]]


class Dispatcher:
    """The duties, and what they remember from one round to the next."""

    def __init__(
        self, engine: Engine, redis: "Redis", signer: Signer, nudge: Nudge, clock: Clock, timeouts: Timeouts
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._signer = signer
        self._nudge = nudge
        self._clock = clock
        self._timeouts = timeouts
        gap = max(5 * timeouts.tick_seconds, timeouts.heartbeat_seconds / 4)
        self._steadiness = Steadiness(needed_seconds=timeouts.heartbeat_seconds, largest_gap_seconds=gap)
        self._executors: Counter[str] = Counter()
        self._compared = Comparison()
        self._next_compare = 0.0
        self._next_forget = 0.0
        self.has_stock = False

    def tick(self) -> None:
        """Do every duty once. Raises Unavailable or RedisError: the next tick does the rest."""
        now = self._clock.monotonic()
        self._sweep()
        self._steadiness.tick(now)  # only a tick that reached the database counts
        TICKS.inc()
        self._forget(now)
        self._compare(now)
        self._count_executors()
        self.give_turns()

    def give_turns(self) -> int:
        """Fill every pool's window; return how many turns were given."""
        with transaction(self._engine) as connection:
            given = [run for pool in turns.pools(connection) for run in self._dequeue(connection, pool)]
        if given:
            self.has_stock = self._is_stock(turns.push(self._redis, self._signer, given))
            self._note("turns", given)
        return len(given)

    def _is_stock(self, standing: Mapping[str, int]) -> bool:
        """Tell whether that many turns keep the executors busy for a while: nobody waits for the next."""
        return all(turns.window(self._executors[pool]) < 4 * count for pool, count in standing.items())

    def _dequeue(self, connection: Connection, pool: str) -> list[Run]:
        return turns.dequeue(connection, pool, turns.window(self._executors[pool]))

    def _sweep(self) -> None:
        heartbeat = self._timeouts.heartbeat_seconds
        self._duty("wake", sweeps.wake)
        self._duty("expire", sweeps.expire)
        self._duty("time_out_awaits", sweeps.time_out_awaits)
        self._duty("cancel", lambda connection: sweeps.cancel_by_force(connection, CANCEL_GRACE_SECONDS))
        self._duty("end_waits", sweeps.end_waits)
        self._duty("reap", self._if_steady(lambda connection: sweeps.reap(connection, heartbeat)))
        self._duty("time_out", self._if_steady(lambda connection: sweeps.time_out(connection, heartbeat)))

    def _if_steady(self, work: Work) -> Work:
        """Judge nobody unless we are steady at the moment of judging: earlier statements may have hung."""

        def judge(connection: Connection) -> Sequence[Run]:
            return work(connection) if self._steadiness.is_steady(self._clock.monotonic()) else ()

        return judge

    def _forget(self, now: float) -> None:
        if now >= self._next_forget:
            self._next_forget = now + FORGET_EVERY_SECONDS
            self._duty("forget", _forget)

    def _duty(self, name: str, work: Work) -> None:
        with transaction(self._engine) as connection:
            moved = work(connection) if try_lock(connection, "jobs", "duty", name) else ()
        self._note(name, moved)

    def _compare(self, now: float) -> None:
        if now < self._next_compare:
            return
        self._next_compare = now + self._timeouts.compare_seconds
        lists = turns.listed(self._redis)
        with transaction(self._engine) as connection:
            if not try_lock(connection, "jobs", "duty", "compare"):
                return
            self._compared = turns.compare(connection, lists, self._compared.absent)
        self._note("compare", self._compared.moved)
        turns.sweep(self._redis, self._compared.stale)

    def _count_executors(self) -> None:
        self._executors = turns.executors(self._redis)
        EXECUTORS.clear()
        for pool, count in self._executors.items():
            EXECUTORS.labels(pool).set(count)

    def _note(self, duty: str, moved: Sequence[Run]) -> None:
        for run in moved:
            MOVED.labels(duty, run.status).inc()
            logs.get_logger().info(
                "run_moved", duty=duty, run=str(run.id), status=run.status, lease=run.lease
            )
            self._nudge.run(run.id)
        if any(run.is_final for run in moved):
            self._nudge.deliveries()


def _forget(connection: Connection) -> Sequence[Run]:
    idempotency.forget_old(connection)
    outbox.forget_closed(connection)
    signals.forget_old(connection)
    return ()


def run(dispatcher: Dispatcher, listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    """Work until `stop`: all duties every tick, turns also at every nudge. Never gives up."""
    # Without Redis the sweeps go on: a pause must not look like a gap in our ticks.
    outages = Outages(stop, (Unavailable, RedisError), longest_pause_seconds=tick_seconds)
    next_tick = 0.0
    while not stop.is_set():
        with outages.survived():
            now = listener.monotonic()
            if now >= next_tick:
                next_tick = now + tick_seconds
                dispatcher.tick()
            heard = listener.wait(next_tick - listener.monotonic())
            if "line" in heard:
                if dispatcher.has_stock:
                    stop.wait(GATHER_SECONDS)
                dispatcher.give_turns()
            elif heard:
                stop.wait(CROWD_SECONDS)


def main() -> None:
    """Build from the environment and serve until SIGTERM or SIGINT."""
    loaded = settings.load(DispatcherSettings, os.environ)
    logs.configure("dispatcher", loaded.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    engine = database.connect(loaded.database_url, "dispatcher", pool_size=4)
    redis = nudges.connect(loaded.redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
    timeouts = Timeouts(
        heartbeat_seconds=loaded.heartbeat_timeout_seconds,
        compare_seconds=loaded.compare_interval_seconds,
        tick_seconds=loaded.tick_seconds,
    )
    nudge = nudges.RedisNudge.from_url(loaded.redis_url)
    dispatcher = Dispatcher(engine, redis, Signer(loaded.run_token_key, clock), nudge, clock, timeouts)
    metrics.serve(loaded.metrics_port)
    logs.get_logger().info("dispatcher_started")
    with Listener(redis, clock) as listener:
        run(dispatcher, listener, stop, loaded.tick_seconds)
    engine.dispose()
    redis.close()
    logs.get_logger().info("dispatcher_stopped")


if __name__ == "__main__":
    main()
