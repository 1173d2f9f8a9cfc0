"""`POST /api/v1/token/verify`, through the lane and the gateway's own application."""

from typing import Any

import pytest

from gateway.app import create_app
from gateway.forward import Upstreams
from gateway.services import Services

PATH = "/api/v1/token/verify"


@pytest.fixture
def client(door: Any, limiting: Any) -> Any:
    upstreams = Upstreams({"jobs": "http://127.0.0.1:1", "outputs": "http://127.0.0.1:1"})
    services = Services(
        engine=door.engine,
        admission=door.admission,
        upstreams=upstreams,
        clock=door.clock,
        **limiting(door.engine, door.clock),
    )
    return create_app(services).test_client()


@pytest.fixture
def verify(client: Any) -> Any:
    def call(token: str, path: str = PATH) -> Any:
        return client.post(path, headers={"Authorization": f"Bearer {token}"})

    return call


def test_a_good_token_is_described(verify: Any, door: Any, keys: Any, tools: Any) -> None:
    answer = verify(tools.mint(keys.rsa, door.claims(scope="read:jobs partner:ea create:jobs partner:acme")))
    assert answer.status_code == 200
    assert answer.json == {
        "valid": True,
        "message": "Token is valid for partners: acme, ea",
        "clientId": "runway-api",
        "clientName": "Runway API",
        "issuer": door.claims()["iss"],
        "partners": ["acme", "ea"],
        "scopes": ["create:jobs", "partner:acme", "partner:ea", "read:jobs"],
        "expiresAt": "2026-01-01T00:10:00.000Z",
    }


def test_one_partner_is_singular_and_a_slash_makes_no_difference(
    verify: Any, door: Any, keys: Any, tools: Any
) -> None:
    answer = verify(tools.mint(keys.rsa, door.claims()), PATH + "/")
    assert answer.json["message"] == "Token is valid for partner: ea"


def test_a_token_without_partners_says_what_is_missing(verify: Any, door: Any, keys: Any, tools: Any) -> None:
    answer = verify(tools.mint(keys.rsa, door.claims(scope="read:jobs", client_name=None)))
    sentence = 'Token is valid for no partners. No scope of the form "partner:<code>" was found on the token.'
    assert (answer.json["message"], answer.json["partners"], answer.json["clientName"]) == (
        sentence,
        [],
        None,
    )


@pytest.mark.parametrize("scope", ["create:jobs", "read:jobs", "read:jobs:output-files"])
def test_any_of_the_three_scopes_is_enough(verify: Any, door: Any, keys: Any, tools: Any, scope: str) -> None:
    assert verify(tools.mint(keys.rsa, door.claims(scope=scope))).status_code == 200


@pytest.mark.parametrize("scope", ["", "partner:ea", "read", "read:jobs:output", "READ:JOBS", "read:jobsx"])
def test_without_any_of_them_the_scopes_are_insufficient(
    verify: Any, door: Any, keys: Any, tools: Any, scope: str
) -> None:
    answer = verify(tools.mint(keys.rsa, door.claims(scope=scope)))
    assert (answer.status_code, answer.json["message"]) == (403, "Insufficient scopes")
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_refusals_have_the_one_shape(client: Any) -> None:
    answer = client.post(PATH)
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "/problems/no-token"
    assert answer.json["requestId"] == answer.headers["X-Request-Id"]


def test_an_unexpected_error_in_the_lane_is_a_500_without_internals(client: Any, door: Any) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    door.admission.decide = broken
    answer = client.get("/api/v1/jobs")
    assert (answer.status_code, answer.json["error"]) == (500, "internal_error")
    assert "secret" not in answer.get_data(as_text=True)
