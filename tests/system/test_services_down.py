"""What clients see while a service behind the gateway is away or silent."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from doors import HTTP, Call, require_problem, send
from driving import Client
from gateways import another_gateway
from issuers import ForeignIssuer, Key
from operations import SOME_UID

from stack.ports import free_port
from stack.testing import LocalStack

JOBS = (
    Call(service="jobs", method="GET", target="/api/v1/jobs?partner=ea"),
    Call(service="jobs", method="POST", target="/api/v1/jobs", content=b"{}"),
    Call(service="jobs", method="GET", target="/api/v1/partners/ea"),
)
SETS = Call(service="outputs", method="GET", target="/api/v1/output-sets?partner=ea")
VERIFY = Call(service="gateway", method="POST", target="/api/v1/token/verify")
LOGIN = Call(service="issuer", method="POST", target="/oauth/token", content=b"{}")
ROUTES = Path(__file__).resolve().parents[2] / "deploy" / "gateway" / "routes.yaml"


@pytest.fixture(scope="module")
def badly_served(system: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose outputs stays silent, whose jobs and issuer are down; it waits half a second."""
    folder = tmp_path_factory.mktemp("badly-served")
    table = yaml.safe_load(ROUTES.read_text(encoding="utf-8"))
    impatient = {"routes": [{**route, "timeout_seconds": 0.5} for route in table["routes"]]}
    (folder / "routes.yaml").write_text(yaml.safe_dump(impatient), encoding="utf-8")
    with closing(socket.create_server(("127.0.0.1", free_port()))) as silent:
        told = {
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "OUTPUTS_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "JOBS_URL": f"http://127.0.0.1:{free_port()}",
            "ISSUER_UPSTREAM_URL": f"http://127.0.0.1:{free_port()}",
        }
        with another_gateway(system, folder, **told) as url:
            yield url


@pytest.mark.parametrize("call", JOBS, ids=lambda call: f"{call.method} {call.target}")
def test_a_service_that_is_down_is_a_502(badly_served: str, ea: Client, call: Call) -> None:
    problem = require_problem(send(badly_served, call, {"Authorization": f"Bearer {ea.token}"}), 502)
    assert problem["error"] == "bad_gateway"


def test_a_service_that_is_down_takes_nothing_else_along(badly_served: str, ea: Client) -> None:
    assert send(badly_served, VERIFY, {"Authorization": f"Bearer {ea.token}"}).status == 200
    assert require_problem(send(badly_served, JOBS[0], {}), 401)["detail"] == "No token"
    assert HTTP.request("GET", f"{badly_served}/healthz").status == 200
    assert HTTP.request("GET", f"{badly_served}/readyz").status == 503


def test_a_run_token_whose_keys_nobody_can_give_is_a_503(badly_served: str) -> None:
    token = ForeignIssuer(Key("EdDSA")).token(iss="taxiway-runs", aud="executor-api")
    beat = Call(service="jobs", method="POST", target=f"/sdk/v1/runs/{SOME_UID}/heartbeat", content=b"{}")
    problem = require_problem(send(badly_served, beat, {"Authorization": f"Bearer {token}"}), 503)
    assert problem["type"] == "/problems/issuer-unavailable"


def test_a_silent_service_is_a_504(badly_served: str, ea: Client) -> None:
    problem = require_problem(send(badly_served, SETS, {"Authorization": f"Bearer {ea.token}"}), 504)
    assert problem["error"] == "gateway_timeout"


def test_an_issuer_that_is_down_is_a_502_and_tokens_keep_working(badly_served: str, ea: Client) -> None:
    require_problem(send(badly_served, LOGIN, {}), 502)
    assert send(badly_served, VERIFY, {"Authorization": f"Bearer {ea.token}"}).status == 200
