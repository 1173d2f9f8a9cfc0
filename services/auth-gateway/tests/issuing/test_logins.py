"""Logins in every form, and what they are refused with."""

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import import_key
from sqlalchemy import Engine, event

from common.clock import FixedClock

URL = "http://localhost:8080/realms/example"
TOKEN = "/realms/example/protocol/openid-connect/token"
GOOD = {"grant_type": "client_credentials", "client_id": "runway-api", "client_secret": "api-secret-123"}
SCOPE = "create:jobs read:jobs read:jobs:output-files partner:ea"


def opened(client: Any, token: str) -> dict[str, Any]:
    """Check a token against the published keys and read its claims."""
    published = client.get("/realms/example/protocol/openid-connect/certs").json["keys"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    key = next(key for key in published if key["kid"] == header["kid"])
    claims: dict[str, Any] = json.loads(
        jws.deserialize_compact(token, import_key(key, "RSA"), algorithms=["RS256"]).payload
    )
    return claims


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def test_a_login_answers_with_a_token_of_the_clients_scopes(client: Any, clock: FixedClock) -> None:
    answer = client.post(TOKEN, data=GOOD)
    assert answer.status_code == 200
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    body = answer.json
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, SCOPE)
    assert "id_token" not in body
    claims = opened(client, body["access_token"])
    now = int(clock.now().timestamp())
    assert claims.pop("jti")
    assert claims == {
        "iss": URL,
        "aud": "runway-local",
        "sub": "runway-api",
        "client_id": "runway-api",
        "azp": "runway-api",
        "client_name": "Runway API",
        "scope": SCOPE,
        "roles": [],
        "iat": now,
        "exp": now + 3600,
    }
    header = json.loads(base64.urlsafe_b64decode(body["access_token"].split(".")[0] + "=="))
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")


@pytest.mark.parametrize(
    "path", [TOKEN, "/auth" + TOKEN, "/oauth/token", "/api/v2/token", TOKEN + "/", "/oauth/token/"]
)
def test_every_login_address_takes_form_json_and_basic(client: Any, path: str) -> None:
    grant = {"grant_type": "client_credentials"}
    answers = [
        client.post(path, data=GOOD),
        client.post(path, json=GOOD),
        client.post(path, data=grant, headers=basic("runway-api", "api-secret-123")),
        client.post(path, json=grant, headers=basic("runway-api", "api-secret-123")),
        client.post(
            path, data={**grant, "client_id": "runway-api"}, headers=basic("runway-api", "api-secret-123")
        ),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5


def test_basic_credentials_are_form_encoded(client: Any) -> None:
    grant = {"grant_type": "client_credentials"}
    assert client.post(TOKEN, data=grant, headers=basic("admin", "a%2Bb+c%25%3Ad")).status_code == 200
    assert client.post(TOKEN, data=grant, headers=basic("admin", "a+b c%:d")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"grantType": "app_token", "AppId": "runway-api", "AppSecret": "api-secret-123"},
        {"grantType": "client_credentials", "clientId": "runway-api", "clientSecret": "api-secret-123"},
        {"GRANTTYPE": "app_token", "appid": "runway-api", "APPSECRET": "api-secret-123", "other": 1},
    ],
)
def test_the_older_login_form_is_understood(client: Any, body: dict[str, str]) -> None:
    answer = client.post("/api/v1/token", json=body)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert set(answer.json) == {"accessToken", "expiresIn", "tokenType"}
    assert opened(client, answer.json["accessToken"])["scope"] == SCOPE


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", SCOPE),
        ("openid profile email offline_access", SCOPE),
        ("read:jobs", "read:jobs"),
        ("partner:ea openid create:jobs", "create:jobs partner:ea"),
        ("  read:jobs  read:jobs ", "read:jobs"),
    ],
)
def test_a_scope_narrows_and_openid_never_does(client: Any, asked: str, granted: str) -> None:
    answer = client.post(TOKEN, data={**GOOD, "scope": asked, "response_type": "token"})
    assert answer.json["scope"] == granted
    assert opened(client, answer.json["access_token"])["scope"] == granted
    assert ("id_token" in answer.json) == ("openid" in asked)


def test_openid_adds_an_id_token_for_the_client(client: Any) -> None:
    answer = client.post(TOKEN, data={**GOOD, "scope": "openid"})
    claims = opened(client, answer.json["id_token"])
    assert (claims["iss"], claims["aud"], claims["sub"]) == (URL, "runway-api", "runway-api")
    assert "scope" not in claims


