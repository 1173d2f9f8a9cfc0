"""P2: live streams that stay open with nothing to say, and one run told to many at once."""

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from bench import load
from bench.calls import Caller
from bench.conditions import Conditions, Said
from bench.figures import Result, limited, percentile
from bench.peers import Missing
from bench.place import LOAD_CORE, memory_mb
from bench.stacks import NOOP, Measured, measured_stack
from common.principal import Principal

WATCH = "jobs-watch"
STREAMS, THROUGH_GATEWAY, WATCHERS = 10_000, 4_000, 1_000
AT_ONCE = 200
MEMORY_MB, STREAM_KB, FAN_OUT_MS = 300.0, 10.0, 100.0
CLIENT = Principal(
    kind="client",
    subject="bench",
    client_id="bench",
    scopes=frozenset({"read:jobs"}),
    partners=frozenset({"ea"}),
)
MARK = "a line for everyone"
PATIENCE_SECONDS = 120
BEAT_SECONDS = 2.0


@dataclass(kw_only=True)
class Streams:
    """Open streams of runs, and when each last heard the mark."""

    heard_at: list[float] = field(default_factory=list)
    open_ones: list[asyncio.StreamWriter] = field(default_factory=list)
    readers: list["asyncio.Task[None]"] = field(default_factory=list)

    async def open(self, port: int, request: Callable[[], bytes], count: int) -> None:
        """Open streams at a port, some at once, and go on listening to each."""
        for first in range(0, count, AT_ONCE):
            some = min(AT_ONCE, count - first)
            await asyncio.gather(*(self._open(port, request()) for _ in range(some)))

    async def heard(self, count: int) -> None:
        """Wait until so many streams have heard the mark."""
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.heard_at) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.heard_at)} of {count} streams heard it")
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self.readers:
            task.cancel()
        await asyncio.gather(*self.readers, return_exceptions=True)
        for writer in self.open_ones:
            writer.close()

    async def _open(self, port: int, request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
        if not head.startswith(b"HTTP/1.1 200"):
            raise load.Refused(f"a stream was answered {head[:60]!r}")
        self.open_ones.append(writer)
        self.readers.append(asyncio.create_task(self._listen(reader)))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        mark, tail = MARK.encode(), b""
        while content := await reader.read(1 << 14):
            if mark in tail + content:
                self.heard_at.append(time.monotonic())
            tail = content[-len(mark) :]


def measure(
    conditions: Conditions, streams: int = STREAMS, through: int = THROUGH_GATEWAY, watchers: int = WATCHERS
) -> tuple[list[Result], Said]:
    """Measure the row: so many streams, some of them through the gateway, a part of those of one run.

    Raises Missing where live streams are not part of the stack, or files are short.
    """
    told = {"STREAMS_PER_PRINCIPAL": str(streams)}
    with many_files(streams + through), measured_stack(environment=told) as stack:
        if WATCH not in stack.local.stack.names():
            raise Missing(f"this release has no process {WATCH}")
        os.sched_setaffinity(0, {LOAD_CORE})
        results = asyncio.run(watched(stack, conditions, streams, through, watchers))
    return results, Said(versions={}, skipped=[])


async def watched(
    stack: Measured, conditions: Conditions, streams: int, through: int, watchers: int
) -> list[Result]:
    """Open idle streams and weigh them, then say something to the watchers of one run, again and again."""
    told, untold = at_work(stack), at_work(stack)
    beats = [asyncio.create_task(beat(stack, *each)) for each in (told, untold)]
    (run, token), (quiet, _) = told, untold
    opened, door, watch = Streams(), stack.local.port("gateway"), stack.local.port(WATCH)
    before = memory_mb(stack.pids("gateway"))
    await opened.open(door, partial(as_client, stack, run), watchers)
    await opened.open(door, partial(as_client, stack, quiet), through - watchers)
    await opened.open(watch, partial(as_gateway, stack, quiet), streams - through)
    held, gateway = memory_mb(stack.pids(WATCH)), memory_mb(stack.pids("gateway")) - before
    tails = [await fan_out(stack, opened, run, token, watchers) for _ in range(conditions.pairs)]
    for each in beats:
        each.cancel()
    await asyncio.gather(*beats, return_exceptions=True)
    await opened.close()
    idle = f"{streams:,} idle streams, one watch worker"
    return [
        limited("P2", f"{idle}: its memory", [held], limit=MEMORY_MB, unit="MB"),
        limited(
            "P2",
            f"{idle}: each of {through:,} in the gateway",
            [gateway * 1024 / through],
            limit=STREAM_KB,
            unit="KB",
        ),
        limited("P2", f"a line to {watchers:,} streams of a run: p99", tails, limit=FAN_OUT_MS, unit="ms"),
    ]


async def beat(stack: Measured, run: str, token: str) -> None:
    """Keep a run alive until cancelled: thousands of streams are not opened in one heartbeat's time."""
    async with Caller(stack.local.port("gateway")) as caller:
        while True:
            await caller.post(f"/sdk/v1/runs/{run}/heartbeat", token, {})
            await asyncio.sleep(BEAT_SECONDS)


async def fan_out(stack: Measured, opened: Streams, run: str, token: str, watchers: int) -> float:
    """Have the run log a line; return the 99th percentile of the times until a stream brought it."""
    opened.heard_at.clear()
    async with Caller(stack.local.port("gateway")) as caller:
        said_at = time.monotonic()
        await caller.post(f"/sdk/v1/runs/{run}/log", token, {"message": MARK})
    await opened.heard(watchers)
    return percentile([(at - said_at) * 1000 for at in opened.heard_at], 0.99)


def as_client(stack: Measured, run: str) -> bytes:
    """Ask the gateway for a stream."""
    headers = {"Authorization": f"Bearer {stack.token}", "Accept": "text/event-stream"}
    return load.request("GET", f"/v1/runs/{run}/stream", headers)


def as_gateway(stack: Measured, run: str) -> bytes:
    """Ask the watch process itself: two files a stream are more than many machines give one gateway."""
    target = f"/v1/runs/{run}/stream"
    signed = stack.signed(CLIENT, "jobs", "GET", target)
    return load.request("GET", target, {**signed, "Accept": "text/event-stream"})


def at_work(stack: Measured) -> tuple[str, str]:
    """Start a run in the caller's own hands; return it and its token."""
    job = stack.call("POST", "/api/v1/jobs", NOOP)["uid"]
    started = stack.call("POST", f"/api/v1/jobs/{job}/start", {"executor": "caller"})
    return started["runUid"], started["runToken"]


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process and those it starts hold so many files open. Raises Missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024
    if resource.RLIM_INFINITY != hard < wanted:
        raise Missing(f"{wanted:,} open files are needed; the hard limit is {hard:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
