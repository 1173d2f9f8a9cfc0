"""The older form: an application and its rights in one call."""

from typing import Any

import pytest

APPS = "/v1/k8s/apps"
SHOWN = {
    "id", "name", "clientId", "enabled", "createdBy", "createdAt", "updatedAt", "roles", "permittedPartners",
}  # fmt: skip


def test_an_application_is_made_with_its_rights_in_one_call(house: Any) -> None:
    made = house.ask(
        "POST", APPS, {"name": "older", "roles": ["researcher"], "permittedProjects": ["ea", "acme"]}
    )
    assert (made.status_code, set(made.json)) == (201, SHOWN | {"secret"})
    assert (made.json["roles"], made.json["permittedPartners"]) == (["Researcher"], ["ea", "acme"])
    scope = house.log_in(made.json["clientId"], made.json["secret"]).json["scope"]
    assert scope.split()[-2:] == ["partner:acme", "partner:ea"]
    [_, listed] = house.ask("GET", APPS).json
    assert listed == {name: made.json[name] for name in SHOWN}
    assert house.ask("GET", f"{APPS}/{made.json['clientId']}").json == listed


def test_putting_rights_replaces_them_and_ends_tokens(house: Any) -> None:
    made = house.make("older", roles=["Researcher", "Editor"], permittedPartners=["ea"])
    token, address = house.token_of(made), f"{APPS}/{made['clientId']}"
    rights = {"roles": ["Researcher"], "permittedPartners": ["ea", "b"]}
    changed = house.ask("PUT", address, {**made, **rights})
    assert (changed.status_code, changed.json["roles"]) == (200, ["Researcher"])
    assert changed.json["permittedPartners"] == ["ea", "b"]
    house.refresh()
    assert house.verify(token) == 401
    token = house.token_of(made)
    assert (
        house.ask("PUT", address, {"roles": ["Researcher"], "permittedPartners": ["ea", "b"]}).json
        == changed.json
    )
    house.refresh()
    assert house.verify(token) == 200


def test_putting_can_disable_and_says_so(house: Any) -> None:
    made = house.make("older")
    answer = house.ask("PUT", f"{APPS}/{made['clientId']}", {"enabled": False})
    assert (answer.status_code, answer.json["enabled"]) == (200, False)
    assert house.log_in(made["clientId"], made["secret"]).status_code == 401


def test_rights_may_change_places_in_one_call(house: Any) -> None:
    made = house.make("older", roles=["Researcher"], permittedPartners=["ea"])
    answer = house.ask("PUT", f"{APPS}/{made['clientId']}", {"roles": ["Viewer"], "permittedPartners": ["b"]})
    assert (answer.status_code, answer.json["roles"]) == (200, ["Viewer"])


def test_secret_and_deletion_go_by_client_id(house: Any) -> None:
    made = house.make("older")
    rotated = house.ask("POST", f"{APPS}/{made['clientId']}/secret")
    assert (rotated.status_code, set(rotated.json)) == (200, SHOWN | {"secret"})
    assert house.log_in(made["clientId"], rotated.json["secret"]).status_code == 200
    assert house.ask("DELETE", f"{APPS}/{made['clientId']}").status_code == 204
    assert house.ask("GET", f"{APPS}/{made['clientId']}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("client_id", ["nobody", "1", "a%27b"])
def test_an_unknown_client_is_a_404(house: Any, method: str, client_id: str) -> None:
    answer = house.ask(method, f"{APPS}/{client_id}", {} if method == "PUT" else None)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/application-not-found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"roles": ["Boss"]}, "roles"),
        ({"roles": "Viewer"}, "roles"),
        ({"permittedPartners": ["a b"]}, "permittedPartners.0"),
        ({"permittedProjects": ["*"]}, "permittedPartners.0"),
        ({"permittedPartners": [None]}, "permittedPartners.0"),
        ({"name": "No"}, "name"),
    ],
)
def test_faulty_rights_make_nothing(house: Any, body: dict[str, Any], field: str) -> None:
    answer = house.ask("POST", APPS, {"name": "older", **body})
    assert (answer.status_code, list(answer.json["details"])) == (400, [field])
    assert len(house.ask("GET", APPS).json) == 1
