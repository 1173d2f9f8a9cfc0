"""Nudges: hints after a commit that there is something to do. They may be lost; every reader also ticks."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol
from uuid import UUID

from redis import Redis, RedisError

from common.logs import get_logger

CHANNEL = "jobs:nudge"
TIMEOUT_SECONDS = 0.2
PAUSE_SECONDS = 1.0  # after a failure Redis is left alone for so long
GATHER_SECONDS = 0.005
MOST_UNTOLD = 10_000


class Nudge(Protocol):
    """Tells the other processes, after a commit. Never raises, never waits."""

    def line(self) -> None:
        """There may be turns to give."""

    def deliveries(self) -> None:
        """There is something to send."""

    def run(self, run_id: UUID) -> None:
        """Something happened to this run."""


class NoNudge:
    """Tells nobody: everything waits for the next tick."""

    def line(self) -> None: ...

    def deliveries(self) -> None: ...

    def run(self, run_id: UUID) -> None: ...


class RedisNudge:
    """Publishes on Redis from a thread of its own, so that nobody who nudges waits for Redis.

    What waits to be published is said once. News of a run waits a moment for more of them; the line and the
    deliveries do not wait. An error is swallowed, and for a second after one nothing is tried.
    """

    def __init__(self, redis: "Redis", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._silent_until = 0.0
        self._lock = threading.Lock()
        self._untold: dict[str, None] = {}
        self._has_untold, self._is_urgent = threading.Event(), threading.Event()
        self._sender: threading.Thread | None = None

    @classmethod
    def from_url(cls, url: str) -> "RedisNudge":
        """Make one with a client of its own that gives up within TIMEOUT_SECONDS."""
        return cls(connect(url, timeout_seconds=TIMEOUT_SECONDS))

    def line(self) -> None:
        self._tell("line")
        self._is_urgent.set()

    def deliveries(self) -> None:
        self._tell("deliveries")
        self._is_urgent.set()

    def run(self, run_id: UUID) -> None:
        self._tell(f"run:{run_id}")

    def _tell(self, message: str) -> None:
        with self._lock:
            if self._sender is None or not self._sender.is_alive():  # a fork leaves threads behind
                self._sender = threading.Thread(target=self._send, name="nudges", daemon=True)
                self._sender.start()
            if len(self._untold) < MOST_UNTOLD:
                self._untold[message] = None
        if not self._has_untold.is_set():  # to set it once more would take a lock
            self._has_untold.set()

    def _send(self) -> None:
        while True:
            self._has_untold.wait()
            self._is_urgent.wait(GATHER_SECONDS)
            self._has_untold.clear()
            self._is_urgent.clear()
            with self._lock:
                gathered, self._untold = self._untold, {}
            if gathered and self._monotonic() >= self._silent_until:
                self._publish(gathered)

    def _publish(self, messages: Iterable[str]) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(CHANNEL, message)
                pipeline.execute()
        except RedisError as error:
            self._silent_until = self._monotonic() + PAUSE_SECONDS
            get_logger().warning("nudge_lost", error=type(error).__name__)


def connect(url: str, *, timeout_seconds: float) -> "Redis":
    """Make a client that never waits longer than `timeout_seconds` and never repeats a command by itself."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=None,
        decode_responses=True,
        encoding_errors="surrogateescape",  # whatever stands there can be read, and removed
    )
