"""Gateway and issuer in one process on one database, and an administrator who is logged in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from common import database
from common.clock import FixedClock
from gateway import declared, routes, tokens
from gateway.admission import Admission
from gateway.app import TARGETS, create_app
from gateway.forward import Upstreams
from gateway.key_desk import KeyDesk
from gateway.keys import KeySet
from gateway.revocations import Revocations
from gateway.services import Services
from gateway.tokens import Issuer
from gateway.verdicts import Verdicts
from issuer import app as issuer_app
from issuer.config import Settings as IssuerSettings

URL = "http://localhost:8080/realms/example"
AUDIENCE = "runway-local"


class Quiet(Revocations):
    """Revocations whose thread does not run: a test reads them itself."""

    def _start(self) -> None:
        """Start nothing."""


@dataclass
class House:
    """A gateway, its issuer, and the administrator's token; `refresh()` is the half second that passes."""

    gateway: Any
    issuer: Any
    clock: FixedClock
    refresh: Callable[[], None]
    token: str = ""

    def log_in(self, client_id: str, secret: str) -> Any:
        grant = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return self.issuer.post("/oauth/token", data=grant)

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        given = {"Authorization": f"Bearer {token or self.token}", **headers}
        return self.gateway.open(path, method=method, json=body, headers=given)

    def make(self, name: str, **rights: Any) -> Any:
        """Make an application in the older form, and return what was answered."""
        answer = self.ask("POST", "/v1/k8s/apps", {"name": name, **rights})
        assert answer.status_code == 201, answer.json
        return answer.json

    def token_of(self, made: Any) -> str:
        token: str = self.log_in(made["clientId"], made.get("secret") or made["clientSecret"]).json[
            "access_token"
        ]
        return token

    def verify(self, token: str) -> int:
        status: int = self.ask("POST", "/api/v1/token/verify", token=token).status_code
        return status


@pytest.fixture(scope="module")
def built(gateway_engine: Engine, database_url: str, routes_file: Path, limiting: Any) -> Iterator[House]:
    """Gateway and issuer, put together once."""
    clock = FixedClock()
    settings = IssuerSettings(
        database_url=database_url,
        issuer_url=URL,
        audiences=(AUDIENCE,),
        lifetime_seconds=3600,
        sealing_keys={"s1": b"s" * 32},
        log_level="INFO",
    )
    issuer = issuer_app.build_services(settings, clock)
    revocations = Quiet(gateway_engine, URL, clock)
    believed = Issuer(
        name=URL,
        audience=AUDIENCE,
        algorithms=tokens.ASYMMETRIC,
        keys=KeySet(URL, issuer.keys.published, clock),
        principal=tokens.client_principal(honours_roles=True),
    )
    admission = Admission(
        table=routes.load(routes_file, TARGETS),
        issuers={URL: believed},
        signing={},
        verdicts=Verdicts(),
        revocations=revocations,
        keys=KeyDesk(gateway_engine, URL, clock),
        clock=clock,
    )
    services = Services(
        engine=gateway_engine,
        admission=admission,
        upstreams=Upstreams({}),
        clock=clock,
        **limiting(gateway_engine, clock),
    )
    yield House(
        gateway=create_app(services).test_client(),
        issuer=issuer_app.create_app(issuer).test_client(),
        clock=clock,
        refresh=revocations.refresh,
    )
    issuer.engine.dispose()


@pytest.fixture
def house(built: House, gateway_engine: Engine) -> House:
    """The house with one application, its administrator."""
    with database.transaction(gateway_engine) as connection:
        for table in ("client_application", "revocation", "idempotency_key"):
            connection.execute(text(f"DELETE FROM gateway.{table}"))
        admin = declared.Application(
            client_id="admin", name="Admin", secret="admin-secret", roles=["Administrator"]
        )
        declared.declare(connection, admin)
    built.refresh()
    built.token = built.log_in("admin", "admin-secret").json["access_token"]
    return built


@pytest.fixture
def audited(gateway_engine: Engine) -> Callable[[], list[tuple[str, str]]]:
    """What was noted in the audit since the test began: act and subject."""
    with database.transaction(gateway_engine) as connection:
        last = connection.execute(text("SELECT coalesce(max(id), 0) FROM gateway.audit")).scalar_one()

    def read() -> list[tuple[str, str]]:
        query = text("SELECT action, subject FROM gateway.audit WHERE id > :last ORDER BY id")
        with database.transaction(gateway_engine) as connection:
            return [(row.action, row.subject) for row in connection.execute(query, {"last": last})]

    return read