def test_an_audience_is_honoured_when_it_is_served(client: Any) -> None:
    answer = client.post(TOKEN, data={**GOOD, "audience": "second"})
    assert opened(client, answer.json["access_token"])["aud"] == "second"


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "read:jobs partner:other"}, 400, "invalid_scope"),
        ({"scope": "READ:JOBS"}, 400, "invalid_scope"),
        ({"audience": "elsewhere"}, 400, "invalid_target"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"client_secret": "x" * 10_000}, 401, "invalid_client"),
        ({"client_id": "disabled", "client_secret": "disabled-secret"}, 401, "invalid_client"),
        ({"client_id": "runway-api\x00"}, 401, "invalid_client"),
        ({"client_id": "\ud800"}, 401, "invalid_client"),
        ({"scope": "\x00"}, 400, "invalid_scope"),
        ({"audience": "\ud800"}, 400, "invalid_target"),
        ({"client_secret": "\ud800"}, 401, "invalid_client"),
        ({"client_id": ["runway-api"]}, 401, "invalid_client"),
        ({"grant_type": 5}, 400, "invalid_request"),
    ],
)
def test_a_faulty_login_is_an_rfc_6749_error(client: Any, changes: Any, status: int, error: str) -> None:
    answer = client.post(TOKEN, data=json.dumps({**GOOD, **changes}), content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert set(answer.json) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("path", [TOKEN, "/oauth/token", "/api/v1/token", "/api/v2/token"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'"x"', b"[" * 50_000, b"\xff", b'{"a": NaN}', b'"\xed\xa0\x80"']
)
def test_a_body_that_is_no_request_is_an_invalid_request(client: Any, path: str, body: bytes) -> None:
    answer = client.post(path, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_login_without_body_or_type_is_an_invalid_request(client: Any) -> None:
    assert client.post(TOKEN).json["error"] == "invalid_request"


def test_a_repeated_parameter_is_an_invalid_request(client: Any) -> None:
    answer = client.post(TOKEN, data={**GOOD, "scope": ["read:jobs", "create:jobs"]})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_credentials_given_twice_are_an_invalid_request(client: Any) -> None:
    for body in (GOOD, {"grant_type": "client_credentials", "client_id": "admin"}):
        answer = client.post(TOKEN, data=body, headers=basic("runway-api", "api-secret-123"))
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic dTpw", "Bearer x", "Basic bm9jb2xvbg==", "Basic /w=="]
)
def test_a_faulty_authorization_header_is_an_invalid_client(client: Any, header: str) -> None:
    answer = client.post(TOKEN, data={"grant_type": "client_credentials"}, headers={"Authorization": header})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_unknown_wrong_and_disabled_cost_the_same_and_answer_the_same(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, costs = hashlib.scrypt, []

    def counted(*args: Any, **options: Any) -> bytes:
        costs.append((options["n"], options["r"], options["p"]))
        return real(*args, **options)

    def asked(*_: Any) -> None:
        questions[-1] += 1

    monkeypatch.setattr(hashlib, "scrypt", counted)
    event.listen(Engine, "before_cursor_execute", asked)
    pairs = [("nobody", "x"), ("runway-api", "wrong"), ("disabled", "disabled-secret"), ("disabled", "wrong")]
    answers: list[Any] = []
    questions: list[int] = []
    try:
        for a, b in pairs:
            questions.append(0)
            answers.append(client.post(TOKEN, data={**GOOD, "client_id": a, "client_secret": b}))
    finally:
        event.remove(Engine, "before_cursor_execute", asked)
    assert len({(answer.status_code, answer.data) for answer in answers}) == 1
    assert costs == [costs[0]] * len(pairs)
    assert questions == [1] * len(pairs)


def test_the_payload_reads_with_the_plain_base64_alphabet(client: Any) -> None:
    answer = client.post(TOKEN, data={**GOOD, "client_id": "admin", "client_secret": "a+b c%:d"})
    payload = answer.json["access_token"].split(".")[1]
    assert not set("-_") & set(payload)
    raw = base64.b64decode(payload + "=" * (-len(payload) % 4))
    assert raw.isascii()
    assert not set(b"?>~\x7f") & set(raw)
    claims = json.loads(raw)
    assert (claims["client_name"], claims["roles"], claims["scope"]) == ("Wer? Ä~>", ["Administrator"], "")


@pytest.mark.parametrize("prefix", ["/realms/example", "/auth/realms/example"])
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_discovery_keeps_the_prefix_and_never_believes_the_host(client: Any, prefix: str, host: str) -> None:
    answer = client.get(f"{prefix}/.well-known/openid-configuration", headers={"Host": host})
    document = answer.json
    assert document["issuer"] == URL
    assert document["token_endpoint"] == f"http://localhost:8080{prefix}/protocol/openid-connect/token"
    assert document["jwks_uri"] == f"http://localhost:8080{prefix}/protocol/openid-connect/certs"


def test_another_realm_is_not_found(client: Any) -> None:
    for path in ("/.well-known/openid-configuration", "/protocol/openid-connect/certs"):
        assert client.get(f"/realms/other{path}").status_code == 404
    assert client.post("/realms/other/protocol/openid-connect/token", data=GOOD).status_code == 404
