"""Executor pools: from presence in Redis and the line in PostgreSQL."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine

from common.database import transaction
from common.principal import Principal
from jobs.app import create_app
from jobs.engine import line, nudges, turns
from jobs.services import Services
from stack.testing import Servers

EXECUTING = """
    UPDATE run SET status = 'executing', lease = 1, executor = 'e', claim_id = :claim, started_at = now(),
        heartbeat_at = now(), deadline_at = now() + interval '1 h'
    WHERE id = :id
"""
PATHS = ("/api/v1/clusters", "/v1/k8s/clusters")


def holder(*roles: str) -> Principal:
    return Principal(kind="client", subject="s", client_id="c", issuer="https://ours", roles=frozenset(roles))


@pytest.fixture
def redis(servers: Servers) -> Iterator["Redis"]:
    client = nudges.connect(servers.redis_url("jobs"), timeout_seconds=2)
    servers.flush_redis()
    yield client
    client.close()


@pytest.fixture
def ask(services: Services, door: Any, redis: "Redis") -> Callable[..., Any]:
    app: Flask = create_app(replace(services, live_executors=partial(turns.executors, redis)))
    other = type(door)(app)

    def get(path: str, *roles: str) -> Any:
        return other.get(path, caller=holder(*roles))

    return get


@pytest.mark.parametrize("path", PATHS)
def test_pools_show_their_executors_and_their_line(
    ask: Any, redis: "Redis", rows: Any, job: Callable[[], Any], path: str
) -> None:
    rows("DELETE FROM run")
    for name in ("default:one", "default:two", "large:three"):
        redis.set(f"jobs:executor:{name}", "1", ex=30)
    ids = [job() for _ in range(4)]
    rows("UPDATE run SET pool = 'odd' WHERE id = :id", id=ids[0])
    rows("UPDATE run SET status = 'dequeued', lease = 1, pushed_at = now() WHERE id = :id", id=ids[1])
    assert ask(path, "Administrator").json == [
        {"name": "default", "size": 2, "liveExecutors": 2, "queueDepth": 3},
        {"name": "large", "size": 1, "liveExecutors": 1, "queueDepth": 0},
        {"name": "odd", "size": 0, "liveExecutors": 0, "queueDepth": 1},
    ]


def test_an_executor_at_work_counts_though_it_fell_silent(
    ask: Any, rows: Any, job: Callable[[], Any]
) -> None:
    rows("DELETE FROM run")
    rows(EXECUTING, id=job(), claim=uuid4())
    assert ask(PATHS[0], "Viewer").json == [
        {"name": "default", "size": 1, "liveExecutors": 0, "queueDepth": 0}
    ]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("roles", "status"), [(("Viewer",), 200), (("Editor",), 200), (("Researcher",), 403), ((), 403)]
)
def test_a_role_that_reads_is_needed(ask: Any, path: str, roles: tuple[str, ...], status: int) -> None:
    assert ask(path, *roles).status_code == status


def test_without_redis_nobody_can_say(services: Services, door: Any) -> None:
    nowhere = nudges.connect("redis://127.0.0.1:1", timeout_seconds=0.2)
    app = create_app(replace(services, live_executors=partial(turns.executors, nowhere)))
    answer = type(door)(app).get(PATHS[0], caller=holder("Viewer"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.fixture
def job(engine: Engine, rows: Any) -> Callable[[], Any]:
    """Put a run of a job of its own in line; gives the run's id."""

    def submit() -> Any:
        uid = uuid4()
        rows(
            "INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, 'ea', 'assessment', '{}')",
            uid=uid,
        )
        new = line.NewRun(job_id=uid, partner="ea", payload={}, inputs={}, created_by="tests")
        with transaction(engine) as connection:
            return line.submit(connection, new).id

    return submit
