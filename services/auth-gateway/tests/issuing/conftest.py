"""The issuer on a real PostgreSQL, with a few clients."""

from typing import Any

import pytest
from sqlalchemy import text

from common import database
from common.clock import FixedClock
from gateway import cli as gateway_cli
from issuer.app import build_services, create_app
from issuer.config import Settings

URL = "http://localhost:8080/realms/example"


SCOPE = "create:jobs read:jobs read:jobs:output-files partner:ea"


SEALING = {"s1": b"s" * 32}


SEED = """
clients:
  - {client_id: runway-api, name: Runway API, secret: api-secret-123, scopes: [%s]}
  - {client_id: admin, name: "Wer? Ä~>", secret: "a+b c%%:d", scopes: [], roles: [Administrator]}
  - {client_id: disabled, name: Disabled, secret: disabled-secret, scopes: ["read:jobs"]}
""" % ", ".join(f'"{scope}"' for scope in SCOPE.split())  # noqa: UP031 (braces all over)


@pytest.fixture(scope="module")
def engine(database_url: str, tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("seed") / "clients.yaml"
    path.write_text(SEED, encoding="utf-8")
    gateway_cli.seed(path, database_url)
    made = database.connect(database_url, "tests")
    with database.transaction(made) as connection:
        connection.execute(
            text("UPDATE gateway.client_application SET enabled = false WHERE client_id = 'disabled'")
        )
    yield made
    made.dispose()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def app(engine: Any, database_url: str, clock: FixedClock) -> Any:
    with database.transaction(engine) as connection:
        connection.execute(text("DELETE FROM gateway.issuer_key"))
    settings = Settings(
        database_url=database_url,
        issuer_url=URL,
        audiences=("runway-local", "second"),
        lifetime_seconds=3600,
        sealing_keys=SEALING,
        log_level="INFO",
    )
    services = build_services(settings, clock)
    yield create_app(services)
    services.engine.dispose()


@pytest.fixture
def client(app: Any) -> Any:
    return app.test_client()


@pytest.fixture(scope="session")
def seed_file() -> str:
    """The text of the file that `engine` was seeded with."""
    return SEED
