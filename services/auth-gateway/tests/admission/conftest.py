"""A door to knock at: admission with keys in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from common import database
from common.clock import FixedClock
from gateway import routes, tokens
from gateway.admission import Admission, Decision, Forward, Local, Refuse
from gateway.key_desk import KeyDesk
from gateway.keys import FetchFailed, KeySet
from gateway.revocations import Revocations
from gateway.tokens import Accepted, Issuer
from gateway.verdicts import Verdicts

ISSUER = "https://login.example/realms/x"


AUDIENCE = "runway-local"


SIGNING = {"jobs": {"j1": b"j" * 32}, "jobs-watch": {"j1": b"j" * 32}, "outputs": {"o1": b"o" * 32}}


NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


SCOPES = "create:jobs read:jobs read:jobs:output-files partner:ea"


class Revoked(Revocations):
    """Revocations that are a set of client ids; `knows_nothing` stands for a database that is away."""

    def __init__(self) -> None:
        self.clients: set[str] = set()
        self.knows_nothing = False

    def trusts(self, verdict: Accepted) -> bool:
        return not self.knows_nothing and verdict.principal.client_id not in self.clients

    def revokes(self, verdict: Accepted) -> bool:
        if self.knows_nothing:
            raise database.Unavailable("away")
        return verdict.principal.client_id in self.clients


@dataclass
class Door:
    """An Admission whose issuers' keys are a list in memory; counts how often they are fetched."""

    clock: FixedClock
    published: list[Any]
    run_keys: list[Any]
    routes_file: Path
    is_down: bool = False
    fetches: int = 0
    admission: Admission = field(init=False)
    verdicts: Verdicts = field(init=False)
    revoked: Any = field(default_factory=Revoked)
    engine: Engine = field(default_factory=lambda: database.connect(NOWHERE, "tests"))

    def build(self, *, disabled: bool = False) -> "Door":
        client = self._issuer(ISSUER, AUDIENCE, tokens.ASYMMETRIC, self._fetch)
        client_issuers = {} if disabled else {ISSUER: client}
        runs = Issuer(
            name=tokens.RUN_ISSUER,
            audience=tokens.RUN_AUDIENCE,
            algorithms=("EdDSA",),
            keys=KeySet(tokens.RUN_ISSUER, lambda: self.run_keys, self.clock),
            principal=tokens.run_principal,
        )
        self.verdicts = Verdicts()
        self.admission = Admission(
            table=routes.load(self.routes_file, ("jobs", "jobs-watch", "outputs", "issuer", "gateway")),
            issuers={**client_issuers, tokens.RUN_ISSUER: runs},
            signing=SIGNING,
            verdicts=self.verdicts,
            revocations=self.revoked,
            keys=KeyDesk(self.engine, ISSUER, self.clock),
            clock=self.clock,
        )
        return self

    def _issuer(
        self, name: str, audience: str, algorithms: tuple[str, ...], fetch: Callable[[], Any]
    ) -> Issuer:
        return Issuer(
            name=name,
            audience=audience,
            algorithms=algorithms,
            keys=KeySet(name, fetch, self.clock),
            principal=tokens.client_principal(honours_roles=True),
        )

    def _fetch(self) -> list[Any]:
        self.fetches += 1
        if self.is_down:
            raise FetchFailed("down")
        return list(self.published)

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a good token; a change to None leaves the claim out."""
        good = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "runway-api",
            "client_id": "runway-api",
            "azp": "runway-api",
            "client_name": "Runway API",
            "scope": SCOPES,
            "iat": self.now,
            "exp": self.now + 600,
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def run_claims(self, **changes: Any) -> dict[str, Any]:
        good = {
            "iss": "taxiway-runs",
            "aud": "executor-api",
            "sub": "run-1",
            "lease": 7,
            "attempt": 1,
            "partner": "ea",
            "job": "job-1",
            "scope": "run:work",
            "iat": self.now,
            "exp": self.now + 600,
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def knock(
        self, token: str | None, method: str = "GET", target: str = "/api/v1/jobs", **headers: str
    ) -> Decision:
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if token is not None:
            given.append(("Authorization", f"Bearer {token}"))
        return self.admission.decide(method, target, given)

    def refusal(self, token: str | None, *args: str, **headers: str) -> tuple[int, str]:
        decision = self.knock(token, *args, **headers)
        assert isinstance(decision, Refuse), decision
        return decision.problem.status, decision.problem.detail

    def admitted(self, token: str | None, *args: str, **headers: str) -> Forward | Local:
        decision = self.knock(token, *args, **headers)
        assert not isinstance(decision, Refuse), decision
        return decision


@pytest.fixture
def door(keys: Any, routes_file: Path) -> Door:
    published = [key.as_dict(private=False) for key in (keys.rsa, keys.ec, keys.ed)]
    run_keys = [keys.ed.as_dict(private=False)]
    return Door(clock=FixedClock(), published=published, run_keys=run_keys, routes_file=routes_file).build()


@pytest.fixture
def nothing_counted(door: Door, limiting: Any) -> Any:
    """Limits of three requests and three failures whose Redis is away."""
    return limiting(door.engine, door.clock, most=3)["limits"]


@pytest.fixture
def counted(door: Door, limiting: Any, servers: Any) -> Any:
    """Limits of three requests and three failures on a real server without any count yet."""
    servers.flush_redis()
    return limiting(door.engine, door.clock, servers.redis_url("gateway"), most=3)["limits"]
