"""The service on real servers: PostgreSQL with our migrations, SeaweedFS with our bucket."""

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import urllib3
from alembic import command
from alembic.config import Config
from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from common import database, principal
from common.clock import SystemClock
from common.objects import S3Settings, S3Store
from common.principal import Principal
from outputs.app import create_app
from outputs.services import Services
from stack.testing import Servers

KEYS = {"test": b"k" * 32}
DATABASE = "outputs_tests"
ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"
READER = ("read:jobs", "read:jobs:output-files")
LABELS = {"tenant": "east", "schoolYear": "2026", "bundle": "assessments/PSAT_SAT"}


class Door:
    """Calls the application as the gateway would: the caller's identity written and signed."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def call(self, caller: Principal, method: str, target: str, **options: Any) -> TestResponse:
        now = int(SystemClock().now().timestamp())
        signed = principal.signed_headers(caller, method, target, KEYS, now)
        headers = {**signed, **options.pop("headers", {})}
        return self.app.test_client().open(target, method=method, headers=headers, **options)

    def get(self, target: str, *partners: str, method: str = "GET", **options: Any) -> TestResponse:
        """Ask as a client that may read the partners."""
        return self.call(reader(*partners), method, target, **options)

    def post_links(self, uid: object, *partners: str) -> TestResponse:
        return self.call(reader(*partners), "POST", f"/api/v1/output-sets/{uid}/download-links")

    def put(self, target: str, body: object) -> TestResponse:
        """Tell something as one of our own services."""
        return self.call(principal.service("jobs"), "PUT", target, json=body)


def reader(*partners: str, scopes: Sequence[str] = READER) -> Principal:
    """A client that may read the partners."""
    return Principal(kind="client", subject="c", scopes=frozenset(scopes), partners=frozenset(partners))


class Work:
    """A run as its executor sees it, and its end as jobs tells it."""

    def __init__(self, door: Door, partner: str) -> None:
        self._door = door
        self.partner = partner
        self.run = str(uuid.uuid4())
        self.job = str(uuid.uuid4())

    def executor(self, lease: int = 1, *scopes: str, run: str = "") -> Principal:
        run = run or self.run
        all_scopes = frozenset(scopes or ("run:work",))
        partners = frozenset({self.partner})
        return Principal(
            kind="run", subject=run, run=run, lease=lease, scopes=all_scopes, partners=partners
        )  # fmt: skip

    def post(self, path: str, lease: int = 1, *scopes: str, **options: Any) -> TestResponse:
        return self.call(f"/sdk/v1/runs/{self.run}/output-sets{path}", lease, *scopes, **options)

    def call(self, target: str, lease: int = 1, *scopes: str, **options: Any) -> TestResponse:
        """Post to any address with this run's token."""
        return self._door.call(self.executor(lease, *scopes), "POST", target, **options)

    def declare(self, files: Mapping[str, bytes], *, lease: int = 1, name: str = "out", **more: Any) -> Any:
        body = {"name": name, "files": declared(files), **more}
        answer = self.post("", lease, "run:work", "run:send", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json

    def make(self, files: Mapping[str, bytes], *, lease: int = 1, name: str = "out", **more: Any) -> str:
        """Declare, upload and seal a set."""
        made = self.declare(files, lease=lease, name=name, **more)
        for file, content in files.items():
            answer = upload(made["uploadUrls"][file], content, made["uploadHeaders"][file])
            assert answer.status == 200, answer.data
        sealed = self.post(f"/{made['uid']}/seal", lease)
        assert sealed.status_code == 200, sealed.text
        return str(made["uid"])

    def outcome(self, status: str = "completed", lease: int = 1, **more: Any) -> dict[str, Any]:
        job = {"uid": self.job, "partner": self.partner, **LABELS, **more.pop("labels", {})}
        return {
            "lease": lease,
            "status": status,
            "job": job,
            "finished_at": "2026-01-01T00:00:00Z",
            **more,
        }

    def tell(self, status: str = "completed", lease: int = 1, **more: Any) -> TestResponse:
        target = f"/internal/runs/{self.run}/outcome"
        return self._door.put(target, self.outcome(status, lease, **more))

    def end(self, status: str = "completed", lease: int = 1, **more: Any) -> list[Any]:
        answer = self.tell(status, lease, **more)
        assert answer.status_code == 200, answer.text
        sets: list[Any] = answer.get_json()["sets"]
        return sets

    def published(self, files: Mapping[str, bytes] | None = None, **labels: str) -> str:
        """Make and publish one set; `labels` are those of the job."""
        uid = self.make(files or {"a.jsonl": b"{}\n"})
        self.end(labels=labels)
        return uid


def declared(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"name": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]


def upload(url: str, content: bytes, headers: Mapping[str, str]) -> Any:
    return urllib3.request("PUT", url, body=content, headers=dict(headers), timeout=10, retries=False)


@pytest.fixture(scope="session")
def database_urls(servers: Servers) -> dict[str, str]:
    """A migrated database of our own, by role."""
    servers.clone_database(DATABASE)
    urls = {role: servers.database_url(role, DATABASE) for role in ("outputs", "outputs_owner")}
    with mock.patch.dict(os.environ, MIGRATION_DATABASE_URL=urls["outputs_owner"]):
        command.upgrade(Config(ALEMBIC_INI), "head")
    return urls


@pytest.fixture(scope="session")
def engine(database_urls: dict[str, str]) -> Iterator[Engine]:
    engine = database.connect(database_urls["outputs"], "tests")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def owner_engine(database_urls: dict[str, str]) -> Iterator[Engine]:
    """For what only a test does: filling tables by the hundred thousand, taking one away."""
    engine = database.connect(database_urls["outputs_owner"], "tests-owner", pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def store(servers: Servers) -> S3Store:
    return S3Store(S3Settings(**asdict(servers.s3("outputs"))))


@pytest.fixture(scope="session")
def door(engine: Engine, store: S3Store) -> Door:
    app = create_app(Services(engine=engine, store=store, clock=SystemClock(), signature_keys=KEYS))
    app.testing = True
    door = Door(app)
    assert door.put("/internal/school-years", {"years": ["2025", "2026"]}).status_code == 200
    return door


@pytest.fixture(name="reader")
def reader_fixture() -> Any:
    return reader


@pytest.fixture
def partner() -> str:
    """A partner nobody else has."""
    return f"p-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_work(door: Door, partner: str) -> Any:
    """Make runs of this test's partner."""
    return lambda: Work(door, partner)


@pytest.fixture
def work(new_work: Any) -> Any:
    return new_work()


@pytest.fixture(scope="module")
def crowd(servers: Servers, database_urls: dict[str, str]) -> str:
    """A partner with 200,000 published sets."""
    partner = f"crowd-{uuid.uuid4().hex[:8]}"
    engine = database.connect(servers.database_url("postgres", DATABASE), "tests-crowd", pool_size=1)
    with engine.begin() as connection:
        # Foreign keys are checked row by row, and take longer than everything else.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL search_path = outputs"))
        connection.execute(text("SET LOCAL statement_timeout = '5min'"))
        connection.execute(text(CROWD), {"partner": partner, "count": 200_000})
        connection.execute(text("ANALYZE output_set, output_file"))
    engine.dispose()
    return partner


CROWD = """
    WITH numbered AS (
        SELECT n, CAST(lpad(to_hex(n), 32, '0') AS uuid) AS uid FROM generate_series(1, :count) n
    ), made AS (
        INSERT INTO output_set (uid, run_id, lease, kind, name, sent_to_ods, sealed_at, published_at,
                                job_uid, partner, tenant, school_year, bundle)
        SELECT uid, uid, 1, 'result', 'out', false, now(), timestamptz '2026-01-01' + n * interval '1 ms',
               uid, :partner, 'tenant-' || n % 10, '2026', 'assessments/PSAT_SAT'
        FROM numbered
    ), filed AS (
        INSERT INTO output_file SELECT uid, 1, 'a.jsonl', 3, repeat('0', 64) FROM numbered
    )
    INSERT INTO publication_clock VALUES (:partner, timestamptz '2026-01-01' + :count * interval '1 ms')
"""
