"""Without an issuer the External API is off, and everything else goes on (external-api.md §1, rule 2)."""

import json
from urllib.parse import urlencode

import pytest
from doors import HTTP, Call, require_problem, send
from driving import Client

LOGIN = "/realms/example/protocol/openid-connect/token"
EXTERNAL = (
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/output-sets?partner=ea"),
    ("POST", "/api/v1/token/verify"),
    ("GET", "/api/v1/bundles?partner=ea"),
    ("GET", "/api/v1/partners/ea"),
)


@pytest.mark.parametrize(("method", "target"), EXTERNAL)
@pytest.mark.parametrize("token", [None, "abc"], ids=["a good token", "garbage"])
def test_the_external_api_says_that_it_is_disabled(
    disabled: str, ea: Client, method: str, target: str, token: str | None
) -> None:
    call = Call(service="gateway", method=method, target=target)
    problem = require_problem(send(disabled, call, {"Authorization": f"Bearer {token or ea.token}"}), 503)
    assert problem["type"] == "/problems/external-api-disabled"
    assert problem["detail"] == "External API is disabled."


def test_a_call_without_a_token_is_still_a_401(disabled: str) -> None:
    call = Call(service="outputs", method="GET", target="/api/v1/output-sets?partner=ea")
    assert require_problem(send(disabled, call, {}), 401)["detail"] == "No token"


def test_what_is_not_the_external_api_knows_no_such_client(disabled: str, ea: Client) -> None:
    call = Call(service="jobs", method="GET", target=f"/sdk/v1/runs/{'0' * 8}/payload")
    problem = require_problem(send(disabled, call, {"Authorization": f"Bearer {ea.token}"}), 401)
    assert problem["detail"] == "Invalid token"


def test_run_tokens_keep_working(disabled: str, ea: Client) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    started = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
    path = f"/sdk/v1/runs/{started['runUid']}"
    bearer = {"Authorization": f"Bearer {started['runToken']}"}
    beat = Call(service="jobs", method="POST", target=f"{path}/heartbeat", content=b"{}")
    assert send(disabled, beat, bearer).status == 200
    failure = json.dumps({"error": "done with it", "retryable": False}).encode()
    assert (
        send(
            disabled, Call(service="jobs", method="POST", target=f"{path}/fail", content=failure), bearer
        ).status
        == 200
    )


def test_health_and_login_keep_working(disabled: str) -> None:
    for path in ("/healthz", "/readyz"):
        assert HTTP.request("GET", disabled + path).status == 200
    form = {"grant_type": "client_credentials", "client_id": "runway-api", "client_secret": "api-secret-123"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = HTTP.request("POST", disabled + LOGIN, body=urlencode(form), headers=headers)
    assert answer.json()["token_type"] == "Bearer"
