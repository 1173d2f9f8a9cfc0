"""The promise to pollers: whoever has seen a set has seen every set before it (design.md §5.9)."""

import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import IO, Any

import pytest
from sqlalchemy import Engine, text

from common.database import transaction
from outputs import publication
from outputs.publication import Labels, Outcome

LIST = "/api/v1/output-sets"
PUBLISHERS, OUTCOMES_EACH, SETS_EACH = 6, 12, 3
ADD_SEALED = text("""
    INSERT INTO output_set (uid, run_id, lease, kind, name, sent_to_ods, sealed_at)
    SELECT gen_random_uuid(), :run_id, 1, 'result', 'set ' || n, false, now()
    FROM generate_series(1, :count) n
    RETURNING uid
""")
PUBLISHER = Path(__file__).with_name("publisher.py")
WAITING = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'paused-publisher' AND wait_event_type = 'Lock'
""")


def outcome(run_id: uuid.UUID, partner: str) -> Outcome:
    labels = Labels(job_uid=uuid.uuid4(), partner=partner, tenant="t", school_year="2026", bundle="b")
    return Outcome(
        run_id=run_id, lease=1, status="completed", finished_at=None, labels=labels, named=None
    )  # fmt: skip


def publish(engine: Engine, partner: str, count: int, pause_seconds: float) -> list[str]:
    """Publish `count` sets and hold the commit back for a while after the instants were taken."""
    run_id = uuid.uuid4()
    with transaction(engine) as connection:
        connection.execute(ADD_SEALED, {"run_id": run_id, "count": count})
    with transaction(engine) as connection:
        recorded = publication.record(connection, outcome(run_id, partner))
        time.sleep(pause_seconds)
    return [each["uid"] for each in recorded.answered["sets"]]


class Publishers:
    """Threads that publish for one partner at once."""

    def __init__(self, engine: Engine, partner: str) -> None:
        self.made: list[str] = []
        self._engine = engine
        self._partner = partner
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(PUBLISHERS)]
        for thread in self._threads:
            thread.start()

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(OUTCOMES_EACH):
            pause_seconds = chance.choice((0, 0, 0.001, 0.01, 0.03))
            self.made += publish(self._engine, self._partner, chance.randint(1, SETS_EACH), pause_seconds)

    def are_at_work(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)


def poll_by_created_after(door: Any, partner: str, seen: list[dict[str, Any]]) -> None:
    after = f"&createdAfter={seen[-1]['createdAt']}" if seen else ""
    seen += door.get(f"{LIST}?partner={partner}{after}", partner).json


def poll_by_cursor(door: Any, partner: str, seen: list[dict[str, Any]]) -> None:
    after = f"&createdAfter={seen[-1]['createdAt']}" if seen else ""
    target: str | None = f"{LIST}?partner={partner}&limit=2{after}"
    while target:
        answer = door.get(target, partner)
        seen += answer.json
        link = answer.headers.get("Link")
        target = link and link[1 : link.index(">")]


def test_pollers_miss_nothing_and_see_nothing_twice_while_publishers_race(
    door: Any, partner: str, engine: Engine
) -> None:
    publishers = Publishers(engine, partner)
    by_time: list[dict[str, Any]] = []
    by_cursor: list[dict[str, Any]] = []
    rounds = 0
    while publishers.are_at_work():
        poll_by_created_after(door, partner, by_time)
        poll_by_cursor(door, partner, by_cursor)
        rounds += 1
    poll_by_created_after(door, partner, by_time)
    poll_by_cursor(door, partner, by_cursor)
    whole = door.get(f"{LIST}?partner={partner}", partner).json
    assert rounds > 10
    assert by_time == whole
    assert by_cursor == whole
    assert sorted(item["uid"] for item in whole) == sorted(publishers.made)
    instants = [item["createdAt"] for item in whole]
    assert instants == sorted(set(instants))


class Process:
    """A publisher in a process of its own; a `held` one commits only when told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.made: list[str] = []

    def is_done(self) -> bool:
        return self._process.poll() is not None

    def read_taken(self) -> None:
        """Wait until it has taken the clock."""
        self.made += pipe(self._process.stdout).readline().split()

    def stop_before_commit(self) -> None:
        """Freeze it; it has been told to commit, so that only being frozen keeps it from that."""
        self._process.send_signal(SIGSTOP)
        pipe(self._process.stdin).write("\n")
        pipe(self._process.stdin).flush()

    def go_on(self) -> None:
        self._process.send_signal(SIGCONT)

    def end(self) -> None:
        rest, _ = self._process.communicate(timeout=30)
        self.made += rest.split()
        assert self._process.returncode == 0


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@contextmanager
def publishing(url: str, partner: str, outcomes: int, *, is_held: bool = False) -> Iterator[Process]:
    command = [sys.executable, str(PUBLISHER), partner, str(outcomes)]
    with subprocess.Popen(
        command,
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE if is_held else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Process(process)
        finally:
            process.kill()  # a stopped process too ends by this


def count_waiting(engine: Engine) -> int:
    with transaction(engine) as connection:
        return int(connection.execute(WAITING).scalar_one())


class Pollers:
    """Two that follow the list: by the last instant seen, and by cursors."""

    def __init__(self, door: Any, partner: str) -> None:
        self._door, self._partner = door, partner
        self.by_time: list[dict[str, Any]] = []
        self.by_cursor: list[dict[str, Any]] = []

    def poll(self) -> None:
        poll_by_created_after(self._door, self._partner, self.by_time)
        poll_by_cursor(self._door, self._partner, self.by_cursor)


@pytest.mark.timeout(60)
def test_pollers_miss_nothing_while_a_publisher_is_frozen_before_its_commit(
    door: Any, partner: str, engine: Engine, database_urls: dict[str, str]
) -> None:
    url, pollers = database_urls["outputs"], Pollers(door, partner)
    with ExitStack() as processes:
        held = processes.enter_context(publishing(url, partner, 4, is_held=True))
        held.read_taken()
        held.stop_before_commit()
        free = [processes.enter_context(publishing(url, partner, 20)) for _ in range(2)]
        until = time.monotonic() + 20
        while count_waiting(engine) < len(free) and not all(each.is_done() for each in free):
            assert time.monotonic() < until
            pollers.poll()
            time.sleep(0.05)
        pollers.poll()
        held.go_on()
        for _ in range(3):
            pollers.poll()
            held.read_taken()
            held.stop_before_commit()
            for _ in range(5):
                pollers.poll()
                time.sleep(0.01)
            held.go_on()
        for each in (held, *free):
            each.end()
        pollers.poll()
    whole = door.get(f"{LIST}?partner={partner}", partner).json
    assert sorted(item["uid"] for item in whole) == sorted(held.made + free[0].made + free[1].made)
    assert len(whole) == 2 * (4 + 20 + 20)
    assert pollers.by_time == whole
    assert pollers.by_cursor == whole


def test_sets_of_one_outcome_get_consecutive_milliseconds(door: Any, partner: str, engine: Engine) -> None:
    uids = publish(engine, partner, 4, 0)
    items = door.get(f"{LIST}?partner={partner}", partner).json
    assert [item["uid"] for item in items] == uids
    instants = [datetime.fromisoformat(item["createdAt"]) for item in items]
    assert [after - before for before, after in pairwise(instants)] == [timedelta(milliseconds=1)] * 3


def test_the_clock_is_the_last_instant_given(partner: str, engine: Engine, door: Any) -> None:
    publish(engine, partner, 3, 0)
    with transaction(engine) as connection:
        read = publication.read_clock(connection, partner)
    [*_, last] = door.get(f"{LIST}?partner={partner}", partner).json
    assert datetime.fromisoformat(last["createdAt"]) == read


def test_publication_goes_on_after_a_clock_that_was_ahead(door: Any, partner: str, engine: Engine) -> None:
    ahead = datetime(2099, 1, 1, tzinfo=UTC)
    with transaction(engine) as connection:
        values = {"partner": partner, "ahead": ahead}
        connection.execute(text("INSERT INTO publication_clock VALUES (:partner, :ahead)"), values)
    publish(engine, partner, 2, 0)
    instants = [item["createdAt"] for item in door.get(f"{LIST}?partner={partner}", partner).json]
    assert instants == ["2099-01-01T00:00:00.001Z", "2099-01-01T00:00:00.002Z"]


def test_a_new_publication_is_stamped_with_the_present(door: Any, partner: str, engine: Engine) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    publish(engine, partner, 1, 0)
    [item] = door.get(f"{LIST}?partner={partner}", partner).json
    assert before <= datetime.fromisoformat(item["createdAt"]) <= datetime.now(UTC) + timedelta(seconds=1)


def test_publishers_of_different_partners_do_not_wait_for_each_other(engine: Engine) -> None:
    one, other = f"p-{uuid.uuid4().hex}", f"p-{uuid.uuid4().hex}"
    with transaction(engine) as first:
        publication.take_instants(first, one, 1)
        with transaction(engine) as second:
            second.execute(text("SET LOCAL lock_timeout = '100ms'"))
            publication.take_instants(second, other, 1)
