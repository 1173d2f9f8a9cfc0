"""Celery: `work` runs tasks, `send COUNT` sends them and waits until every result is in PostgreSQL."""

import json
import os
import sys
import time

import psycopg2
from celery import Celery

ADDRESS = os.environ["DATABASE_URL"]
app = Celery(
    broker=os.environ["REDIS_URL"], backend=ADDRESS.replace("postgresql://", "db+postgresql+psycopg2://")
)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=8,
    result_expires=None,
    database_short_lived_sessions=False,
    worker_hijack_root_logger=False,
)


@app.task(name="noop")
def noop(sent_at: float) -> float:
    """Say how long the task was on its way, in milliseconds."""
    return (time.time() - sent_at) * 1000


def send(count: int) -> None:
    noop.delay(time.time()).get(timeout=60)  # the tables are made with the first result
    began = time.monotonic()
    sent = [noop.delay(time.time()) for _ in range(count)]
    ids = [each.id for each in sent]
    with psycopg2.connect(ADDRESS) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        done = 0
        while done < count:
            time.sleep(0.01)
            cursor.execute(
                "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS' AND task_id = ANY(%s)", (ids,)
            )
            done = (cursor.fetchone() or (0,))[0]
        seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "starts_ms": [each.get() for each in sent[:200]]}))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        # Celery says "ready" itself, once it takes tasks.
        app.worker_main(
            ["worker", "--concurrency", "4", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
        )
    else:
        send(int(sys.argv[2]))
