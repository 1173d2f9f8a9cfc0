"""Sending to addresses that people gave us, which may be slow, down, or worse.

Each message is sent by a thread of its own, and results are kept as they come: a slow receiver holds up its
own messages, of which only so many are on their way at a time, and nobody else's.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine

from common.clock import Clock
from common.database import statement, transaction
from common.sealing import CannotUnseal, Sealer
from jobs.deliveries import messages, outbox, signing, webhooks
from jobs.deliveries.messages import NOTIFY, Message
from jobs.deliveries.outbound import Outbound, OutboundFailed, OutboundRefused
from jobs.deliveries.signing import PlatformKeys
from jobs.deliveries.tables import Delivery

SECONDS = 10.0  # for each call
HOLD_SECONDS = 60.0  # longer than a call may take, its name looked up and its connection made
AT_ONCE = 3  # on their way to one webhook
# Ten tries over 24 hours.
PAUSES_SECONDS = (5, 60, 300, 1800, 3600, 7200, 14_400, 21_600, 36_000)
_GONE = 410
Busy = Mapping[UUID | None, int]
Take = Callable[[Connection, int, Busy], list[Delivery]]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How one try went: `result` is answered, failed (there will be another) or given_up."""

    delivery: Delivery
    result: str
    status: int | None = None
    error: str = ""
    pause_seconds: float = 0.0


class Sender:
    """Signs a message and sends it. Safe to use from several threads."""

    def __init__(self, outbound: Outbound, sealer: Sealer, keys: PlatformKeys, clock: Clock) -> None:
        self._outbound = outbound
        self._sealer = sealer
        self._keys = keys
        self._clock = clock

    def send(self, delivery: Delivery, message: Message | None) -> Tried:
        """Send a message and judge the answer; never raises."""
        if message is None:
            return Tried(delivery=delivery, result="given_up", error="what it was about is gone")
        if self._is_too_late(message.expires_at, 0.0):
            return Tried(delivery=delivery, result="given_up", error="nobody waits for it any more")
        try:
            status = self._outbound.tell(message.url, headers=self._headers(message), body=message.body)
        except (OutboundRefused, OutboundFailed) as error:
            return self._failed(delivery, message, None, str(error))
        except CannotUnseal:
            return self._failed(delivery, message, None, "its secret was sealed with a key we no longer have")
        if 200 <= status < 300:
            return Tried(delivery=delivery, result="answered", status=status)
        return self._failed(delivery, message, status, f"it answered {status}")

    def _headers(self, message: Message) -> dict[str, str]:
        timestamp = int(self._clock.now().timestamp())
        if message.webhook is None:
            signature = self._keys.sign(message.id, timestamp, message.body)
        else:
            secret = self._sealer.unseal(message.sealed_secret, webhooks.context(message.webhook))
            signature = signing.sign(secret, message.id, timestamp, message.body)
        return {
            "Content-Type": "application/json",
            "User-Agent": "taxiway",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }

    def _failed(self, delivery: Delivery, message: Message, status: int | None, error: str) -> Tried:
        pause = pause_seconds(delivery.tries)
        is_last = status == _GONE or pause is None or self._is_too_late(message.expires_at, pause)
        return Tried(
            delivery=delivery,
            result="given_up" if is_last else "failed",
            status=status,
            error=error,
            pause_seconds=pause or 0.0,
        )

    def _is_too_late(self, expires_at: datetime | None, pause: float) -> bool:
        return expires_at is not None and self._clock.now() + timedelta(seconds=pause) >= expires_at


def pause_seconds(tries: int, chance: Callable[[], float] = random.random) -> float | None:
    """Give the pause after a number of failed tries, ± 10 %; none when it was the last."""
    if tries > len(PAUSES_SECONDS):
        return None
    return PAUSES_SECONDS[tries - 1] * (0.9 + 0.2 * chance())


def to_webhooks(connection: Connection, most: int, busy: Busy) -> list[Delivery]:
    """Take deliveries to webhooks, few for each."""
    return outbox.take_fairly(connection, most, AT_ONCE, busy, HOLD_SECONDS)


def to_notify_urls(connection: Connection, most: int, busy: Busy) -> list[Delivery]:
    """Take deliveries that tell of a wait."""
    return outbox.take(connection, (NOTIFY,), most, HOLD_SECONDS)


class Post:
    """Takes what `take` gives it, as much as it has threads for, and has it sent.

    One thread calls it; `woken` is set when there is something to keep.
    """

    def __init__(
        self, engine: Engine, sender: Sender, take: Take, note: Callable[[Tried], None], *, threads: int
    ) -> None:
        self.woken = threading.Event()
        self._engine = engine
        self._sender = sender
        self._take = take
        self._note = note
        self._most = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="post")
        self._flying: dict[Future[Tried], Delivery] = {}

    def deliver(self) -> int:
        """Keep what has come back, send what is due; return how many were taken. Raises Unavailable."""
        self.keep()
        free = self._most - len(self._flying)
        if not free:
            return 0
        busy = Counter(delivery.webhook_id for delivery in self._flying.values())
        with statement(self._engine) as connection:
            taken = self._take(connection, free, busy)
        if not taken:
            return 0
        with statement(self._engine) as connection:
            written = messages.write(connection, taken)
        for delivery in taken:
            self._send(delivery, written.get(delivery.id))
        return len(taken)

    def keep(self) -> None:
        """Keep the results there are. Lost ones cost a repeat, which receivers know by its id."""
        finished = [future for future in self._flying if future.done()]
        if not finished:
            return
        for future in finished:
            del self._flying[future]
        tries = [future.result() for future in finished]
        with transaction(self._engine) as connection:
            _keep(connection, tries)
        for tried in tries:
            self._note(tried)

    def close(self) -> None:
        """Wait for what is on its way and keep its results."""
        self._threads.shutdown(wait=True)
        self.keep()

    def _send(self, delivery: Delivery, message: Message | None) -> None:
        future = self._threads.submit(self._sender.send, delivery, message)
        self._flying[future] = delivery
        future.add_done_callback(lambda _: self.woken.set())


def _keep(connection: Connection, tries: Sequence[Tried]) -> None:
    for tried in tries:
        if tried.result == "answered":
            outbox.close(connection, [tried.delivery.id], tried.status or 0)
        elif tried.result == "failed":
            outbox.postpone(connection, tried.delivery, tried.status, tried.error, tried.pause_seconds)
        else:
            outbox.give_up(connection, tried.delivery, tried.status, tried.error)
