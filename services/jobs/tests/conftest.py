"""The service on real servers: a migrated database for each module of tests, SeaweedFS, no Redis."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import urllib3
from alembic import command
from alembic.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from common import database, principal
from common.clock import SystemClock
from common.objects import S3Settings, S3Store
from common.principal import Principal
from common.sealing import Sealer
from jobs.app import create_app
from jobs.assessments.work import WorkOrders
from jobs.config import JobsSettings
from jobs.deliveries.outbound import GuardedHttp
from jobs.engine.run_tokens import Signer
from jobs.services import Services
from stack.testing import Servers

ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"
TEMPLATE = "jobs_template"
KEYS = {"test": b"k" * 32}
SCOPES = ("create:jobs", "read:jobs")


@dataclass(frozen=True)
class Nudges:
    """A nudge that remembers what it was asked to tell."""

    told: list[str] = field(default_factory=list)

    def line(self) -> None:
        self.told.append("line")

    def deliveries(self) -> None:
        self.told.append("deliveries")

    def run(self, run_id: UUID) -> None:
        self.told.append(f"run:{run_id}")


class Door:
    """Calls the application as the gateway would: the caller's identity written and signed."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def call(self, caller: Principal, method: str, target: str, **options: Any) -> TestResponse:
        signed = principal.signed_headers(caller, method, target, KEYS, int(SystemClock().now().timestamp()))
        headers = {**signed, **options.pop("headers", {})}
        return self.app.test_client().open(target, method=method, headers=headers, **options)

    def get(self, target: str, **options: Any) -> TestResponse:
        return self.call(options.pop("caller", client()), "GET", target, **options)

    def post(self, target: str, body: Any = None, **options: Any) -> TestResponse:
        if body is not None:
            options["json"] = body
        return self.call(options.pop("caller", client()), "POST", target, **options)


def client(*partners: str, scopes: tuple[str, ...] = SCOPES, **more: Any) -> Principal:
    """A client application that may do everything for its partners."""
    values = {
        "client_id": "district-sync",
        "client_name": "District sync",
        "issuer": "https://issuer",
        **more,
    }
    allowed = frozenset(partners or ("ea",))
    return Principal(
        kind="client", subject="s", scopes=frozenset(scopes), partners=allowed, **values
    )  # fmt: skip


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """A database with our migrations, to be copied."""
    servers.clone_database(TEMPLATE)
    config = Config(str(ALEMBIC_INI))
    config.attributes["database_url"] = servers.database_url("jobs_owner", TEMPLATE)
    command.upgrade(config, "head")
    return TEMPLATE


@pytest.fixture(scope="session")
def new_database(servers: Servers, template: str) -> Iterator[Callable[[], str]]:
    """Make an empty migrated database and give its name."""
    numbers, made = itertools.count(1), []

    def make() -> str:
        made.append(servers.clone_database(f"jobs_{next(numbers)}", template))
        return made[-1]

    yield make
    for name in made:
        servers.drop_database(name)


@pytest.fixture(scope="module")
def database_name(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module")
def engine(servers: Servers, database_name: str) -> Iterator[Engine]:
    """The service's own role on the module's database."""
    connected = database.connect(servers.database_url("jobs", database_name), "tests")
    yield connected
    connected.dispose()


@pytest.fixture(scope="session")
def store(servers: Servers) -> S3Store:
    return S3Store(S3Settings(**asdict(servers.s3("jobs"))))


@pytest.fixture(scope="session")
def run_token_key() -> str:
    key = Ed25519PrivateKey.generate()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


@pytest.fixture(scope="session")
def sealer() -> Sealer:
    return Sealer({"seal": b"s" * 32})


@pytest.fixture(scope="module")
def services(
    servers: Servers, engine: Engine, store: S3Store, sealer: Sealer, run_token_key: str, database_name: str
) -> Services:
    clock, access = SystemClock(), servers.s3("jobs")
    return Services(
        engine=engine,
        store=store,
        clock=clock,
        nudge=Nudges(),
        signer=Signer(run_token_key, clock),
        sealer=sealer,
        work_order=WorkOrders(store=store, sealer=sealer, clock=clock, memory_mb=512),
        outbound=GuardedHttp(("127.0.0.0/8",), "ODS_ALLOWED_HOSTS", seconds=5),
        settings=JobsSettings(
            database_url=servers.database_url("jobs", database_name),
            redis_url=servers.redis_url("jobs"),
            signature_keys=KEYS,
            sealing_keys={"seal": b"s" * 32},
            run_token_key=run_token_key,
            heartbeat_timeout_seconds=15,
            run_timeout_seconds=600,
            run_memory_mb=512,
            run_budget_microusd=0,
            ods_allowed_hosts=("127.0.0.0/8",),
            log_level="info",
            **{f"s3_{name}": value for name, value in asdict(access).items()},
        ),
    )


@pytest.fixture(scope="module")
def app(services: Services) -> Flask:
    return create_app(services)


@pytest.fixture(scope="module")
def door(app: Flask) -> Door:
    return Door(app)


@pytest.fixture
def put() -> Callable[..., int]:
    """PUT bytes to a presigned URL, as any HTTP client would, and give the status."""

    def send(url: str, content: bytes, **headers: str) -> int:
        with urllib3.PoolManager() as pool:
            return pool.request("PUT", url, body=content, headers=headers, timeout=10, retries=False).status

    return send


@pytest.fixture
def rows(engine: Engine) -> Callable[..., list[Mapping[str, Any]]]:
    """Run a statement and give its rows."""

    def read(statement: str, **values: Any) -> list[Mapping[str, Any]]:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    return read
