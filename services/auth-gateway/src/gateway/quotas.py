"""How often a principal may call in an hour, and how often an address may fail to say who it is.

Lanes ask after admission has decided. A lane that may not block takes steps in a thread, several requests in
one (relay/accounts.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from common.clock import Clock
from common.principal import Principal, encoded
from gateway.addresses import Proxies, site_of
from gateway.counters import SPENT, Counted, Counters, Step

HOUR_SECONDS = 3600
KEPT_SECONDS = 2 * HOUR_SECONDS  # whoever adds an hour up comes after its end
WINDOW_SECONDS = 600


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for every request
class Share:
    """What a principal has left of its hour; `is_spent` when this request is one too many."""

    limit: int
    remaining: int
    reset_at: int
    is_spent: bool = False

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(self.reset_at)),
        ]

    @property
    def lines(self) -> bytes:
        """The same as they go over the wire."""
        return b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
            self.limit,
            self.remaining,
            self.reset_at,
        )


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A principal's quota at an instant."""

    caller: Principal
    limit: int
    at_ms: int

    @property
    def hour(self) -> int:
        return self.at_ms // 1000 // HOUR_SECONDS

    def step(self, wanted: int = 1) -> Step:
        """The step in Redis that takes as many requests from the hour."""
        return Step(
            key=counter(self.caller.kind, self.caller.issuer, self.caller.subject, self.hour),
            limit=self.limit,
            kept_seconds=KEPT_SECONDS,
            wanted=wanted,
            used_key=(self.at_ms, self.caller.subject) if self.caller.kind == "api-key" else None,
        )

    def share(self, used: int | None) -> Share:
        """Say what is left after `used` requests, or SPENT; nothing is taken when nobody could count."""
        is_spent = used == SPENT
        taken = self.limit if is_spent else used or 0
        return Share(
            limit=self.limit,
            remaining=max(0, self.limit - taken),
            reset_at=(self.hour + 1) * HOUR_SECONDS,
            is_spent=is_spent,
        )


def counter(kind: str, issuer: str, subject: str, hour: int) -> str:
    """Name the counter of a principal's hour, whatever its issuer and subject are called."""
    return f"gateway:quota:{kind}:{encoded(issuer)}:{encoded(subject)}:{hour}"


class Quotas:
    """Takes each request from its principal's hour. `limits` has the requests an hour of each kind."""

    def __init__(self, counters: Counters, clock: Clock, limits: Mapping[str, int]) -> None:
        self._counters = counters
        self._clock = clock
        self._limits = limits

    def quota(self, caller: Principal, requests_per_hour: int | None = None) -> Quota:
        """Find a principal's quota of this hour: its own, or that of its kind. No I/O."""
        return Quota(
            caller=caller,
            limit=self.usual(caller.kind) if requests_per_hour is None else requests_per_hour,
            at_ms=int(self._clock.now().timestamp() * 1000),
        )

    def usual(self, kind: str) -> int:
        """The requests an hour of a kind of principals."""
        return self._limits[kind]

    def take(self, caller: Principal, requests_per_hour: int | None = None) -> Share:
        """Count a request of this principal; one that nobody could count is let through."""
        quota = self.quota(caller, requests_per_hour)
        counted = self._counters.count(quota.step())
        return quota.share(counted.used if counted else None)

    def count_all(self, steps: Sequence[Step]) -> list[Counted] | None:
        """Take steps that were asked of quotas, MOST_STEPS at most; None when nobody can count."""
        return self._counters.count_all(steps)


class Failures:
    """Bars addresses that failed too often for the rest of a window of ten minutes.

    Who is barred is known in memory: a worker learns it by the first failure it counts past the limit.
    """

    def __init__(self, counters: Counters, clock: Clock, limit: int) -> None:
        self._counters = counters
        self._clock = clock
        self._limit = limit
        self._window = 0
        self._barred: set[str] = set()

    @property
    def bars_any(self) -> bool:
        """Whether any address is barred, as far as this worker knows."""
        return bool(self._barred)

    def barred_seconds(self, address: str) -> int:
        """How long this address must wait; 0 for one that may try. No I/O."""
        if not self._barred:
            return 0
        now = self._clock.now().timestamp()
        if self._window != now // WINDOW_SECONDS or site_of(address) not in self._barred:
            return 0
        return ceil((self._window + 1) * WINDOW_SECONDS - now)

    def note(self, address: str) -> int:
        """Count a failure of this address; answer as `barred_seconds` where it is one too many.

        One that nobody could count has no consequence.
        """
        window = int(self._clock.now().timestamp() // WINDOW_SECONDS)
        site = site_of(address)
        counted = self._counters.count(
            Step(key=f"gateway:failed:{site}:{window}", limit=self._limit, kept_seconds=WINDOW_SECONDS)
        )
        if counted is None or SPENT < counted.used < self._limit:
            return 0
        if window != self._window:
            self._barred = set()
            self._window = window
        self._barred.add(site)
        return self.barred_seconds(address) if counted.used == SPENT else 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a lane asks about how often."""

    quotas: Quotas
    failures: Failures
    proxies: Proxies
