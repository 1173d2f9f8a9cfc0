"""Executors of the tests' own, on the SDK: they take the turns of a running stack."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import urllib3

from executor_sdk import Executor, Run, Turn
from executor_sdk.api import Claim, RunApi
from executor_sdk.line import Line, connect, parse, serve
from stack.testing import LocalStack

POOL = "default"
PATIENCE_SECONDS = 60.0
ALIVE_SECONDS = 20.0  # how long a call is repeated before its claim has said so


@contextmanager
def serving(stack: LocalStack, handler: Callable[[Run], Any], name: str = "tests") -> Iterator[None]:
    """Have an executor take turns in a thread while the block runs."""
    url = stack.redis_url("executor")
    executor = Executor(gateway_url=stack.gateway_url, redis_url=url, name=name)
    executor.handles("*")(handler)
    with closing(connect(url)) as redis, closing(executor):
        line = Line(redis, pool=POOL, name=name)
        thread = threading.Thread(target=serve, args=(line, executor.take, executor.stopping))
        thread.start()
        try:
            yield
        finally:
            executor.stopping.set()
            thread.join()


class Claimed:
    """A run claimed by hand: its API, and what the claim answered."""

    def __init__(self, stack: LocalStack, turn: Turn) -> None:
        self.turn = turn
        self.api = RunApi(
            http=urllib3.PoolManager(retries=False),
            gateway_url=stack.gateway_url,
            run=turn.run,
            ticket=turn.ticket,
            alive_seconds=ALIVE_SECONDS,
        )
        self.claim: Claim = self.api.claim("by-hand")


def pop(stack: LocalStack, run: str) -> Turn:
    """Take the turn of a run from the line; turns of other runs are dropped."""
    until = time.monotonic() + PATIENCE_SECONDS
    with closing(connect(stack.redis_url("executor"))) as redis:
        line = Line(redis, pool=POOL, name="by-hand")
        while time.monotonic() < until:
            line.present()
            message = line.pop()
            if message is not None and (turn := parse(message)).run == run:
                return turn
    raise AssertionError(f"there was no turn of {run}")


def claim(stack: LocalStack, run: str) -> Claimed:
    """Take the turn of a run and claim it."""
    return Claimed(stack, pop(stack, run))
