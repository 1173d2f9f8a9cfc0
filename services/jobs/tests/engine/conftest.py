"""The engine on real servers: the module's database emptied before each test, and short ways to fill it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from common import database
from common.clock import SystemClock
from common.database import transaction
from jobs.engine import leases, line, nudges, turns
from jobs.engine.line import NewRun, Run
from jobs.engine.run_tokens import Signer
from stack.testing import Servers

EMPTY = text("TRUNCATE job, run, run_event, delivery, idempotency_key, signal CASCADE")
LABELS = '{"labels": {"tenant": "t", "schoolYear": "2026", "bundle": "assessments/X"}}'
NEW_JOB = text("INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', :spec)")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """PostgreSQL with the engine's tables, Redis, and what tests do with them all the time."""

    engine: Engine
    owner: Engine
    redis: "Redis"
    redis_url: str
    signer: Signer

    def empty(self) -> None:
        with self.owner.begin() as connection:
            connection.execute(EMPTY)

    def job(self, partner: str = "acme") -> UUID:
        uid = uuid4()
        with transaction(self.engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "partner": partner, "spec": LABELS})
        return uid

    def new(self, job: UUID, partner: str = "acme", **fields: Any) -> NewRun:
        values: dict[str, Any] = {"payload": {"n": 1}, "inputs": {}, "created_by": "test", **fields}
        return NewRun(job_id=job, partner=partner, **values)

    def submit(self, partner: str = "acme", **fields: Any) -> Run:
        job = self.job(partner)
        with transaction(self.engine) as connection:
            return line.submit(connection, self.new(job, partner, **fields))

    def run(self, run_id: UUID) -> Run:
        with transaction(self.engine) as connection:
            found = line.find(connection, run_id)
        assert found is not None
        return found

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """Read or shift rows by hand: tests move time by moving timestamps."""
        with transaction(self.engine) as connection:
            result = connection.execute(text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def dequeue(self, pool: str = "default", places: int = 8) -> list[Run]:
        with transaction(self.engine) as connection:
            return turns.dequeue(connection, pool, places)

    def claimed(self, **fields: Any) -> Run:
        """A run in an executor's hands."""
        run = self.submit(**fields)
        [given] = [each for each in self.dequeue(run.pool, 1000) if each.id == run.id]
        with transaction(self.engine) as connection:
            return leases.claim(connection, run.id, given.lease, uuid4(), "executor-1")

    def deliveries(self) -> list[Any]:
        return self.execute("SELECT * FROM delivery ORDER BY id")

    def statuses(self, run_id: UUID) -> list[str]:
        """A run's way so far."""
        statement = (
            "SELECT data->>'to' AS at FROM run_event WHERE run_id = :id AND type = 'status' ORDER BY seq"
        )
        return [row["at"] for row in self.execute(statement, id=run_id)]


@pytest.fixture(scope="module")
def workshop(servers: Servers, engine: Engine, database_name: str, run_token_key: str) -> Iterator[Bench]:
    owner = database.connect(servers.database_url("jobs_owner", database_name), "tests", pool_size=1)
    redis = nudges.connect(servers.redis_url("jobs"), timeout_seconds=2)
    yield Bench(
        engine=engine,
        owner=owner,
        redis=redis,
        redis_url=servers.redis_url("jobs"),
        signer=Signer(run_token_key, SystemClock()),
    )
    redis.close()
    owner.dispose()


@pytest.fixture
def bench(workshop: Bench, servers: Servers) -> Bench:
    workshop.empty()
    servers.flush_redis()
    return workshop
