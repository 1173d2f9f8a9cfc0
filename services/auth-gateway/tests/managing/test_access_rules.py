"""Roles and access rules, and what they make of an application's tokens."""

import base64
import json
from typing import Any

import pytest

from gateway.access import Rule, mixed_partner

ROLES, RULES = "/api/v1/authorization/roles", "/api/v1/authorization/access-rules"
SCOPES = "create:jobs read:jobs read:jobs:output-files"


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def rule(subject: str, role: int, partner: str | None = None) -> dict[str, Any]:
    where = {"scopeType": "everything"} if partner is None else {"scopeType": "partner", "scopeId": partner}
    return {"subjectId": subject, "roleId": role, **where}


def test_there_are_four_roles(house: Any) -> None:
    answer = house.ask("GET", ROLES)
    assert [(each["id"], each["name"]) for each in answer.json] == [
        (1, "Researcher"), (2, "Editor"), (3, "Administrator"), (4, "Viewer"),
    ]  # fmt: skip
    assert all(set(each) == {"id", "name", "permissions"} for each in answer.json)


@pytest.mark.parametrize(
    ("rules", "scope", "roles"),
    [
        ([], "", []),
        ([(1, "ea")], f"{SCOPES} partner:ea", []),
        ([(1, "ea"), (1, "acme")], f"{SCOPES} partner:acme partner:ea", []),
        ([(1, None)], SCOPES, ["Researcher"]),
        ([(2, None)], "", ["Editor"]),
        ([(3, None)], "", ["Administrator"]),
        ([(4, None)], "read:jobs read:jobs:output-files", ["Viewer"]),
        ([(4, "ea")], "read:jobs read:jobs:output-files partner:ea", []),
        ([(1, "ea"), (4, "ea"), (2, None)], f"{SCOPES} partner:ea", ["Editor"]),
    ],
)
def test_tokens_carry_what_the_rules_give(
    house: Any, rules: list[tuple[int, str | None]], scope: str, roles: list[str]
) -> None:
    made = house.ask("POST", "/api/v1/apps", {"name": "ruled"}).json
    for role, partner in rules:
        assert house.ask("POST", RULES, rule(made["clientId"], role, partner)).status_code == 201
    found = claims(house.token_of(made))
    assert (found["scope"], found["roles"]) == (scope, roles)


def test_a_rule_is_answered_listed_and_counted(house: Any) -> None:
    made = house.ask("POST", "/api/v1/apps", {"name": "ruled"}).json
    answer = house.ask("POST", RULES, rule(made["id"], 1, "ea"))
    assert answer.status_code == 201
    expected = {"subjectId": made["clientId"], "subjectType": "app", "roleId": 1, "roleName": "Researcher"}
    expected |= {"scopeType": "partner", "scopeId": "ea", "createdBy": "client:admin"}
    assert expected.items() <= answer.json.items()
    house.ask("POST", RULES, {**rule(made["id"], 1, "acme"), "scopeType": "project"})
    listed = house.ask("GET", f"{RULES}?subjectId={made['clientId']}").json
    assert set(listed) == {"totalRecords", "displayRecords", "accessRules"}
    assert (listed["totalRecords"], listed["displayRecords"]) == (2, 2)
    assert listed["accessRules"][0] == answer.json
    page = house.ask("GET", f"{RULES}?limit=1&offset=1").json
    assert (page["totalRecords"], page["displayRecords"], page["accessRules"][0]["scopeId"]) == (3, 1, "ea")


def test_a_role_that_is_taken_away_leaves_the_tokens_within_a_second(house: Any) -> None:
    made = house.make("losing", roles=["Researcher"], permittedPartners=["ea", "acme"])
    token = house.token_of(made)
    [_, second] = house.ask("GET", f"{RULES}?subjectId={made['id']}").json["accessRules"]
    assert house.ask("DELETE", f"{RULES}/{second['id']}").status_code == 204
    house.refresh()
    assert house.verify(token) == 401
    assert claims(house.token_of(made))["scope"] == f"{SCOPES} partner:ea"
    assert house.ask("DELETE", f"{RULES}/{second['id']}").json["type"] == "/problems/access-rule-not-found"


def test_giving_more_leaves_tokens_alone(house: Any) -> None:
    made = house.make("growing", roles=["Researcher"], permittedPartners=["ea"])
    token = house.token_of(made)
    house.ask("POST", RULES, rule(made["id"], 1, "acme"))
    house.refresh()
    assert house.verify(token) == 200


