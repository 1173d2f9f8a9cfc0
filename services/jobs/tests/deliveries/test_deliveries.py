"""The outbox and the courier: sent until answered, closed once, never with a transaction open."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from common.clock import SystemClock
from common.database import transaction
from jobs.courier import BATCH, Courier, run
from jobs.deliveries import outbox
from jobs.deliveries.send import SendFailed, SignedReceiver
from jobs.engine.nudges import NoNudge
from stack.ports import free_port

KEYS = {"o1": b"o" * 32}  # as in conftest.py
OPEN = "SELECT * FROM delivery WHERE closed_at IS NULL"


@pytest.fixture
def courier(engine: Engine, receiver: Any) -> Iterator[Courier]:
    courier = Courier(engine, receiver, NoNudge())
    yield courier
    courier.close()


def test_an_outcome_is_sent_once_and_its_answer_kept_with_the_run(
    courier: Courier, receiver: Any, ended: Any, rows: Any
) -> None:
    run = ended(("a", "b"))
    published = [{"uid": "a", "kind": "result", "name": "n", "published_at": "2026-01-01T00:00:00.000Z"}]
    receiver.answer = {"sets": published}
    assert (courier.deliver(), courier.deliver()) == (1, 0)
    [(target, body)] = receiver.received
    assert target == f"/internal/runs/{run.id}/outcome"
    assert body["job"] == {
        "uid": str(run.job_id),
        "partner": "acme",
        "tenant": "t1",
        "schoolYear": "2026",
        "bundle": "assessments/X",
    }
    assert (body["lease"], body["status"], body["sets"]) == (1, "completed", ["a", "b"])
    assert body["finished_at"].endswith("Z")
    stored = rows("SELECT output_sets, event_seq FROM run WHERE id = :id", id=run.id)[0]
    assert stored["output_sets"] == published
    events = rows("SELECT seq FROM run_event WHERE run_id = :id AND type = 'published'", id=run.id)
    assert [event["seq"] for event in events] == [stored["event_seq"]]
    assert rows(OPEN) == []


@pytest.mark.parametrize("status", [None, 404, 500, 503])
def test_an_outcome_is_repeated_until_it_is_answered(
    courier: Courier, receiver: Any, ended: Any, rows: Any, status: int | None
) -> None:
    run = ended()
    receiver.failing, receiver.status = 3, status
    for tries in range(1, 5):
        assert courier.deliver() == 1
        assert courier.deliver() == 0  # not before its pause is over
        if tries < 4:
            [waiting] = rows(OPEN)
            assert (waiting["tries"], waiting["last_status"], waiting["last_error"]) == (tries, status, "no")
            rows("UPDATE delivery SET due_at = now()")
    assert rows(OPEN) == []
    assert rows("SELECT output_sets FROM run WHERE id = :id", id=run.id)[0]["output_sets"] == []


def test_webhooks_are_nudged_only_when_a_set_is_news_to_one(
    engine: Engine, receiver: Any, ended: Any, subscribe: Any
) -> None:
    class Counting(NoNudge):
        nudged = 0

        def deliveries(self) -> None:
            self.nudged += 1

    nudge = Counting()
    courier = Courier(engine, receiver, nudge)
    receiver.answer = {"sets": [{"uid": "a", "kind": "result", "name": "n", "published_at": "2026"}]}
    ended()
    assert (courier.deliver(), nudge.nudged) == (1, 0)
    subscribe("http://receiver.example/", "output_set.published")
    ended()
    assert (courier.deliver(), nudge.nudged) == (1, 1)
    courier.close()


def test_a_full_batch_is_followed_by_the_next_without_a_nudge(
    engine: Engine, receiver: Any, ended: Any, rows: Any
) -> None:
    class Silent:
        def monotonic(self) -> float:
            return time.monotonic()

        def wait(self, seconds: float) -> frozenset[str]:
            stop.set()
            return frozenset()

    for _ in range(BATCH + 1):
        ended()
    courier, stop = Courier(engine, receiver, NoNudge()), threading.Event()
    run(courier, cast(Any, Silent()), stop, 1.0)
    courier.close()
    assert rows(OPEN) == []


def test_pauses_double_up_to_a_bound() -> None:
    pauses = [outbox.pause_seconds(tries, lambda: 0.5) for tries in range(1, 9)]
    assert pauses == [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert outbox.pause_seconds(10**6, lambda: 1.0) == pytest.approx(18)
    assert outbox.pause_seconds(1, lambda: 0.0) == pytest.approx(0.4)


def test_a_courier_that_dies_while_sending_loses_nothing(
    courier: Courier, engine: Engine, ended: Any, receiver: Any, rows: Any
) -> None:
    ended()
    with transaction(engine) as connection:
        [taken] = outbox.take(connection, ["outcome"], 10)  # and then it dies
    assert courier.deliver() == 0
    rows("UPDATE delivery SET due_at = due_at - make_interval(secs => 20)")
    assert courier.deliver() == 1
    assert rows("SELECT tries FROM delivery WHERE id = :id", id=taken.id) == [{"tries": 2}]


def test_two_couriers_at_once_send_each_delivery_once(engine: Engine, ended: Any, receiver: Any) -> None:
    runs = [ended() for _ in range(40)]
    couriers = [Courier(engine, receiver, NoNudge()) for _ in range(3)]

    def work(courier: Courier) -> int:
        taken = 0
        while count := courier.deliver():
            taken += count
        return taken

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(work, couriers)) == 40
    for courier in couriers:
        courier.close()
    assert sorted(target for target, _ in receiver.received) == sorted(
        f"/internal/runs/{run.id}/outcome" for run in runs
    )


def test_no_transaction_is_open_while_sending(engine: Engine, ended: Any, rows: Any) -> None:
    seen: list[Any] = []

    class Looking:
        def put(self, target: str, body: Any) -> tuple[int, dict[str, Any]]:
            seen.extend(
                rows(
                    "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
                    " AND usename = 'jobs' AND state LIKE 'idle in transaction%'"
                )
            )
            return 200, {}

    ended()
    courier = Courier(engine, Looking(), NoNudge())
    assert courier.deliver() == 1
    courier.close()
    assert seen == []


def test_school_years_are_sent_as_they_are_by_then(
    courier: Courier, engine: Engine, receiver: Any, rows: Any
) -> None:
    rows("INSERT INTO school_year VALUES ('2027'), ('2026') ON CONFLICT DO NOTHING")
    with transaction(engine) as connection:
        outbox.record(connection, "school-years", {})
    assert courier.deliver() == 1
    assert receiver.received == [("/internal/school-years", {"years": ["2026", "2027"]})]
    assert rows(OPEN) == []


def test_a_delivery_about_a_run_that_is_gone_is_closed(
    courier: Courier, engine: Engine, receiver: Any, rows: Any
) -> None:
    with transaction(engine) as connection:
        outbox.record(connection, "outcome", {"run": "00000000-0000-7000-8000-000000000000", "lease": 1})
    assert courier.deliver() == 1
    assert receiver.received == []
    assert rows(OPEN) == []


@pytest.fixture
def signed() -> Iterator[Callable[[str], SignedReceiver]]:
    made: list[SignedReceiver] = []

    def make(url: str) -> SignedReceiver:
        made.append(SignedReceiver(url, KEYS, SystemClock(), connections=2))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def test_a_call_is_signed_and_its_answer_read(outputs: Any, signed: Any) -> None:
    url, handler = outputs
    assert signed(url).put("/internal/school-years", {"years": ["2026"]}) == (200, {"sets": []})
    assert handler.calls == [("/internal/school-years", {"years": ["2026"]})]


@pytest.mark.parametrize(
    ("reply", "status"),
    [((302, b""), 302), ((409, b"no"), 409), ((500, b""), 500), ((200, b"<html>"), 200)],
)
def test_anything_but_a_2xx_with_json_is_a_failure(
    outputs: Any, signed: Any, reply: Any, status: int
) -> None:
    url, handler = outputs
    handler.reply = reply
    with pytest.raises(SendFailed) as failed:
        signed(url).put("/internal/school-years", {})
    assert failed.value.status == status


def test_a_receiver_that_is_away_is_a_failure_without_status(signed: Any) -> None:
    with pytest.raises(SendFailed) as failed:
        signed(f"http://127.0.0.1:{free_port()}").put("/internal/school-years", {})
    assert failed.value.status is None


def test_the_process_delivers_and_ends_cleanly(
    courier_environment: Any, ended: Any, outputs: Any, rows: Any
) -> None:
    url, handler = outputs
    run = ended()
    command = [sys.executable, "-m", "jobs.courier"]
    environment = courier_environment(url)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 15
            while rows(OPEN):
                assert time.monotonic() < end
                threading.Event().wait(0.05)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0
    assert [target for target, _ in handler.calls] == [f"/internal/runs/{run.id}/outcome"]
    assert json.loads(output.splitlines()[-1])["event"] == "courier_stopped"
