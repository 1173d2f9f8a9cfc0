"""A whole stack to measure: durable, one worker a web process, its servers on the load's core."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from sqlalchemy import Engine, create_engine

from bench.place import LOAD_CORE, ROOT, SERVER_CORE, pin
from common.principal import Principal, signed_headers
from common.settings import keyring
from stack.services import SERVERS
from stack.testing import LocalStack

FOLDER = Path(__file__).parent.relative_to(ROOT)
WEB, WORKERS = ("gateway", "issuer", "jobs", "jobs-watch", "outputs"), ("dispatcher", "courier")
# One worker, no word about what went well, and quotas that no load exhausts.
QUIET = {
    "WEB_WORKERS": "1",
    "LOG_LEVEL": "warning",
    "REQUESTS_PER_HOUR": "1000000000",
    "RUN_REQUESTS_PER_HOUR": "1000000000",
}
CLIENT = {"client_id": "runway-api", "client_secret": "api-secret-123"}
PARTNER = {"partner": "ea", "tenant": "ea", "schoolYear": "2026"}
NOOP: Mapping[str, Any] = {**PARTNER, "bundle": "bench/noop", "files": {}, "params": {}}
TWO_FILES: Mapping[str, Any] = {
    **PARTNER,
    "bundle": "bench/two_files",
    "files": {"INPUT_FILE": "results.csv", "SECOND_FILE": "more.csv"},
    "params": {"TEST_TYPE": "SAT"},
}


class Measured:
    """A running stack, and what rows ask of it."""

    def __init__(self, local: LocalStack) -> None:
        self.local = local
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=60))

    @cached_property
    def token(self) -> str:
        """Log in as the example client, once."""
        form = urlencode({"grant_type": "client_credentials", **CLIENT})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{self.local.issuer_url}/realms/example/protocol/openid-connect/token"
        answer = self._http.request("POST", url, body=form, headers=headers)
        return str(json.loads(answer.data)["access_token"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one call through the gateway and return its JSON. Raises RuntimeError on any error."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self._http.request(method, f"{self.local.gateway_url}{path}", json=body, headers=headers)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data.decode()[:300]}")
        return json.loads(answer.data) if answer.data else None

    def pids(self, *names: str) -> tuple[int, ...]:
        """Give the processes of that name; their children belong to them."""
        return tuple(self.local.pid(name) for name in names)

    def signed(self, principal: Principal, service: str, method: str, target: str) -> dict[str, str]:
        """Sign a call to a service's own port, as the gateway would; good for half a minute."""
        keys = keyring(self.local.stack.secrets.read(f"signing-key-{service}-from-gateway"))
        return signed_headers(principal, method, target, keys, int(time.time()))

    def superuser(self) -> Engine:
        """Connect to the stack's database with every right."""
        return create_engine(self.local.database_url("postgres"), isolation_level="AUTOCOMMIT")

    def dsn(self) -> str:
        """Give the superuser's address as other drivers write it."""
        return self.local.database_url("postgres").replace("+psycopg2", "")

    def pin(self) -> None:
        """Put the services on the servers' core, and what lies behind them on the load's."""
        names = self.local.stack.names()
        pin(self.pids(*(name for name in names if name not in SERVERS)), SERVER_CORE)
        pin(self.pids(*(name for name in names if name in SERVERS)), LOAD_CORE)


@contextmanager
def measured_stack(
    *,
    environment: Mapping[str, str] | None = None,
    processes: Mapping[str, Mapping[str, str]] | None = None,
    only: Sequence[str] = WEB + WORKERS,
) -> Iterator[Measured]:
    """Start a stack without executors, or some of its processes, and pin them.

    `environment` is told to every process, `processes` maps a process to variables of its own.
    """
    stack = LocalStack(
        environment={**QUIET, **(environment or {})},
        process_environment=processes,
        bundles=(FOLDER / "bundles",),
        partners=FOLDER / "partners.yaml",
        without=set(WEB + WORKERS) - set(only),
        executors=0,
        durable=True,
    )
    with stack as local:
        measured = Measured(local)
        measured.pin()
        yield measured
