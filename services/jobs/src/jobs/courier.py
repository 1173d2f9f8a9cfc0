"""The courier's door: `python -m jobs.courier`. It sends what stands in the outbox, and nothing else.

Outputs is told by the main thread. Webhooks and notify URLs have a thread and a pool of threads each, so that
nobody's slow receiver holds up an outcome.
"""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Gauge
from redis import RedisError
from sqlalchemy import Engine

from common import database, logs, metrics, settings
from common.clock import Clock, SystemClock
from common.database import Unavailable, statement, transaction
from common.sealing import Sealer
from jobs.config import CourierSettings
from jobs.deliveries import messages, outbox, outcomes, posting, webhooks
from jobs.deliveries.outbound import GuardedHttp
from jobs.deliveries.posting import Post, Sender, Tried
from jobs.deliveries.send import Receiver, SendFailed, SignedReceiver
from jobs.deliveries.signing import PlatformKeys
from jobs.deliveries.tables import Delivery
from jobs.engine import nudges
from jobs.engine.listening import CROWD_SECONDS, Listener
from jobs.engine.outages import Outages
from jobs.engine.turns import Nudge

BATCH = 32
THREADS = 8
WEBHOOK_THREADS = 64
NOTIFY_THREADS = 32
KINDS = (*outcomes.KINDS, webhooks.WEBHOOK, messages.NOTIFY)
REDIS_TIMEOUT_SECONDS = 3.0

SENT = Counter("taxiway_deliveries", "Deliveries tried", ("kind", "result"))
BACKLOG = Gauge("taxiway_deliveries_open", "Deliveries not yet answered", ("kind",))


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
        with statement(self._engine) as connection:
            taken = outbox.take(connection, outcomes.KINDS, BATCH)
        if not taken:
            return 0
        with statement(self._engine) as connection:
            messages = outcomes.messages(connection, taken)
        at_once = self._threads.map if len(taken) > 1 else map
        self._keep(list(at_once(lambda delivery: self._send(delivery, messages), taken)))
        return len(taken)

    def count(self) -> None:
        """Show how much is waiting."""
        with transaction(self._engine) as connection:
            waiting = outbox.backlog(connection)
        for kind in KINDS:
            BACKLOG.labels(kind).set(waiting.get(kind, 0))

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
        if answered:
            self._store(answered)
        if failed := [sent for sent in tries if sent.answer is None]:
            self._postpone(failed)
        for sent in tries:
            _note(sent)

    def _store(self, answered: Sequence[tuple[Delivery, Mapping[str, Any]]]) -> None:
        with statement(self._engine) as connection:
            stored = outcomes.store(connection, answered)
        for run in stored.runs:
            self._nudge.run(run)
        if stored.has_called:
            self._nudge.deliveries()

    def _postpone(self, failed: Sequence[Sent]) -> None:
        with transaction(self._engine) as connection:
            for sent in failed:
                pause = outbox.pause_seconds(sent.delivery.tries)
                outbox.postpone(connection, sent.delivery, sent.status, sent.error, pause)


def _note(sent: Sent) -> None:
    result = "failed" if sent.answer is None else "answered"
    SENT.labels(sent.delivery.kind, result).inc()
    fields = {"kind": sent.delivery.kind, "delivery": sent.delivery.id, "tries": sent.delivery.tries}
    if sent.answer is None:
        logs.get_logger().warning("delivery_failed", **fields, status=sent.status, error=sent.error)
    else:
        logs.get_logger().info("delivered", **fields, reference=sent.delivery.reference)


def note(tried: Tried) -> None:
    """Count and log a try to reach somebody's address, which stays out of the log."""
    SENT.labels(tried.delivery.kind, tried.result).inc()
    fields = {"kind": tried.delivery.kind, "delivery": tried.delivery.id, "tries": tried.delivery.tries}
    fields |= {"webhook": str(tried.delivery.webhook_id or ""), "status": tried.status}
    if tried.result == "answered":
        logs.get_logger().info("delivered", **fields)
    else:
        event = "delivery_failed" if tried.result == "failed" else "delivery_given_up"
        logs.get_logger().warning(event, **fields, error=tried.error)


def post(posts: Post, stop: threading.Event, tick_seconds: float) -> None:
    """Work until `stop`: when woken and at every tick. Sets `stop` if it breaks: the courier starts anew."""
    outages = Outages(stop, (Unavailable,))
    try:
        while not stop.is_set():
            posts.woken.clear()
            with outages.survived():
                posts.deliver()
            posts.woken.wait(tick_seconds)
    finally:
        stop.set()


def run(
    courier: Courier,
    listener: Listener,
    stop: threading.Event,
    tick_seconds: float,
    posts: Sequence[Post] = (),
) -> None:
    """Work until `stop`: at every nudge and every tick, as long as there is something. Never gives up."""
    database_outages = Outages(stop, (Unavailable,))
    redis_outages = Outages(stop, (RedisError,))
    next_count = 0.0
    while not stop.is_set():
        with database_outages.survived():
            while courier.deliver() >= BATCH and not stop.is_set():
                pass
            if listener.monotonic() >= next_count:
                next_count = listener.monotonic() + tick_seconds
                courier.count()
        with redis_outages.survived():
            _wait(listener, stop, tick_seconds)
        for each in posts:
            each.woken.set()


def _wait(listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    until = listener.monotonic() + tick_seconds
    while (left := until - listener.monotonic()) > 0 and not stop.is_set():
        heard = listener.wait(left)
        if "deliveries" in heard:
            return
        if heard:
            stop.wait(CROWD_SECONDS)


def main() -> None:
    """Build from the environment and serve until SIGTERM or SIGINT."""
    loaded = settings.load(CourierSettings, os.environ)
    logs.configure("courier", loaded.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    engine = database.connect(loaded.database_url, "courier", pool_size=4)
    redis = nudges.connect(loaded.redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
    receiver = SignedReceiver(loaded.outputs_url, loaded.outputs_signing_key, clock, connections=THREADS)
    courier = Courier(engine, receiver, nudges.RedisNudge.from_url(loaded.redis_url))
    posts = _posts(engine, loaded, clock)
    threads = [
        threading.Thread(target=post, args=(each, stop, loaded.tick_seconds), daemon=True) for each in posts
    ]
    metrics.serve(loaded.metrics_port)
    logs.get_logger().info("courier_started")
    with Listener(redis, clock) as listener:
        for thread in threads:
            thread.start()
        run(courier, listener, stop, loaded.tick_seconds, posts)
    for each, thread in zip(posts, threads, strict=True):
        each.woken.set()
        thread.join()
        with suppress(Unavailable):  # what was not kept is sent again
            each.close()
    courier.close()
    receiver.close()
    engine.dispose()
    redis.close()
    logs.get_logger().info("courier_stopped")


def _posts(engine: Engine, loaded: CourierSettings, clock: Clock) -> tuple[Post, Post]:
    sealing_keys = dict(loaded.sealing_keys)
    outbound = GuardedHttp(loaded.webhook_allowed_hosts, "WEBHOOK_ALLOWED_HOSTS", seconds=posting.SECONDS)
    sender = Sender(outbound, Sealer(sealing_keys), PlatformKeys(sealing_keys), clock)
    return (
        Post(engine, sender, posting.to_webhooks, note, threads=WEBHOOK_THREADS),
        Post(engine, sender, posting.to_notify_urls, note, threads=NOTIFY_THREADS),
    )


if __name__ == "__main__":
    main()