def test_the_same_rule_twice_is_a_409(house: Any) -> None:
    made = house.make("twice", roles=["Researcher", "Editor"], permittedPartners=["ea"])
    for role, partner in ((1, "ea"), (2, None)):
        answer = house.ask("POST", RULES, rule(made["id"], role, partner))
        assert (answer.status_code, answer.json["type"]) == (409, "/problems/access-rule-exists")


def test_an_idempotency_key_finds_the_rule_it_made(house: Any) -> None:
    made = house.make("again")
    answers = [house.ask("POST", RULES, rule(made["id"], 2), **{"Idempotency-Key": "r"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json == answers[1].json


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"roleId": 9}, "roleId"),
        ({"roleId": "1"}, "roleId"),
        ({"roleId": None}, "roleId"),
        ({"scopeType": "tenant"}, "scopeType"),
        ({"scopeType": None}, "scopeType"),
        ({"scopeId": ""}, "scopeId"),
        ({"scopeId": "a b"}, "scopeId"),
        ({"scopeId": "ea\n"}, "scopeId"),
        ({"scopeId": "*"}, "scopeId"),
        ({"scopeId": 5}, "scopeId"),
        ({"roleId": 2}, "scopeType"),
        ({"roleId": 3}, "scopeType"),
        ({"subjectId": None}, "subjectId"),
    ],
)
def test_a_faulty_rule_names_its_field(house: Any, changes: dict[str, Any], field: str) -> None:
    answer = house.ask("POST", RULES, {**rule(house.make("faulty")["id"], 1, "ea"), **changes})
    assert (answer.status_code, list(answer.json["details"])) == (400, [field])


def test_a_rule_for_nobody_is_a_404(house: Any) -> None:
    assert house.ask("POST", RULES, rule("nobody", 1, "ea")).json["type"] == "/problems/application-not-found"
    assert house.ask("POST", RULES, rule("a'b\0", 1, "ea")).status_code == 404
    for id in ("0", "abc", "9" * 25):
        assert house.ask("DELETE", f"{RULES}/{id}").status_code == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "offset=-1", "offset=x", "subjectId=a%00b", "subjectId=%FF"]
)
def test_a_faulty_page_is_a_400(house: Any, query: str) -> None:
    assert house.ask("GET", f"{RULES}?{query}").status_code == 400


def test_who_creates_jobs_here_cannot_be_a_mere_viewer_there(house: Any) -> None:
    made = house.make("mixed", roles=["Researcher"], permittedPartners=["ea"])
    answer = house.ask("POST", RULES, rule(made["id"], 4, "acme"))
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/rights-mix")
    assert claims(house.token_of(made))["scope"] == f"{SCOPES} partner:ea"


def test_taking_a_role_must_not_mix_rights_either(house: Any) -> None:
    made = house.make("mixed", roles=["Researcher", "Viewer"], permittedPartners=["ea"])
    house.ask("POST", RULES, rule(made["id"], 1, "acme"))
    rules = house.ask("GET", f"{RULES}?subjectId={made['id']}").json["accessRules"]
    [first] = [each for each in rules if (each["roleName"], each["scopeId"]) == ("Researcher", "ea")]
    assert house.ask("DELETE", f"{RULES}/{first['id']}").json["type"] == "/problems/rights-mix"


READ, CREATE = ("read:jobs",), ("create:jobs",)


@pytest.mark.parametrize(
    ("declared", "rules", "mixed"),
    [
        ((), [(READ, "a"), (READ, "b")], None),
        ((), [(READ, "a"), (READ, None)], None),
        ((), [(CREATE, "a"), (READ, "a")], None),
        ((), [(CREATE, "a"), (READ, None)], None),
        ((), [(CREATE, None), (READ, "a")], "a"),
        ((), [(CREATE, "a"), (READ, "b")], "b"),
        (("create:jobs", "partner:a"), [(READ, "a")], None),
        (("create:jobs", "partner:a"), [(READ, "b")], "b"),
        (("read:jobs", "partner:a"), [(READ, "b")], None),
    ],
)
def test_rights_mix_where_reading_only_meets_creating_elsewhere(
    declared: tuple[str, ...], rules: list[tuple[tuple[str, ...], str | None]], mixed: str | None
) -> None:
    made: Any = [Given(scopes, partner) for scopes, partner in rules]
    assert mixed_partner(declared, made) == mixed


class Given(Rule):
    """An access rule of which only scopes and partner matter."""

    def __init__(self, scopes: tuple[str, ...], partner: str | None) -> None:
        object.__setattr__(self, "scopes", scopes)
        object.__setattr__(self, "partner", partner)
