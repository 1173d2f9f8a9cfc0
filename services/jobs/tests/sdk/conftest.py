"""The executor API through the application, with a work order that holds a secret and a presigned URL."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from werkzeug.test import TestResponse

from common.database import transaction
from common.principal import Principal
from jobs.app import create_app
from jobs.engine import line, turns
from jobs.engine.leases import WorkOrder
from jobs.engine.line import NewRun
from jobs.engine.tables import Run
from jobs.services import Services

SECRET = "ods-secret-value"
NEW_JOB = text(
    "INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, 'acme', 'bundle', '{\"labels\": {}}')"
)


def work_order(connection: Connection, run: Run) -> WorkOrder:
    url = "http://storage/in.csv?X-Amz-Signature=abc"
    ods = {"url": "http://ods", "client_secret": SECRET}
    return WorkOrder(payload={"kind": "bundle", "inputs": {"A": {"url": url}}, "ods": ods}, can_send=True)


def token(run: Run, scope: str, *, lease: int | None = None, expires_at: int = 2_000_000_000) -> Principal:
    """The principal the gateway makes of a run token."""
    return Principal(
        kind="run",
        subject=str(run.id),
        run=str(run.id),
        lease=run.lease if lease is None else lease,
        attempt=run.attempt,
        job=str(run.job_id),
        partners=frozenset({run.partner}),
        scopes=frozenset(scope.split()),
        issuer="taxiway-runs",
        expires_at=expires_at,
    )


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Calls the executor API for a run as its token allows."""

    door: Any
    run: Run
    scope: str = "run:work"

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self._call("POST", path, json={} if body is None else body, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._call("GET", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self._call("DELETE", path, **options)

    def _call(self, method: str, path: str, **options: Any) -> TestResponse:
        lease, expires_at = options.pop("lease", None), options.pop("expires_at", 2_000_000_000)
        caller = options.pop("caller", None) or token(
            self.run, self.scope, lease=lease, expires_at=expires_at
        )
        if "data" in options:
            options.pop("json", None)
        target = f"/sdk/v1/runs/{options.pop('run', self.run.id)}/{path}"
        answer: TestResponse = self.door.call(caller, method, target, **options)
        return answer


@pytest.fixture(scope="module")
def sdk_door(services: Services, door: Any) -> Any:
    return type(door)(create_app(replace(services, work_order=work_order)))


@pytest.fixture
def dequeued(engine: Engine, sdk_door: Any) -> Callable[..., Executor]:
    """A run that was given a turn, in the hands of an executor with a ticket."""

    def make(**fields: Any) -> Executor:
        uid = uuid4()
        pool = f"pool-{uid.hex}"
        values: dict[str, Any] = {"payload": {}, "inputs": {}, "created_by": "test", "pool": pool, **fields}
        with transaction(engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid})
            line.submit(connection, NewRun(job_id=uid, partner="acme", **values))
            [run] = turns.dequeue(connection, pool, 8)
        return Executor(door=sdk_door, run=run, scope="run:claim")

    return make


@pytest.fixture
def executing(dequeued: Callable[..., Executor]) -> Callable[..., Executor]:
    """A run that was claimed through the API."""

    def make(**fields: Any) -> Executor:
        ticket = dequeued(**fields)
        answer = ticket.post("claim", {"claim_id": str(uuid4()), "executor": "executor-1"})
        assert answer.status_code == 200, answer.text
        return replace(ticket, scope="run:work run:send")

    return make


@pytest.fixture
def calling(engine: Engine, sdk_door: Any) -> Executor:
    """A run in the hands of its caller."""
    uid = uuid4()
    new = NewRun(job_id=uid, partner="acme", payload={}, inputs={}, created_by="test", caller=True)
    with transaction(engine) as connection:
        connection.execute(NEW_JOB, {"uid": uid})
        run = line.submit(connection, new)
    return Executor(door=sdk_door, run=run)


@pytest.fixture
def stored(engine: Engine) -> Callable[[UUID], Run]:
    def read(run_id: UUID) -> Run:
        with transaction(engine) as connection:
            found = line.find(connection, run_id)
        assert found is not None
        return found

    return read
