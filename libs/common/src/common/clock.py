"""The one place a process asks for the time; a test hands in its own clock."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time: `now()` aware and in UTC, `timestamp()` the same in Unix seconds, `monotonic()` in
    seconds for measuring.
    """

    def now(self) -> datetime: ...

    def timestamp(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def timestamp(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class FixedClock:
    """A clock that stands still until told to move; for tests."""

    at: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    elapsed_seconds: float = 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.elapsed_seconds)

    def timestamp(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self.elapsed_seconds

    def advance(self, seconds: float) -> None:
        self.elapsed_seconds += seconds


def rfc3339(instant: datetime) -> str:
    """Write an aware instant in UTC with milliseconds and `Z` (RFC 3339)."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
