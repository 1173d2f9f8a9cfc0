"""Introspection (RFC 7662) and revocation (RFC 7009)."""

import base64
import json
from typing import Any

import pytest
from sqlalchemy import text

from common import database
from common.clock import FixedClock

REALM = "/realms/example/protocol/openid-connect"
INTROSPECT, REVOKE = f"{REALM}/token/introspect", f"{REALM}/revoke"
API = {"client_id": "runway-api", "client_secret": "api-secret-123"}
ADMIN = {"client_id": "admin", "client_secret": "a+b c%:d"}


def log_in(client: Any, credentials: dict[str, str]) -> str:
    answer = client.post("/oauth/token", data={"grant_type": "client_credentials", **credentials})
    token: str = answer.json["access_token"]
    return token


@pytest.fixture
def token(client: Any) -> str:
    made: str = client.post("/oauth/token", data={"grant_type": "client_credentials", **API}).json[
        "access_token"
    ]
    return made


def test_a_client_learns_what_its_token_says(client: Any, token: str, clock: FixedClock) -> None:
    answer = client.post(INTROSPECT, data={"token": token, "token_type_hint": "refresh_token", **API})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    part = token.split(".")[1]
    claims = json.loads(base64.b64decode(part + "=" * (-len(part) % 4)))
    assert answer.json == {"active": True, "token_type": "Bearer", **claims}


def test_credentials_may_be_json_or_basic_and_the_prefix_older(client: Any, token: str) -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(b"runway-api:api-secret-123").decode()}
    answers = [
        client.post(INTROSPECT, json={"token": token, **API}),
        client.post("/auth" + INTROSPECT, data={"token": token}, headers=basic),
    ]
    assert [each.json["active"] for each in answers] == [True, True]


def test_an_administrator_may_look_into_any_token_and_others_into_their_own(client: Any, token: str) -> None:
    assert client.post(INTROSPECT, data={"token": token, **ADMIN}).json["active"] is True
    admins = client.post("/oauth/token", data={"grant_type": "client_credentials", **ADMIN}).json[
        "access_token"
    ]
    assert client.post(INTROSPECT, data={"token": admins, **API}).json == {"active": False}


def test_a_token_that_ran_out_is_not_active(client: Any, token: str, clock: FixedClock) -> None:
    clock.advance(3599)
    assert client.post(INTROSPECT, data={"token": token, **API}).json["active"] is True
    clock.advance(1)
    assert client.post(INTROSPECT, data={"token": token, **API}).json == {"active": False}


def test_a_revoked_token_is_not_active_and_others_are(client: Any, token: str, engine: Any) -> None:
    other = log_in(client, API)
    answer = client.post(REVOKE, data={"token": token, **API})
    assert (answer.status_code, answer.json, answer.headers["Cache-Control"]) == (200, {}, "no-store")
    assert client.post(REVOKE, data={"token": token, **API}).status_code == 200
    active = [client.post(INTROSPECT, data={"token": each, **API}).json["active"] for each in (token, other)]
    assert active == [False, True]


def test_only_its_client_and_administrators_may_revoke_a_token(client: Any, token: str) -> None:
    admins = client.post("/oauth/token", data={"grant_type": "client_credentials", **ADMIN}).json[
        "access_token"
    ]
    answer = client.post(REVOKE, data={"token": admins, **API})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")
    assert client.post(REVOKE, data={"token": token, **ADMIN}).status_code == 200
    assert client.post(INTROSPECT, data={"token": token, **API}).json == {"active": False}


@pytest.mark.parametrize("change", ["enabled = false", "tokens_from = '2026-01-01 00:00:01Z'"])
def test_tokens_of_a_disabled_client_are_not_active(
    client: Any, token: str, engine: Any, change: str
) -> None:
    undo = "enabled = true, tokens_from = 'epoch'"
    try:
        _update(engine, change)
        assert client.post(INTROSPECT, data={"token": token, **ADMIN}).json == {"active": False}
    finally:
        _update(engine, undo)


def test_a_token_is_not_older_than_what_its_client_was_told(client: Any, engine: Any) -> None:
    try:
        _update(engine, "tokens_from = '2026-01-01 00:00:01Z'")
        made = client.post("/oauth/token", data={"grant_type": "client_credentials", **API}).json[
            "access_token"
        ]
        shown = client.post(INTROSPECT, data={"token": made, **API}).json
        assert (shown["active"], shown["iat"]) == (True, 1767225601)
    finally:
        _update(engine, "tokens_from = 'epoch'")


def _update(engine: Any, change: str) -> None:
    statement = f"UPDATE gateway.client_application SET {change} WHERE client_id = 'runway-api'"
    with database.transaction(engine) as connection:
        connection.execute(text(statement))


def strangers(client: Any, token: str) -> list[str]:
    head, payload, signature = token.split(".")
    id_token = client.post(
        "/oauth/token", data={"grant_type": "client_credentials", "scope": "openid", **API}
    ).json["id_token"]
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    return [
        "x", "a.b.c", "..", "rl_abc_def", "ä", "\x00", f"{head}.{payload}.",
        f"{head}.{payload[:-4]}.{signature}", f"{none}.{payload}.", id_token,
        "x" * 10_000, f"{head}.{payload}.{signature}.x",
    ]  # fmt: skip


@pytest.mark.parametrize("place", range(12))
def test_what_is_no_access_token_of_ours_is_not_active_and_revoking_it_is_fine(
    client: Any, token: str, place: int
) -> None:
    stranger = strangers(client, token)[place]
    assert client.post(INTROSPECT, data={"token": stranger, **API}).json == {"active": False}
    assert client.post(REVOKE, data={"token": stranger, **API}).status_code == 200


@pytest.mark.parametrize("path", [INTROSPECT, REVOKE])
@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"token": ""}, 400, "invalid_request"),
        ({"token": ["a", "b"]}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"client_id": "disabled", "client_secret": "disabled-secret"}, 401, "invalid_client"),
    ],
)
def test_a_faulty_request_is_an_rfc_6749_error(
    client: Any, token: str, path: str, changes: Any, status: int, error: str
) -> None:
    answer = client.post(path, data={"token": token, **API, **changes})
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("path", [INTROSPECT, REVOKE])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a": NaN}', b'{"a": "\xed\xa0\x80"}'])
def test_a_body_that_is_no_json_is_an_invalid_request(client: Any, path: str, body: bytes) -> None:
    answer = client.post(path, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_discovery_names_both_endpoints(client: Any) -> None:
    document = client.get("/auth/realms/example/.well-known/openid-configuration").json
    base = "http://localhost:8080/auth/realms/example/protocol/openid-connect"
    assert document["introspection_endpoint"] == f"{base}/token/introspect"
    assert document["revocation_endpoint"] == f"{base}/revoke"


@pytest.mark.parametrize("path", [INTROSPECT, REVOKE])
def test_another_realm_has_none(client: Any, token: str, path: str) -> None:
    answer = client.post(path.replace("example", "other"), data={"token": token, **API})
    assert answer.json["type"] == "/problems/realm-not-found"
