"""Runs led through a stack from outside, by clients and executors of the bench."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from redis.asyncio import Redis
from sqlalchemy import text

from bench.calls import Caller
from bench.place import LOAD_CORE
from bench.stacks import NOOP, Measured

EXECUTORS, CLIENTS = 8, 8
POP_SECONDS, PRESENT_SECONDS, PATIENCE_SECONDS = 1, 30, 120
POLL_SECONDS = 0.01
_UNPUBLISHED = text("""
    SELECT EXISTS (SELECT FROM jobs.run WHERE job_id = ANY(CAST(:jobs AS uuid[])) AND output_sets IS NULL)
""")
_STARTS = text("""
    SELECT extract(epoch FROM started_at - created_at) * 1000 FROM jobs.run
    WHERE job_id = ANY(CAST(:jobs AS uuid[]))
""")


@dataclass(frozen=True, kw_only=True)
class Passed:
    """How runs went: from the first start to the last publication, and from each start to its claim."""

    seconds: float
    starts_ms: list[float]


class Flow:
    """Leads runs through a stack; its own work happens on the load's core."""

    def __init__(self, stack: Measured) -> None:
        self._stack = stack
        self._port = stack.local.port("gateway")
        self._database = stack.superuser()
        os.sched_setaffinity(0, {LOAD_CORE})

    def create(self, count: int) -> list[str]:
        """Create jobs with nothing to do."""
        return asyncio.run(self._create(count))

    def run(self, jobs: Sequence[str]) -> Passed:
        """Start jobs as fast as clients and executors can; return when all are published."""
        return asyncio.run(self._run(jobs, CLIENTS))

    def one_by_one(self, jobs: Sequence[str]) -> Passed:
        """Start each job when the one before is published."""
        return asyncio.run(self._run(jobs, 1))

    async def _create(self, count: int) -> list[str]:
        async with Caller(self._port) as caller:
            made = [await caller.post("/api/v1/jobs", self._stack.token, NOOP) for _ in range(count)]
        return [each["uid"] for each in made]

    async def _run(self, jobs: Sequence[str], clients: int) -> Passed:
        executors = [self._execute(f"bench-{number}") for number in range(EXECUTORS)]
        tasks = [asyncio.create_task(each) for each in (self._led(jobs, clients), *executors)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return Passed(seconds=done.pop().result(), starts_ms=self._starts(jobs))

    async def _led(self, jobs: Sequence[str], clients: int) -> float:
        """Start jobs and see them published; return how long it took."""
        waiting, began = iter(jobs), time.monotonic()
        await asyncio.gather(*(self._start(waiting, waits=clients == 1) for _ in range(clients)))
        await self._published(jobs)
        return time.monotonic() - began

    async def _start(self, jobs: Iterator[str], *, waits: bool) -> None:
        async with Caller(self._port) as caller:
            for job in jobs:
                await caller.post(f"/api/v1/jobs/{job}/start", self._stack.token, {})
                if waits:
                    await self._published([job])

    async def _execute(self, name: str) -> NoReturn:
        """Take turns until cancelled: claim, complete. Raises Refused."""
        url = self._stack.local.redis_url("executor")
        async with Redis.from_url(url) as redis, Caller(self._port) as caller:
            while True:
                await redis.set(f"jobs:executor:default:{name}", "1", ex=PRESENT_SECONDS)
                found = await redis.blpop(["jobs:line:default"], timeout=POP_SECONDS)
                if found:
                    await self._work(caller, name, json.loads(found[1]))

    @staticmethod
    async def _work(caller: Caller, name: str, turn: Any) -> None:
        path = f"/sdk/v1/runs/{turn['run']}"
        claim = {"claim_id": str(uuid.uuid4()), "executor": name}
        answer = await caller.post(f"{path}/claim", turn["ticket"], claim)
        await caller.post(f"{path}/complete", answer["run_token"], {"result": None, "output_sets": []})

    async def _published(self, jobs: Sequence[str]) -> None:
        """Wait until outputs has answered for every run of these jobs."""
        until = time.monotonic() + PATIENCE_SECONDS
        with self._database.connect() as connection:
            while connection.execute(_UNPUBLISHED, {"jobs": list(jobs)}).scalar_one():
                if time.monotonic() > until:
                    raise TimeoutError("runs stayed unpublished")
                await asyncio.sleep(POLL_SECONDS)

    def _starts(self, jobs: Sequence[str]) -> list[float]:
        with self._database.connect() as connection:
            return [float(ms) for ms in connection.execute(_STARTS, {"jobs": list(jobs)}).scalars()]
