"""Counting in Redis, in one atomic step a request; without Redis nothing is counted and nobody waits.

    gateway:quota:<principal>:<hour>      requests a principal made in an hour
    gateway:failed:<address>:<window>     failed logins and bad tokens of an address in ten minutes
    gateway:keys-used                     API keys by when each was last used (ms), until that is written down
    gateway:usage-turn                    held by the worker that writes it down

Whether a request comes in never depends on it but by the number it answers.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from prometheus_client import Counter
from redis import Redis, RedisError

from common.logs import get_logger

TIMEOUT_SECONDS = 0.2
KEYS_USED = "gateway:keys-used"
TURN = "gateway:usage-turn"
PAUSE_SECONDS = 1.0  # after a failure nobody waits for Redis again for so long
SPENT = -1

# Counts what is wanted as far as the limit goes: what is refused costs nothing. One step a key behind the
# first, which is that of API keys by use. Redis 7.0 and Valkey know it.
COUNT = """
    local answers = {}
    for place = 2, #KEYS do
        local limit, kept, wanted, at, id = unpack(ARGV, 5 * place - 9, 5 * place - 5)
        local used = tonumber(redis.call('GET', KEYS[place]) or 0)
        local granted = math.min(tonumber(wanted), tonumber(limit) - used)
        if granted > 0 then
            redis.call('INCRBY', KEYS[place], granted)
            if used == 0 then
                redis.call('EXPIRE', KEYS[place], kept)
            end
            if id ~= '' then
                redis.call('ZADD', KEYS[1], at, id)
            end
        end
        answers[place - 1] = granted > 0 and {used + granted, granted} or {-1, 0}
    end
    return answers
"""
MOST_STEPS = 500  # at once: Redis does nothing else meanwhile

UNCOUNTED = Counter("taxiway_gateway_uncounted", "Requests let through uncounted because Redis was away")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of COUNT: at most `wanted` of what `limit` leaves.

    `used_key` is an API key by when it is used, in ms, and its id.
    """

    key: str
    limit: int
    kept_seconds: int
    wanted: int = 1
    used_key: tuple[int, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many there are by now, SPENT at the limit, and how many of them this step was granted."""

    used: int
    granted: int


class Counters:
    """Redis behind a circuit breaker: after a failure one request in a second asks, the others go on."""

    def __init__(self, redis: "Redis", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._count = redis.register_script(COUNT)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._is_down = False
        self._silent_until = 0.0

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one with a client of its own; no connection is opened until the first use."""
        client = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
        )
        return cls(client)

    def count(self, step: Step) -> Counted | None:
        """Count up as far as the limit allows; None when Redis is away."""
        counted = self.count_all([step])
        return counted[0] if counted else None

    def count_all(self, steps: Sequence[Step]) -> list[Counted] | None:
        """Take several steps in one round trip, MOST_STEPS at most; None when Redis is away."""
        keys = (KEYS_USED, *(step.key for step in steps))
        arguments: list[int | str] = []
        for step in steps:
            arguments += (step.limit, step.kept_seconds, step.wanted, *(step.used_key or (0, "")))
        counted = self._ask(lambda: self._count(keys, arguments))
        if counted is None:
            UNCOUNTED.inc(sum(step.wanted for step in steps))
            return None
        return [Counted(used=used, granted=granted) for used, granted in counted]

    def read(self, keys: Sequence[str]) -> list[int]:
        """Read counters; what is not there, or cannot be read, is 0."""
        values: Sequence[bytes | None] = self._ask(lambda: self._redis.mget(keys)) if keys else []
        return [int(value or 0) for value in values or [None] * len(keys)]

    def take_turn(self, seconds: int) -> bool:
        """Whether this worker, alone of all, does what is due every so many seconds."""
        return bool(self._ask(lambda: self._redis.set(TURN, "1", nx=True, ex=seconds)))

    def used_keys(self, until_ms: int) -> dict[int, int]:
        """Find the API keys last used until an instant that nobody has written down: id and instant."""
        found = self._ask(
            lambda: self._redis.zrange(KEYS_USED, "-inf", until_ms, byscore=True, withscores=True)
        )
        return {int(member): int(score) for member, score in found or []}

    def forget_used(self, until_ms: int) -> None:
        """Drop the keys that `used_keys` found, but for those that were used again since."""
        self._ask(lambda: self._redis.zremrangebyscore(KEYS_USED, "-inf", until_ms))

    def last_used(self, keys: Sequence[int]) -> list[int | None]:
        """Say when each key was last used, in ms, where that is not written down yet."""
        found = self._ask(lambda: self._redis.zmscore(KEYS_USED, [str(key) for key in keys])) if keys else []
        return [None if score is None else int(score) for score in found or [None] * len(keys)]

    def _ask(self, question: Callable[[], Any]) -> Any:
        if not self._may_ask():
            return None
        try:
            answer = question()
        except RedisError as error:
            self._note_failure(error)
            return None
        self._note_success()
        return answer

    def _may_ask(self) -> bool:
        with self._lock:
            now = self._monotonic()
            if now < self._silent_until:
                return False
            if self._is_down:
                self._silent_until = now + PAUSE_SECONDS  # this one asks for all
            return True

    def _note_failure(self, error: RedisError) -> None:
        with self._lock:
            self._silent_until = self._monotonic() + PAUSE_SECONDS
            was_down, self._is_down = self._is_down, True
        if not was_down:
            get_logger().error("redis_away", error=type(error).__name__, consequence="nothing is counted")

    def _note_success(self) -> None:
        if not self._is_down:
            return
        with self._lock:
            was_down, self._is_down = self._is_down, False
            self._silent_until = 0.0
        if was_down:
            get_logger().info("redis_back")
