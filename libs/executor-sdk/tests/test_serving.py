"""An executor as a process, on a real line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from executor_sdk.testing import RUN, Platform

PROGRAM = """
import functools, time
from executor_sdk import Executor, executor
from executor_sdk.lease import Lease

executor.Lease = functools.partial(Lease, leave_seconds=0.2)
served = Executor.from_environment()

@served.handles("assessments/patient")
def patient(run):
    while True:
        run.check_cancelled()
        time.sleep(0.01)

@served.handles("assessments/deaf")
def deaf(run):
    run.log("begun")
    time.sleep(600)

served.handles("*")(lambda run: run.bundle)
served.serve()
"""
TURN = {"v": 1, "run": RUN, "lease": 1, "ticket": "ticket"}


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return f"sdk-{tmp_path.name}"


@pytest.fixture
def line(servers: Any) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(servers.redis_url("admin"), socket_timeout=5) as client:
        yield client


@pytest.fixture
def process(servers: Any, platform: Platform, pool: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "GATEWAY_URL": platform.url,
        "REDIS_URL": servers.redis_url("executor"),
        "POOL": pool,
        "EXECUTOR_NAME": "one",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    started = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment)
    yield started
    started.kill()
    started.wait()


def until(is_so: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not become so in time")


def push(line: "redis.Redis", pool: str) -> None:
    line.rpush(f"jobs:line:{pool}", json.dumps(TURN))


def test_turns_are_taken_until_sigterm(
    process: subprocess.Popen[bytes], line: "redis.Redis", platform: Platform, pool: str
) -> None:
    push(line, pool)
    until(lambda: platform.bodies("complete"))
    assert line.exists(f"jobs:executor:{pool}:one")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert not line.exists(f"jobs:executor:{pool}:one")


def test_sigterm_gives_the_run_at_work_back(
    process: subprocess.Popen[bytes], line: "redis.Redis", platform: Platform, pool: str
) -> None:
    platform.payload["bundle"]["key"] = "assessments/patient"
    push(line, pool)
    until(lambda: platform.bodies("claim"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["retryable"]) == ("shutting_down", True)


def test_work_that_does_not_hear_of_its_lost_lease_ends_with_its_process(
    process: subprocess.Popen[bytes], line: "redis.Redis", platform: Platform, pool: str
) -> None:
    platform.payload["bundle"]["key"] = "assessments/deaf"
    platform.heartbeat_interval, platform.faults = 0.1, {"heartbeat": [401]}
    push(line, pool)
    assert process.wait(timeout=30) == 75
    assert platform.bodies("fail") == platform.bodies("complete") == []
