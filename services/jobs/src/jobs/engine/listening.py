"""The listening end of nudges."""

from types import TracebackType
from typing import Any, Self

from redis import Redis

from common.clock import Clock
from jobs.engine.nudges import CHANNEL

SHORTEST_WAIT_SECONDS = 0.001
CROWD_SECONDS = 0.002  # whom a nudge does not concern reads it with those that follow
LONGEST_WAIT_SECONDS = 1.0  # so that whoever waits can be told to stop


class Listener:
    """A subscription to nudges that is renewed after an outage."""

    def __init__(self, redis: "Redis", clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._subscription: Any = None

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wait(self, seconds: float) -> frozenset[str]:
        """Wait for a nudge, at most so long and at most a second; return all that came. Raises RedisError."""
        try:
            subscription = self._subscribed()
            patience = min(max(seconds, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
            heard = {self._heard(subscription, patience)}
            while len(heard) < 100 and (more := self._heard(subscription, 0.0)) is not None:
                heard.add(more)
        except BaseException:
            self.close()
            raise
        return frozenset(message for message in heard if message)

    def _subscribed(self) -> Any:
        if self._subscription is None:
            self._subscription = self._redis.pubsub()  # type: ignore[no-untyped-call]
            self._subscription.subscribe(CHANNEL)
        return self._subscription

    def _heard(self, subscription: Any, seconds: float) -> str | None:
        message = subscription.get_message(timeout=seconds)
        if message is None:
            return None
        return str(message["data"]) if message["type"] == "message" else ""

    def close(self) -> None:
        """Drop the subscription; the next wait makes a new one."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
