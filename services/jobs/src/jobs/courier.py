"""The courier's door: `python -m jobs.courier`. It sends what stands in the outbox, and nothing else."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Gauge
from redis import RedisError
from sqlalchemy import Engine

from common import database, logs, metrics, settings
from common.clock import SystemClock
from common.database import Unavailable, transaction
from jobs.config import CourierSettings
from jobs.deliveries import outbox, outcomes
from jobs.deliveries.send import Receiver, SendFailed, SignedReceiver
from jobs.deliveries.tables import Delivery
from jobs.engine import nudges
from jobs.engine.listening import Listener
from jobs.engine.outages import Outages
from jobs.engine.turns import Nudge

BATCH = 32
THREADS = 8
REDIS_TIMEOUT_SECONDS = 3.0

SENT = Counter("taxiway_deliveries", "Deliveries tried", ("kind", "result"))
BACKLOG = Gauge("taxiway_deliveries_open", "Deliveries not yet answered")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """How one try went."""

    delivery: Delivery
    status: int | None
    answer: Mapping[str, Any] | None
    error: str = ""


class Courier:
    """Takes what is due, sends it with no transaction open, and keeps the answers."""

    def __init__(self, engine: Engine, outputs: Receiver, nudge: Nudge) -> None:
        self._engine = engine
        self._outputs = outputs
        self._nudge = nudge
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="send")

    def deliver(self) -> int:
        """Send one batch; return how many deliveries were taken. Raises Unavailable."""
        with transaction(self._engine) as connection:
            taken = outbox.take(connection, outcomes.KINDS, BATCH)
            messages = outcomes.messages(connection, taken) if taken else {}
        if not taken:
            return 0
        tries = list(self._threads.map(lambda delivery: self._send(delivery, messages), taken))
        self._keep(tries)
        return len(taken)

    def count(self) -> None:
        """Show how much is waiting."""
        with transaction(self._engine) as connection:
            BACKLOG.set(outbox.backlog(connection))

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _send(self, delivery: Delivery, messages: Mapping[int, tuple[str, dict[str, Any]]]) -> Sent:
        if delivery.id not in messages:
            return Sent(delivery=delivery, status=410, answer={}, error="what it was about is gone")
        try:
            status, answer = self._outputs.put(*messages[delivery.id])
        except SendFailed as failure:
            return Sent(delivery=delivery, status=failure.status, answer=None, error=str(failure))
        return Sent(delivery=delivery, status=status, answer=answer)

    def _keep(self, tries: Sequence[Sent]) -> None:
        answered = [(sent.delivery, sent.answer) for sent in tries if sent.answer is not None]
        with transaction(self._engine) as connection:
            runs = outcomes.store(connection, answered)
            outbox.close(connection, [delivery.id for delivery, _ in answered], 200)
            for sent in tries:
                if sent.answer is None:
                    outbox.postpone(connection, sent.delivery, sent.status, sent.error)
        for run in runs:
            self._nudge.run(run)
        for sent in tries:
            _note(sent)


def _note(sent: Sent) -> None:
    result = "failed" if sent.answer is None else "answered"
    SENT.labels(sent.delivery.kind, result).inc()
    fields = {"kind": sent.delivery.kind, "delivery": sent.delivery.id, "tries": sent.delivery.tries}
    if sent.answer is None:
        logs.get_logger().warning("delivery_failed", **fields, status=sent.status, error=sent.error)
    else:
        logs.get_logger().info("delivered", **fields, reference=sent.delivery.reference)


def run(courier: Courier, listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    """Work until `stop`: at every nudge and every tick, as long as there is something. Never gives up."""
    database_outages = Outages(stop, (Unavailable,))
    redis_outages = Outages(stop, (RedisError,))
    while not stop.is_set():
        with database_outages.survived():
            while courier.deliver() and not stop.is_set():
                pass
            courier.count()
        with redis_outages.survived():
            _wait(listener, stop, tick_seconds)


def _wait(listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    until = listener.monotonic() + tick_seconds
    while (left := until - listener.monotonic()) > 0 and not stop.is_set():
        if "deliveries" in listener.wait(left):
            return


def main() -> None:
    """Build from the environment and serve until SIGTERM or SIGINT."""
    loaded = settings.load(CourierSettings, os.environ)
    logs.configure("courier", loaded.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    engine = database.connect(loaded.database_url, "courier", pool_size=2)
    redis = nudges.connect(loaded.redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
    receiver = SignedReceiver(loaded.outputs_url, loaded.outputs_signing_key, clock, connections=THREADS)
    courier = Courier(engine, receiver, nudges.RedisNudge.from_url(loaded.redis_url))
    metrics.serve(loaded.metrics_port)
    logs.get_logger().info("courier_started")
    with Listener(redis, clock) as listener:
        run(courier, listener, stop, loaded.tick_seconds)
    courier.close()
    receiver.close()
    engine.dispose()
    redis.close()
    logs.get_logger().info("courier_stopped")


if __name__ == "__main__":
    main()
