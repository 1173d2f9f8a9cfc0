"""The gateway under gunicorn, an issuer and a service in this process."""

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3

from common.clock import SystemClock
from gateway.quotas import WINDOW_SECONDS

MARGIN_SECONDS = 20
KEY = {"j1": b"j" * 32}


@dataclass(frozen=True)
class Wire:
    """The gateway, what is behind it, and a good token."""

    gateway: Any
    upstream: Any
    login: Any
    http: urllib3.PoolManager
    token: str
    run_token: str
    client_token: Callable[..., str]
    metrics_url: str
    key: dict[str, bytes] = field(default_factory=lambda: dict(KEY))

    def ask(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        options = {"timeout": 10, "retries": False, "redirect": False, **options}
        return self.http.request(method, self.gateway.url + path, headers=headers, **options)

    def raw(self, request: str, *, body: bytes = b"", wait: float = 5) -> bytes:
        """Send bytes as they are and read until the connection closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=wait) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
            answer = b""
            with contextlib.suppress(TimeoutError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer


PLAIN, FORWARD = "common.greenlets.Worker", "gateway.relay.worker.RelayWorker"


@pytest.fixture(scope="session", params=[PLAIN, FORWARD], ids=["plain", "forward"])
def lane(request: pytest.FixtureRequest) -> str:
    """The worker class whose lane is tested: every test of the wire holds for both."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_wire(
    lane: str,
    keys: Any,
    tools: Any,
    serve: Any,
    new_web: Any,
    database_url: str,
    routes_file: Any,
    tmp_path_factory: Any,
) -> Callable[..., Wire]:
    """Start a gateway told something of its own, with an issuer and a service behind it."""

    def start(**environment: str) -> Wire:
        return _wire(
            keys,
            tools,
            serve,
            new_web,
            routes_file,
            tmp_path_factory,
            {"WEB_WORKER_CLASS": lane, "DATABASE_URL": database_url, **environment},
        )

    return start


@pytest.fixture(scope="session")
def world(new_wire: Any) -> Wire:
    started: Wire = new_wire()
    return started


def _wire(
    keys: Any, tools: Any, serve: Any, new_web: Any, routes_file: Any, tmp_path_factory: Any, told: Any
) -> Wire:
    upstream, login = new_web(), new_web()
    login.json("/.well-known/openid-configuration", {"issuer": login.url, "jwks_uri": f"{login.url}/certs"})
    login.json("/certs", {"keys": [keys.rsa.as_dict(private=False)]})
    upstream.json("/internal/run-keys", {"keys": [keys.ed.as_dict(private=False)]})
    table = tmp_path_factory.mktemp("routes") / "routes.yaml"
    table.write_text(routes_file.read_text() + _HASTY)
    metrics_port = tools.free_port()
    gateway = serve(
        "gateway",
        **{
            "METRICS_PORT": str(metrics_port),
            "OAUTH2_ISSUER": login.url,
            "OAUTH2_AUDIENCE": "runway-local",
            "PUBLIC_URL": "http://localhost",
            "REDIS_URL": f"redis://127.0.0.1:{tools.free_port()}",  # where nobody is: nothing is counted
            "CLIENT_SILENCE_SECONDS": "1",
            "ROUTES_FILE": str(table),
            "JOBS_URL": upstream.url,
            "JOBS_WATCH_URL": upstream.url,
            "OUTPUTS_URL": f"http://127.0.0.1:{tools.free_port()}",  # where nobody is
            "ISSUER_UPSTREAM_URL": login.url,
            "JOBS_SIGNING_KEY": "j1:" + KEY["j1"].hex(),
            "OUTPUTS_SIGNING_KEY": "o1:" + ("o" * 32).encode().hex(),
            **told,
        },
    )
    now = int(SystemClock().now().timestamp())
    claims = {
        "aud": "runway-local",
        "iss": login.url,
        "sub": "c",
        "scope": "read:jobs partner:ea",
        "exp": now + 600,
    }
    run = {
        "aud": "executor-api",
        "iss": "taxiway-runs",
        "sub": "r",
        "lease": 1,
        "attempt": 1,
        "partner": "ea",
    }
    run |= {"job": "j", "scope": "run:work", "exp": now + 600}

    def client_token(**changes: Any) -> str:
        return str(tools.mint(keys.rsa, claims | changes))

    http, run_token = urllib3.PoolManager(), tools.mint(keys.ed, run)
    metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
    return Wire(gateway, upstream, login, http, client_token(), run_token, client_token, metrics_url)


# Routes with little patience and small bodies, behind the real ones.
_HASTY = """
  - {path: /hasty, methods: [GET, POST], to: jobs, admits: [client], body_bytes: 100000, timeout_seconds: 0.3}
  - {path: /nowhere, methods: [GET, POST], to: outputs, admits: [client]}
"""


@pytest.fixture
def wire(world: Wire) -> Wire:
    world.upstream.seen.clear()
    return world


@pytest.fixture
def well_inside_a_window() -> None:
    """Let a ten-minute window or an hour end first, if that would happen in mid-test."""
    left = WINDOW_SECONDS - time.time() % WINDOW_SECONDS
    if left < MARGIN_SECONDS:
        time.sleep(left)
