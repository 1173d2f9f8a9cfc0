"""The executor as a process, on a real line: it takes turns, stops when told, and leaves nobody behind."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from stack.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PSAT_SAT, ECHO = "bundles/assessments/PSAT_SAT", "tests/bundles/tests/echo"
RUN = "018f0000-0000-7000-8000-000000000001"
TURN = {"v": 1, "run": RUN, "lease": 1, "ticket": "ticket", "traceparent": "00-1-1-01"}
Order = Callable[..., dict[str, Any]]


@pytest.fixture
def line(servers: Any) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(servers.redis_url("admin"), socket_timeout=5) as client:
        yield client


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def process(
    servers: Any, platform: Any, tmp_path: Path, metrics_port: int
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "GATEWAY_URL": platform.url,
        "REDIS_URL": servers.redis_url("executor"),
        "WORK_FOLDER": str(tmp_path / "work"),
        "POOL": f"pool-{tmp_path.name}",
        "EXECUTOR_NAME": "one",
        "METRICS_PORT": str(metrics_port),
        "HEARTBEAT_TIMEOUT_SECONDS": "4",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    started = subprocess.Popen([sys.executable, "-m", "executor"], env=environment, stdout=subprocess.DEVNULL)
    yield started
    started.kill()
    started.wait()


def push(line: "redis.Redis", tmp_path: Path, *messages: Any) -> None:
    line.rpush(f"jobs:line:pool-{tmp_path.name}", *(json.dumps(message) for message in messages))


def until(is_so: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not become so in time")


def page(port: int, name: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5) as answer:
        return bytes(answer.read())


def descendants(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        found = [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []
    return found + [further for child in found for further in descendants(child)]


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_turns_are_taken_from_the_line_and_sigterm_ends_the_process(
    process: subprocess.Popen[bytes],
    line: "redis.Redis",
    platform: Any,
    order: Order,
    tmp_path: Path,
    metrics_port: int,
) -> None:
    order(ECHO, b"one\n")
    push(line, tmp_path, "nonsense", {**TURN, "v": 2}, TURN)
    until(lambda: platform.bodies("complete"))
    presence = f"jobs:executor:pool-{tmp_path.name}:one"
    assert 0 < int(str(line.ttl(presence))) <= 30
    assert page(metrics_port, "healthz") == b'{"status":"ok"}'
    until(lambda: b'taxiway_executor_runs_total{outcome="completed"} 1.0' in page(metrics_port, "metrics"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=4) == 0  # a second at most on the line, and the rest for a busy machine
    assert not line.exists(presence)


def test_sigterm_in_the_middle_of_a_run_gives_it_back(
    process: subprocess.Popen[bytes], line: "redis.Redis", platform: Any, order: Order, tmp_path: Path
) -> None:
    order(ECHO, b"one\n", params={"ECHO_SECONDS": 60})
    push(line, tmp_path, TURN)
    until(lambda: any(each["step"] == "transform" for each in platform.bodies("progress")))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    [failure] = platform.bodies("fail")
    assert (failure["error"], failure["retryable"]) == ("executor is shutting down", True)


def test_a_killed_executor_leaves_no_child_behind(
    process: subprocess.Popen[bytes], line: "redis.Redis", platform: Any, order: Order, tmp_path: Path
) -> None:
    command = [sys.executable, str(ROOT / PSAT_SAT / "data" / "generate.py"), "20000"]
    rows = subprocess.run(command, check=True, capture_output=True).stdout
    order(PSAT_SAT, rows, params={"API_YEAR": "2024", "TEST_TYPE": "SAT"})
    push(line, tmp_path, TURN)
    smith, child = until(lambda: (found := descendants(process.pid))[1:] and found[:2])
    process.kill()
    until(lambda: not lives(smith) and not lives(child), 5.0)
