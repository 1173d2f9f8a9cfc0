"""Client applications and service accounts: made, shown, disabled, deleted, given new secrets."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from common import database

APPS, ACCOUNTS = "/api/v1/apps", "/api/v1/service-accounts"


@pytest.mark.parametrize(("address", "secret"), [(APPS, "secret"), (ACCOUNTS, "clientSecret")])
def test_an_application_is_made_and_logs_in_with_the_secret_that_is_shown_once(
    house: Any, address: str, secret: str
) -> None:
    made = house.ask("POST", address, {"name": "nightly_import-2"})
    assert made.status_code == 201
    assert set(made.json) == {"id", "name", "clientId", secret}
    assert "_" not in made.json["id"] + made.json["clientId"]
    assert house.log_in(made.json["clientId"], made.json[secret]).status_code == 200
    [shown] = [each for each in house.ask("GET", address).json if each["name"] == "nightly_import-2"]
    assert set(shown) == {"id", "name", "clientId", "enabled", "createdBy", "createdAt", "updatedAt"}
    assert (shown["enabled"], shown["createdBy"]) == (True, "client:admin")
    assert house.ask("GET", f"{address}/{shown['id']}").json == shown


def test_each_list_holds_its_own_kind(house: Any) -> None:
    app = house.ask("POST", APPS, {"name": "an-app"}).json
    account = house.ask("POST", ACCOUNTS, {"name": "an-account"}).json
    assert [each["name"] for each in house.ask("GET", APPS).json] == ["Admin", "an-app"]
    assert [each["name"] for each in house.ask("GET", ACCOUNTS).json] == ["an-account"]
    assert house.ask("GET", f"{ACCOUNTS}/{app['id']}").status_code == 404
    assert house.ask("DELETE", f"{APPS}/{account['id']}").status_code == 404


@pytest.mark.parametrize(
    "name", ["a", "A-b", "1ab", "ab-", "ab_", "a b", "ab\n", "ä-b", "", None, 5, "a" * 65]
)
def test_a_name_that_breaks_the_rule_is_a_400(house: Any, name: Any) -> None:
    answer = house.ask("POST", APPS, {"name": name})
    assert (answer.status_code, list(answer.json["details"])) == (400, ["name"])


def test_a_name_is_given_once_for_both_kinds(house: Any) -> None:
    assert house.ask("POST", APPS, {"name": "twice"}).status_code == 201
    for address in (APPS, ACCOUNTS, "/v1/k8s/apps"):
        answer = house.ask("POST", address, {"name": "twice"})
        assert (answer.status_code, answer.json["type"]) == (409, "/problems/name-taken")


def test_a_disabled_application_gets_no_token_and_those_it_has_end(house: Any) -> None:
    made = house.make("doomed", roles=["Researcher"], permittedPartners=["ea"])
    token = house.token_of(made)
    assert house.verify(token) == 200
    address = f"{APPS}/{made['id']}"
    assert house.ask("PATCH", address, {"enabled": False}).status_code == 204
    assert house.log_in(made["clientId"], made["secret"]).json["error"] == "invalid_client"
    house.refresh()
    assert house.verify(token) == 401
    assert house.ask("PATCH", address, {"enabled": True}).status_code == 204
    house.refresh()
    assert house.verify(token) == 401
    assert house.verify(house.token_of(made)) == 200  # in the same second


def test_a_new_secret_ends_the_old_one_and_its_tokens(house: Any) -> None:
    made = house.make("rotated", roles=["Researcher"])
    token = house.token_of(made)
    answer = house.ask("POST", f"{APPS}/{made['id']}/secret")
    assert (answer.status_code, set(answer.json)) == (200, {"id", "name", "clientId", "secret"})
    assert answer.json["secret"] != made["secret"]
    house.refresh()
    assert house.log_in(made["clientId"], made["secret"]).status_code == 401
    assert house.verify(token) == 401
    assert house.verify(house.token_of(answer.json)) == 200


def test_a_deleted_application_is_gone_with_its_tokens_and_its_name_is_free(house: Any) -> None:
    made = house.make("passing", roles=["Researcher"], permittedPartners=["ea"])
    token = house.token_of(made)
    assert house.ask("DELETE", f"{APPS}/{made['id']}").status_code == 204
    house.refresh()
    assert house.verify(token) == 401
    assert house.log_in(made["clientId"], made["secret"]).status_code == 401
    assert house.ask("GET", f"{APPS}/{made['id']}").status_code == 404
    assert house.ask("GET", "/api/v1/authorization/access-rules").json["totalRecords"] == 1
    assert house.make("passing")["clientId"] != made["clientId"]


@pytest.mark.parametrize("body", [None, {}, {"enabled": "no"}, {"enabled": None}, []])
def test_enabling_needs_a_boolean(house: Any, body: Any) -> None:
    made = house.ask("POST", APPS, {"name": "steady"}).json
    assert house.ask("PATCH", f"{APPS}/{made['id']}", body).status_code == 400


@pytest.mark.parametrize("id", ["0", "999999999999999999", "9" * 30, "abc", "-1"])
@pytest.mark.parametrize(
    ("method", "more"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/secret")]
)
def test_an_unknown_application_is_a_404(house: Any, id: str, method: str, more: str) -> None:
    body = {"enabled": True} if method == "PATCH" else None
    answer = house.ask(method, f"{APPS}/{id}{more}", body)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/application-not-found")


def test_a_secret_is_not_shown_again_to_the_same_idempotency_key(house: Any) -> None:
    again = {"Idempotency-Key": "k-1"}
    made = house.ask("POST", APPS, {"name": "once"}, **again)
    repeated = house.ask("POST", APPS, {"name": "once"}, **again)
    assert (made.status_code, repeated.status_code) == (201, 409)
    assert repeated.json["type"] == "/problems/secret-shown-once"
    assert house.ask("POST", APPS, {"name": "other"}, **again).status_code == 422
    rotated = [house.ask("POST", f"{APPS}/{made.json['id']}/secret", **again) for _ in range(2)]
    assert [each.status_code for each in rotated] == [200, 409]
    assert house.log_in(made.json["clientId"], rotated[0].json["secret"]).status_code == 200


def test_a_refused_request_leaves_its_idempotency_key_free(house: Any) -> None:
    house.make("taken")
    assert house.ask("POST", APPS, {"name": "taken"}, **{"Idempotency-Key": "k"}).status_code == 409
    assert house.ask("POST", APPS, {"name": "free"}, **{"Idempotency-Key": "k"}).status_code == 201


EVERYTHING = [
    ("GET", APPS), ("POST", APPS), ("GET", f"{APPS}/1"), ("PATCH", f"{APPS}/1"), ("DELETE", f"{APPS}/1"),
    ("POST", f"{APPS}/1/secret"), ("GET", ACCOUNTS), ("POST", ACCOUNTS), ("GET", f"{ACCOUNTS}/1"),
    ("PATCH", f"{ACCOUNTS}/1"), ("DELETE", f"{ACCOUNTS}/1"), ("POST", f"{ACCOUNTS}/1/secret"),
    ("GET", "/api/v1/authorization/roles"), ("GET", "/api/v1/authorization/access-rules"),
    ("POST", "/api/v1/authorization/access-rules"), ("DELETE", "/api/v1/authorization/access-rules/1"),
    ("GET", "/v1/k8s/apps"), ("POST", "/v1/k8s/apps"), ("GET", "/v1/k8s/apps/a"), ("PUT", "/v1/k8s/apps/a"),
    ("DELETE", "/v1/k8s/apps/a"), ("POST", "/v1/k8s/apps/a/secret"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_management_needs_the_role_administrator(house: Any, method: str, path: str) -> None:
    roles = ["Researcher", "Editor", "Viewer"]
    token = house.token_of(house.make("no-admin", roles=roles))
    answer = house.ask(method, path, {} if method in ("POST", "PUT", "PATCH") else None, token=token)
    assert (answer.status_code, answer.json["type"]) == (403, "/problems/missing-role")


def test_every_act_is_in_the_audit_and_no_secret_is(
    house: Any, audited: Callable[[], list[tuple[str, str]]], gateway_engine: Engine
) -> None:
    made = house.ask("POST", APPS, {"name": "watched"}).json
    address, client_id = f"{APPS}/{made['id']}", made["clientId"]
    house.ask("PATCH", address, {"enabled": False})
    house.ask("PATCH", address, {"enabled": True})
    secret = house.ask("POST", f"{address}/secret").json["secret"]
    rule = {"subjectId": client_id, "roleId": 1, "scopeType": "partner", "scopeId": "ea"}
    rule_id = house.ask("POST", "/api/v1/authorization/access-rules", rule).json["id"]
    house.ask("DELETE", f"/api/v1/authorization/access-rules/{rule_id}")
    house.ask("DELETE", address)
    acts = ["created", "disabled", "enabled", "secret-rotated", "added", "removed", "deleted"]
    assert [act.partition(".")[2] for act, subject in audited() if subject == client_id] == acts
    with database.transaction(gateway_engine) as connection:
        rows = connection.execute(
            text("SELECT actor, data FROM gateway.audit WHERE subject = :s"), {"s": client_id}
        )
        noted = [(row.actor, row.data["from"], str(row.data)) for row in rows]
    assert {(actor, place) for actor, place, _ in noted} == {("client:admin", "127.0.0.1")}
    assert not any(made["secret"] in data or secret in data for _, _, data in noted)
