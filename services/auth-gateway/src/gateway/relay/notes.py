"""What is noted of an answer: one log line and the metrics, as the plain lane has them.

At tens of thousands of answers a second the logging and metrics libraries would cost more than the answers:
the line is written here in the shape of common.logs, and counts reach prometheus_client in sums.
"""

import json
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from common import metrics
from common.principal import Principal
from gateway.routes import METHODS, Route

_COUNTED = frozenset((*METHODS, "HEAD"))


@dataclass(slots=True)
class _Answers:
    """Answers alike: how long they took together, and a histogram of it in the making."""

    total_seconds: float
    counts: list[int]


class Notes:
    """Takes notes; `publish()` hands the sums on, at least once a second. One thread at a time."""

    def __init__(self, write: Callable[[str], object], *, logs_requests: bool) -> None:
        self._write = write
        self._logs_requests = logs_requests
        self._second = 0
        self._instant = ""
        self._answers: dict[tuple[str, str, int], _Answers] = {}

    def take(
        self,
        request_id: str,
        method: str,
        target: str,
        route: Route | None,
        status: int,
        seconds: float,
        caller: Principal | None,
    ) -> None:
        """Count and log one answer."""
        name = route.path if route else "(none)"
        key = (method, name, status)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = _Answers(0.0, [0] * (len(metrics.BUCKETS) + 1))
        answers.total_seconds += seconds
        answers.counts[bisect_left(metrics.BUCKETS, seconds)] += 1
        if self._logs_requests:
            path = target.partition("?")[0][:500]
            client = _text((caller.client_id or caller.subject) if caller else "")
            self._write(
                f'{{"request_id": "{request_id}", "method": {_text(method)}, "path": {_text(path)},'
                f' "route": "{name}", "status": {status}, "ms": {seconds * 1000:.1f}, "client": {client},'
                f' "event": "request", "level": "info", "at": "{self._now()}", "service": "gateway"}}\n'
            )

    def publish(self) -> None:
        """Hand the sums to prometheus_client."""
        answers, self._answers = self._answers, {}
        for (method, route, status), each in answers.items():
            counted = method if method in _COUNTED else "(other)"
            metrics.REQUESTS.labels("gateway", counted, route, str(status)).inc(sum(each.counts))
            metrics.observe_many("gateway", route, each.total_seconds, each.counts)

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._instant = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._instant}.{int((now - second) * 1_000_000):06d}Z"


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    return json.dumps(value)
