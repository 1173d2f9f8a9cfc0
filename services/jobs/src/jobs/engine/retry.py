"""When a failed attempt is tried again, and how long it waits first."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

JITTER = 0.2
KINDS = ("exponential", "linear", "fixed", "custom")
RETRYABLE = frozenset({"rate_limited", "server", "timeout", "connection", "transient", "unknown"})
NOT_RETRYABLE = frozenset({"client", "auth", "budget", "oom", "invalid_input"})


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How the pauses between attempts grow. `delays_seconds` is the list of kind `custom`."""

    kind: str = "exponential"
    initial_seconds: float = 1.0
    max_seconds: float = 60.0
    delays_seconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of backoff: {self.kind}")
        if self.kind == "custom" and not self.delays_seconds:
            raise ValueError("a custom backoff needs its delays")
        if min(self.initial_seconds, self.max_seconds, *self.delays_seconds) < 0:
            raise ValueError("a delay cannot be negative")


def backoff_of(stored: Mapping[str, Any]) -> Backoff:
    """Read what is stored with a run; what is absent takes our defaults."""
    usual = Backoff()
    return Backoff(
        kind=stored.get("backoff", usual.kind),
        initial_seconds=stored.get("initial_delay_secs", usual.initial_seconds),
        max_seconds=stored.get("max_delay_secs", usual.max_seconds),
        delays_seconds=tuple(stored.get("delays_secs", ())),
    )


def delay_seconds(backoff: Backoff, attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Compute the pause after `attempt` (from 1) failed, ± 20 %: a crowd must not come back at once."""
    return min(_plain(backoff, attempt), backoff.max_seconds) * (1 + JITTER * (2 * chance() - 1))


def _plain(backoff: Backoff, attempt: int) -> float:
    if backoff.kind == "exponential":
        return backoff.initial_seconds * 2.0 ** min(attempt - 1, 60)
    if backoff.kind == "linear":
        return backoff.initial_seconds * attempt
    if backoff.kind == "fixed":
        return backoff.initial_seconds
    return backoff.delays_seconds[min(attempt, len(backoff.delays_seconds)) - 1]


def is_retryable(retryable: bool | None, error_class: str | None) -> bool:
    """Judge a failure: the executor's own word, or else its error class; without either it is final."""
    return error_class in RETRYABLE if retryable is None else retryable
