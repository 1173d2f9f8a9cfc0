"""Thousands of watchers: no thread and no database connection each, and one read for all of a run.

`make watchers WATCHERS=10000` runs this alone with more of them and shows what it measured.
"""

import os
import resource
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import pytest

from common.principal import Principal

WATCHERS = int(os.environ.get("WATCHERS", "2000"))
OF_ONE_RUN = 1000
LINES = 5
SECONDS = 60  # for what must come, on a busy machine
OPENING = b"retry: 2000\n\n"
LIKE_IT = """
    INSERT INTO run (id, job_id, partner, pool, status, holds_job, max_attempts, priority, payload, inputs,
        timeout_seconds, expires_at, triggered_by, created_by, lease)
    SELECT gen_random_uuid(), job_id, partner, pool, status, false, max_attempts, priority, payload, inputs,
        timeout_seconds, expires_at, triggered_by, created_by, lease
    FROM run, generate_series(1, :count) WHERE id = :id RETURNING id
"""


@pytest.fixture(scope="module", autouse=True)
def _files() -> Iterator[None]:
    """A socket a watcher, and some."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most > WATCHERS + 500, f"only {most} files may be open: raise `ulimit -Hn`"
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


class Crowd:
    """Many clients, each with a stream, read together."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._heard: dict[Any, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for each in self._heard:
            each.close()

    def add(self, port: int, request: str) -> None:
        each = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        each.sendall(request.encode())
        each.setblocking(False)
        self._selector.register(each, selectors.EVENT_READ)
        self._heard[each] = b""

    def hear(self, word: bytes) -> list[float]:
        """Read until every client heard the word; give the instants when they did."""
        deadline = time.monotonic() + SECONDS
        waiting = {each for each, heard in self._heard.items() if word not in heard}
        instants = []
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} did not hear {word!r}"
            for key, _ in self._selector.select(1):
                each: Any = key.fileobj
                piece = each.recv(65536)
                assert piece, f"a stream ended: {self._heard[each]!r}"
                self._heard[each] += piece
                if each in waiting and word in self._heard[each]:
                    self._heard[each] = word
                    waiting.remove(each)
                    instants.append(time.monotonic())
        return instants


@pytest.fixture
def gather(signed: Callable[[str, Principal], dict[str, str]]) -> Iterator[Callable[..., Crowd]]:
    """Open a stream at each target, a hundred for each caller and at a time."""
    with Crowd() as crowd:

        def add(watch: Any, targets: Sequence[str]) -> Crowd:
            for number, target in enumerate(targets, 1):
                caller = Principal(
                    kind="client",
                    subject=f"crowd-{(number - 1) // 100}",
                    scopes=frozenset({"read:jobs"}),
                    partners=frozenset({"acme"}),
                )
                head = "".join(f"{name}: {value}\r\n" for name, value in signed(target, caller).items())
                crowd.add(watch.port, f"GET {target} HTTP/1.1\r\nHost: x\r\n{head}\r\n")
                if number % 100 == 0:
                    crowd.hear(OPENING)
            return crowd

        yield add


def test_thousands_of_idle_watchers_take_no_thread_and_no_connection_each(
    new_watch: Any, runs: Any, gather: Any, rows: Any
) -> None:
    alike = [row["id"] for row in rows(LIKE_IT, id=runs.begin().id, count=WATCHERS)]
    with new_watch() as watch:
        threads, begun_kib = watch.status("Threads"), watch.status("VmRSS")
        crowd = gather(watch, [f"/v1/runs/{run}/stream" for run in alike])
        assert watch.measured("taxiway_streams") == WATCHERS
        [held] = rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobs-watch'")
        assert held["count"] <= 8
        assert watch.status("Threads") - threads <= 10
        kib = watch.status("VmRSS")
        assert (kib - begun_kib) / WATCHERS < 30
        show(
            "idle streams", WATCHERS, "MB of the worker", kib / 1024, "KB each", (kib - begun_kib) / WATCHERS
        )
        runs.log_all(alike, "for everyone")  # without a nudge: by the tick
        crowd.hear(b"for everyone")


def test_a_thousand_watchers_of_one_run_cost_one_read(new_watch: Any, runs: Any, gather: Any) -> None:
    run = runs.begin()
    waited: list[float] = []
    # No tick in between: each nudge is one read.
    with new_watch(tick_seconds="60") as watch:
        crowd = gather(watch, [f"/v1/runs/{run.id}/stream?after={run.event_seq}"] * OF_ONE_RUN)
        before = watch.measured('taxiway_stream_reads_total{by="hub"}')
        for number in range(LINES):
            begun = time.monotonic()
            runs.log(run, f"line {number}")
            waited += (instant - begun for instant in crowd.hear(b"line %d" % number))
        assert watch.measured('taxiway_stream_reads_total{by="hub"}') - before == LINES
        assert watch.measured('taxiway_stream_reads_total{by="watcher"}') == 0
    at = statistics.quantiles((seconds * 1000 for seconds in waited), n=100)
    show("streams of one run", OF_ONE_RUN, "ms to hear, p50", at[49], "p99", at[98])


def show(*words: Any) -> None:
    print("\n", *(f"{word:.1f}" if isinstance(word, float) else word for word in words))
