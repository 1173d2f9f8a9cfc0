"""Gateways and issuer as processes: clients that manage over them, and how soon a revocation bites."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from gateway import cli

CLIENTS = """
clients:
  - {client_id: taxiway-admin, name: Administrator, secret: admin-secret-123, roles: [Administrator]}
"""
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Site:
    """An issuer and two gateways before it, each with a worker, a cache and a view of revocations."""

    gateways: tuple[str, str]
    http: urllib3.PoolManager

    def ask(self, method: str, path: str, token: str = "", *, gateway: int = 0, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = {"timeout": 10, "retries": False, "headers": headers, **options}
        return self.http.request(method, self.gateways[gateway] + path, **options)

    def log_in(self, client_id: str, secret: str) -> Any:
        """Log in on the realm path, through the gateway, as published commands do."""
        fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        form: dict[str, Any] = {"encode_multipart": False, "fields": fields}
        return self.ask("POST", "/auth/realms/example/protocol/openid-connect/token", **form)

    def token(self, client_id: str = "taxiway-admin", secret: str = "admin-secret-123") -> str:
        token: str = self.log_in(client_id, secret).json()["access_token"]
        return token

    def verify(self, token: str) -> list[int]:
        """What each gateway says of a token."""
        return [self.ask("POST", "/api/v1/token/verify", token, gateway=each).status for each in (0, 1)]

    def seconds_until(self, statuses: list[int], token: str) -> float:
        """How long it takes until both gateways say this."""
        begun = time.monotonic()
        while self.verify(token) != statuses:
            assert time.monotonic() - begun < 20, self.verify(token)
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def site(
    serve: Any, tools: Any, new_database: Callable[[str], str], routes_file: Path, tmp_path_factory: Any
) -> Any:
    database_url, port = new_database("gateway_wire"), tools.free_port()
    clients = tmp_path_factory.mktemp("clients") / "clients.yaml"
    clients.write_text(CLIENTS)
    cli.seed(clients, database_url)
    url = f"http://localhost:{port}/realms/example"
    told = {"DATABASE_URL": database_url, "ISSUER_URL": url}
    serve("issuer", PORT=str(port), ISSUER_AUDIENCE="runway-local", SEALING_KEYS="s1:" + "11" * 32, **told)
    nobody = f"http://127.0.0.1:{tools.free_port()}"
    gateways = [
        serve(
            "gateway",
            REDIS_URL="redis://127.0.0.1:1",  # where nobody is: nothing is counted
            PUBLIC_URL="http://localhost",
            ROUTES_FILE=str(routes_file),
            OAUTH2_ISSUER=url,
            OAUTH2_AUDIENCE="runway-local",
            JOBS_URL=nobody,
            OUTPUTS_URL=nobody,
            ISSUER_UPSTREAM_URL=f"http://127.0.0.1:{port}",
            JOBS_SIGNING_KEY="j1:" + "22" * 32,
            OUTPUTS_SIGNING_KEY="o1:" + "33" * 32,
            **told,
        )
        for _ in (0, 1)
    ]
    with urllib3.PoolManager() as http:
        yield Site(gateways=(gateways[0].url, gateways[1].url), http=http)


def test_a_client_that_logs_in_with_the_app_form_lists_applications(site: Site) -> None:
    login = {"grantType": "app_token", "AppId": "taxiway-admin", "AppSecret": "admin-secret-123"}
    token = site.ask("POST", "/api/v1/token", json=login, headers=JSON).json()["accessToken"]
    listed = site.ask("GET", "/api/v1/apps", token).json()
    assert listed[0]["clientId"] == "taxiway-admin"
    assert site.ask("GET", "/api/v1/authorization/roles", token).status == 200


def test_a_client_on_the_realm_path_manages_in_the_older_form(site: Site) -> None:
    token = site.token()
    body = {"name": "realm-made", "roles": ["Researcher"], "permittedPartners": ["ea"]}
    made = site.ask("POST", "/v1/k8s/apps", token, json=body)
    assert made.status == 201
    assert site.log_in(made.json()["clientId"], made.json()["secret"]).json()["scope"].endswith(" partner:ea")
    assert [each["name"] for each in site.ask("GET", "/v1/k8s/apps", token).json()][-1] == "realm-made"
    assert site.ask("DELETE", f"/v1/k8s/apps/{made.json()['clientId']}", token).status == 204


def make(site: Site, name: str) -> Any:
    made = site.ask("POST", "/v1/k8s/apps", site.token(), json={"name": name, "roles": ["Researcher"]})
    assert made.status == 201, made.data
    return made.json()


@pytest.mark.parametrize("act", ["disable", "delete", "rotate", "revoke"])
def test_a_revocation_bites_in_every_gateway_within_a_second(site: Site, act: str) -> None:
    made = make(site, f"bitten-{act}")
    token, admin = site.token(made["clientId"], made["secret"]), site.token()
    assert site.verify(token) == [200, 200]  # and both have it in their caches
    address = f"/api/v1/apps/{made['id']}"
    form = {"token": token, "client_id": made["clientId"], "client_secret": made["secret"]}
    done = {
        "disable": lambda: site.ask("PATCH", address, admin, json={"enabled": False}),
        "delete": lambda: site.ask("DELETE", address, admin),
        "rotate": lambda: site.ask("POST", f"{address}/secret", admin),
        "revoke": lambda: site.ask(
            "POST", "/realms/example/protocol/openid-connect/revoke", fields=form, encode_multipart=False
        ),
    }[act]()
    assert done.status < 300
    # Read twice a second; on a busy machine the reading itself may be late.
    assert site.seconds_until([401, 401], token) < 5
