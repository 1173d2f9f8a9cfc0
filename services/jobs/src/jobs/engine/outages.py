"""How a process without a client outlives what it depends on: wait a little longer each time, log it once."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.logs import get_logger

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


class Outages:
    """Survives the errors of `kinds`; `stop` cuts every pause short."""

    def __init__(
        self,
        stop: threading.Event,
        kinds: tuple[type[Exception], ...],
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._longest_pause_seconds = longest_pause_seconds
        self._stop = stop
        self._kinds = kinds
        self._failures = 0

    @contextmanager
    def survived(self) -> Iterator[None]:
        """Do a round: one that fails is followed by a pause, the first one that works says so."""
        try:
            yield
        except self._kinds as error:
            self._failed(error)
        else:
            self._worked()

    def _failed(self, error: Exception) -> None:
        if not self._failures:
            get_logger().warning("outage_began", kind=type(error).__name__, error=str(error)[:300])
        self._failures += 1
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10), self._longest_pause_seconds)
        self._stop.wait(pause * (0.8 + 0.4 * random.random()))

    def _worked(self) -> None:
        if self._failures:
            get_logger().info("outage_ended", failures=self._failures)
            self._failures = 0
