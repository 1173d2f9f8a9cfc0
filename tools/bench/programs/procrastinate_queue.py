"""procrastinate: `work` runs tasks, `send COUNT` defers them and waits until the last has succeeded."""

import asyncio
import json
import os
import sys
import time

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], max_size=10))
UNDONE = "SELECT count(*) AS count FROM procrastinate_jobs WHERE status <> 'succeeded'"
STARTS = """
    SELECT 1000 * extract(epoch FROM s.at - d.at)::float AS ms
    FROM procrastinate_events s JOIN procrastinate_events d USING (job_id)
    WHERE s.type = 'started' AND d.type = 'deferred' ORDER BY s.id DESC LIMIT %(count)s
"""


@app.task(name="noop", queue="bench")
async def noop() -> None:
    """Do nothing."""


async def work() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        print("ready", flush=True)
        await app.run_worker_async(queues=["bench"], concurrency=8, install_signal_handlers=False)


async def send(count: int) -> None:
    async with app.open_async():
        began = time.monotonic()
        for _ in range(count):
            await noop.defer_async()
        while (await app.connector.execute_query_one_async(UNDONE))["count"]:
            await asyncio.sleep(0.01)
        seconds = time.monotonic() - began
        rows = await app.connector.execute_query_all_async(STARTS, count=count)
    print(json.dumps({"seconds": seconds, "starts_ms": [row["ms"] for row in rows]}))


asyncio.run(work() if sys.argv[1] == "work" else send(int(sys.argv[2])))
