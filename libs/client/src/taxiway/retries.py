"""When to try again, and after how long."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TRY_AGAIN = (429, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a call is tried, and how long is waited between: the ceiling doubles each time."""

    attempts: int = 6
    initial_delay_seconds: float = 0.5
    max_delay_seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def ceilings(self) -> Iterator[float]:
        """List the longest wait after each attempt but the last."""
        for past in range(self.attempts - 1):
            yield min(self.max_delay_seconds, self.initial_delay_seconds * 2**past)

    def pause(self, ceiling_seconds: float, asked_seconds: float | None = None) -> bool:
        """Wait before the next attempt, at least as long as the server asked; false if that is too long."""
        if asked_seconds is not None and asked_seconds > self.max_delay_seconds:
            return False
        # Full jitter, so that many clients that failed together do not come back together.
        self.sleep((asked_seconds or 0) + random.uniform(0, ceiling_seconds))
        return True


def retry_after_seconds(header: str | None) -> float | None:
    """Read `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None
