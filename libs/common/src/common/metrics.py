"""Prometheus metrics on a port of their own, loopback only.

A web process has several workers: its supervisor sets PROMETHEUS_MULTIPROC_DIR before prometheus_client is
imported (common.serving does), and the page adds the workers up.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("taxiway_http_requests", "Answers given", ("service", "method", "route", "status"))
SECONDS = Histogram(
    "taxiway_http_request_seconds", "Time to answer, in seconds", ("service", "route"), buckets=BUCKETS
)


def observe(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count an answer, and the time it took."""
    counter, histogram = _children(service, method, route, status)
    counter.inc()
    histogram.observe(seconds)


@lru_cache(maxsize=4096)
def _children(service: str, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(service, method, route, str(status)), SECONDS.labels(service, route)


def observe_many(service: str, route: str, total_seconds: float, counts: Sequence[int]) -> None:
    """Add a sum of observations to SECONDS: `counts` has one number a bucket, the last for all above.

    prometheus_client observes one by one only; this adds to the same values.
    """
    child = SECONDS.labels(service, route)
    child._sum.inc(total_seconds)
    for bucket, count in zip(child._buckets, counts, strict=True):
        if count:
            bucket.inc(count)


def serve(port: int, address: str = "127.0.0.1") -> WSGIServer:
    """Serve `/metrics` from a thread of this process."""
    server, _thread = start_http_server(port, addr=address, registry=registry(os.environ))
    return server


def registry(environ: Mapping[str, str]) -> CollectorRegistry:
    """The registry to show: this process's own, or the sum over its workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in environ:
        return REGISTRY
    summed = CollectorRegistry()
    MultiProcessCollector(summed)  # type: ignore[no-untyped-call]
    return summed
