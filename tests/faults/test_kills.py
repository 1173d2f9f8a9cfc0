"""Kill each part in mid-job: one set is published, byte for byte the same, and nothing is left alive."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from driving import Client, Published, client_of

from stack.testing import LocalStack

pytestmark = pytest.mark.faults

ROWS = 50_000
ECHO = "tests/echo"
PSAT_SAT = "assessments/PSAT_SAT"
# `make faults` sets it: the same tests with earthmover doing the work, which takes minutes instead of seconds
BUNDLE = PSAT_SAT if os.environ.get("FAULTS_WITH") == "earthmover" else ECHO
PARAMS = {ECHO: {"ECHO_SECONDS": "4"}, PSAT_SAT: {"TEST_TYPE": "SAT"}}[BUNDLE]
PATIENCE_SECONDS = {ECHO: 120, PSAT_SAT: 600}[BUNDLE]
LIVE = "('delayed', 'queued', 'dequeued', 'executing', 'waiting')"


@pytest.fixture(scope="module")
def client(fault_stack: LocalStack) -> Client:
    return client_of(fault_stack)


@pytest.fixture(scope="module")
def undisturbed(client: Client) -> Published:
    """The set of a job nobody disturbs."""
    return only_set(client, finish(client, start(client)))


@functools.cache
def content() -> bytes:
    if BUNDLE == ECHO:
        return b"".join(b"%d,a fictional line of input\n" % number for number in range(ROWS))
    generate = [sys.executable, "bundles/assessments/PSAT_SAT/data/generate.py", str(ROWS)]
    return subprocess.run(generate, capture_output=True, check=True).stdout


def start(client: Client) -> str:
    return client.submit(BUNDLE, content(), PARAMS)


def finish(client: Client, uid: str) -> str:
    client.wait_completed(uid, seconds=PATIENCE_SECONDS)
    return uid


def at_work(job: Any) -> bool:
    """The executor has reported progress and is not near its end."""
    return bool(job["runs"]) and 0 < float(job["runs"][-1].get("percent") or 0) < 90


def only_set(client: Client, uid: str) -> Published:
    sets = client.published(uid)
    assert len(sets) == 1
    return sets[0]


def rows(stack: LocalStack, statement: str, *values: Any) -> list[Any]:
    """Read the truth where it is kept; no API shows leases."""
    url = stack.database_url("jobs").replace("postgresql+psycopg2://", "postgresql://")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def leases(stack: LocalStack, uid: str) -> list[int]:
    return [row[0] for row in rows(stack, "SELECT lease FROM run WHERE job_id = %s", uid)]


def nothing_alive(stack: LocalStack) -> bool:
    return rows(stack, f"SELECT id FROM run WHERE status IN {LIVE} OR holds_job") == []


def forget_redis(stack: LocalStack) -> None:
    """Kill Redis together with what it had written."""
    shutil.rmtree(stack.folder("valkey") / "appendonlydir", ignore_errors=True)
    stack.kill("valkey")


def jobs_worker(stack: LocalStack) -> None:
    stack.signal_child("jobs", signal.SIGKILL)


KILLS: dict[str, Callable[[LocalStack], None]] = {
    "executor": lambda stack: stack.kill("executor"),
    "dispatcher": lambda stack: stack.kill("dispatcher"),
    "courier": lambda stack: stack.kill("courier"),
    "jobs-worker": jobs_worker,
    "outputs": lambda stack: stack.kill("outputs"),
    "gateway": lambda stack: stack.kill("gateway"),
    "postgres": lambda stack: stack.kill("postgres"),
    "redis-with-its-data": forget_redis,
    "s3": lambda stack: stack.kill("seaweed"),
}


@pytest.mark.parametrize("part", KILLS)
def test_a_part_killed_in_mid_job_costs_nothing(
    fault_stack: LocalStack, client: Client, undisturbed: Published, part: str
) -> None:
    uid = start(client)
    client.wait(uid, at_work)
    KILLS[part](fault_stack)
    finish(client, uid)
    assert only_set(client, uid).digests == undisturbed.digests
    [lease] = leases(fault_stack, uid)
    assert lease >= (2 if part == "executor" else 1)  # an outage longer than a heartbeat may raise it too
    assert nothing_alive(fault_stack)


def test_redis_losing_its_data_while_a_run_is_dequeued_costs_nothing(
    fault_stack: LocalStack, client: Client, undisturbed: Published
) -> None:
    with fault_stack.stopped("executor"):
        uid = start(client)
        wait_for_status(fault_stack, uid, "dequeued")
        forget_redis(fault_stack)
        wait_for_pid(fault_stack, "valkey")
    finish(client, uid)
    assert only_set(client, uid).digests == undisturbed.digests
    assert nothing_alive(fault_stack)


def test_redis_losing_its_data_before_publication_costs_nothing(
    fault_stack: LocalStack, client: Client, undisturbed: Published
) -> None:
    with fault_stack.stopped("courier"):
        uid = start(client)
        client.wait(uid, lambda job: job["status"] == "publishing", seconds=PATIENCE_SECONDS)
        assert client.published(uid) == []
        forget_redis(fault_stack)
        wait_for_pid(fault_stack, "valkey")
    finish(client, uid)
    assert only_set(client, uid).digests == undisturbed.digests
    assert nothing_alive(fault_stack)


def wait_for_status(stack: LocalStack, uid: str, status: str) -> None:
    wait(lambda: rows(stack, "SELECT status FROM run WHERE job_id = %s", uid) == [(status,)])


def wait_for_pid(stack: LocalStack, name: str) -> None:
    wait(lambda: stack.pid(name) > 0)


def wait(reached: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)
