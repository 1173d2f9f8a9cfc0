"""Nudges go out from a thread of their own: at once, together, and after a fork too."""

import os
import threading
from collections.abc import Iterator
from typing import Any, Self
from uuid import uuid4

import pytest
from redis import ConnectionError as RedisConnectionError

from common.clock import SystemClock
from jobs.engine import nudges
from jobs.engine.listening import Listener
from jobs.engine.nudges import RedisNudge

PATIENCE_SECONDS = 15


class Pipelines:
    """A Redis that answers when it is let, and keeps what each pipeline published."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.asked, self.answers = threading.Semaphore(0), threading.Semaphore(0)
        self.fails = False
        self._open: list[str] = []

    def pipeline(self, transaction: bool) -> Self:
        self._open = []
        return self

    def publish(self, channel: str, message: str) -> None:
        self._open.append(message)

    def execute(self) -> None:
        self.sent.append(self._open)
        self.asked.release()
        assert self.answers.acquire(timeout=PATIENCE_SECONDS)
        if self.fails:
            raise RedisConnectionError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self) -> None:
        """Wait until it was asked once more."""
        assert self.asked.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def redis() -> Iterator[Pipelines]:
    made = Pipelines()
    yield made
    made.answers.release(1000)  # threads that still wait for an answer get one


def test_what_waits_to_be_published_is_said_once_and_in_one_pipeline(redis: Any) -> None:
    nudge, run, other = RedisNudge(redis), uuid4(), uuid4()
    nudge.line()
    redis.wait()
    for _ in range(100):
        nudge.run(run)
        nudge.run(other)
        nudge.line()
    redis.answers.release(2)
    redis.wait()
    assert redis.sent == [["line"], [f"run:{run}", f"run:{other}", "line"]]


def test_the_line_does_not_wait_for_more(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudges, "GATHER_SECONDS", 600)
    nudge, run = RedisNudge(redis), uuid4()
    nudge.run(run)
    nudge.deliveries()
    redis.wait()
    assert redis.sent == [[f"run:{run}", "deliveries"]]


def test_for_a_second_after_a_failure_redis_is_left_alone(redis: Any) -> None:
    now, looked = [10.0], threading.Semaphore(0)

    def monotonic() -> float:
        looked.release()
        return now[0]

    def wait() -> None:
        assert looked.acquire(timeout=PATIENCE_SECONDS)

    nudge = RedisNudge(redis, monotonic)
    redis.fails = True
    redis.answers.release(2)
    nudge.line()
    wait()
    wait()  # for how long, from now
    nudge.deliveries()
    wait()
    now[0], redis.fails = 11.5, False
    nudge.line()
    redis.wait()
    redis.wait()
    assert redis.sent == [["line"], ["line"]]


def test_what_waits_has_a_bound(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudges, "MOST_UNTOLD", 3)
    nudge = RedisNudge(redis)
    nudge.line()
    redis.wait()
    for _ in range(10):
        nudge.run(uuid4())
    redis.answers.release(2)
    redis.wait()
    assert len(redis.sent[1]) == 3


def test_a_process_that_was_forked_nudges_too(bench: Any) -> None:
    nudge, run = RedisNudge.from_url(bench.redis_url), uuid4()
    with Listener(bench.redis, SystemClock()) as listener:
        listener.wait(0)
        nudge.line()
        heard = hear(listener, "line")
        child = os.fork()
        if child == 0:
            nudge.run(run)
            threading.Event().wait(PATIENCE_SECONDS)
            os._exit(0)
        try:
            assert hear(listener, f"run:{run}")
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert heard


def hear(listener: Listener, message: str) -> bool:
    """Listen until `message` comes."""
    return any(message in listener.wait(1) for _ in range(PATIENCE_SECONDS))
