"""Prefect: `work` is the server on PostgreSQL, `send COUNT` makes flow runs, eight at a time."""

import asyncio
import json
import os
import sys
import time
import urllib.error
import urllib.request

PORT = os.environ["PREFECT_PORT"]
API = f"http://127.0.0.1:{PORT}/api"


def work() -> None:
    """Become the server; a child says when it is ready."""
    if os.fork() == 0:
        while True:
            try:
                urllib.request.urlopen(f"{API}/health", timeout=2)  # noqa: S310
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        print("ready", flush=True)
        os._exit(0)
    address = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    environment = {**os.environ, "PREFECT_API_DATABASE_CONNECTION_URL": address}
    words = (
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        PORT,
        "--no-ui",
        "--no-scheduler",
    )
    os.execve(sys.executable, (sys.executable, *words), environment)  # noqa: S606


async def send(count: int) -> None:
    os.environ.update(
        PREFECT_API_URL=API, PREFECT_LOGGING_TO_API_ENABLED="false", PREFECT_LOGGING_LEVEL="ERROR"
    )
    from prefect import flow

    starts: list[float] = []

    @flow
    async def noop(sent_at: float) -> None:
        starts.append((time.time() - sent_at) * 1000)

    async def some(number: int) -> None:
        for _ in range(number):
            await noop(time.time())

    began = time.monotonic()
    await asyncio.gather(*(some(len(range(lane, count, 8))) for lane in range(8)))
    print(json.dumps({"seconds": time.monotonic() - began, "starts_ms": starts}))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work()
    else:
        asyncio.run(send(int(sys.argv[2])))
