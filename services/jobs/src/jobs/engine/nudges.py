"""Nudges: hints after a commit that there is something to do. They may be lost; every reader also ticks."""

import time
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from redis import Redis, RedisError

from common.logs import get_logger

CHANNEL = "jobs:nudge"
TIMEOUT_SECONDS = 0.2
PAUSE_SECONDS = 1.0  # after a failure nobody waits for Redis again for so long


class Nudge(Protocol):
    """Tells the other processes, after a commit. Never raises, never waits long."""

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
    """Publishes on Redis; an error is swallowed, and for a second after one nothing is tried."""

    def __init__(self, redis: "Redis", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._silent_until = 0.0

    @classmethod
    def from_url(cls, url: str) -> "RedisNudge":
        """Make one with a client of its own that gives up within TIMEOUT_SECONDS."""
        return cls(connect(url, timeout_seconds=TIMEOUT_SECONDS))

    def line(self) -> None:
        self._publish("line")

    def deliveries(self) -> None:
        self._publish("deliveries")

    def run(self, run_id: UUID) -> None:
        self._publish(f"run:{run_id}")

    def _publish(self, message: str) -> None:
        if self._monotonic() < self._silent_until:
            return
        try:
            self._redis.publish(CHANNEL, message)
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
