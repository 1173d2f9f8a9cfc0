"""Partners and their parts over HTTP: put, shown, ended; who may; what is noted."""

from typing import Any

import pytest

from common.principal import Principal


def test_a_partner_is_made_once_and_then_changed(ask: Any) -> None:
    assert ask("PUT", "/partners/one", {"name": "One"}).status_code == 201
    again = ask("PUT", "/partners/one", {"name": "First"})
    assert (again.status_code, again.get_json()["name"]) == (200, "First")
    assert ask("PUT", "/partners/one").get_json()["name"] == "First"
    assert {"code": "one", "name": "First"} in ask("GET", "/partners").get_json()


def test_a_partner_is_shown_with_all_its_parts(ask: Any, partner: str) -> None:
    assert ask("GET", f"/partners/{partner}", role="Viewer").get_json() == {
        "code": partner,
        "name": "Managed Agency",
        "tenants": [{"code": "north", "name": "North"}, {"code": "t", "name": "t"}],
        "schoolYears": [
            {
                "schoolYear": "2026",
                "enabled": True,
                "sendsToOds": False,
                "needsRoster": True,
                "requiredIdMatchRate": 0.5,
            },
            {
                "schoolYear": "2027",
                "enabled": True,
                "sendsToOds": True,
                "needsRoster": True,
                "requiredIdMatchRate": 0.5,
            },
        ],
        "bundles": [
            {"bundle": "assessments/Direct", "mode": None, "studentIdName": None},
            {"bundle": "assessments/Matched", "mode": None, "studentIdName": None},
        ],
        "ods": [],
    }


def test_what_is_shown_may_be_sent_back_and_changes_nothing(ask: Any, partner: str) -> None:
    shown = ask("GET", f"/partners/{partner}").get_json()
    answer = ask("POST", "/provision?prune=true", {"partners": [shown]})
    assert answer.get_json() == {"applied": True, "changes": []}


@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        ("tenants/south", {"name": "South"}, "name"),
        (
            "school-years/2030",
            {"enabled": False, "needsRoster": False, "requiredIdMatchRate": 0.75},
            "enabled",
        ),
        ("bundles/assessments/Later", {"mode": "direct", "studentIdName": "Local ID"}, "studentIdName"),
    ],
)
def test_a_part_is_put_shown_listed_and_ended(
    ask: Any, partner: str, path: str, body: dict[str, Any], member: str
) -> None:
    address, listed = f"/partners/{partner}/{path}", f"/partners/{partner}/{path.partition('/')[0]}"
    assert ask("GET", address).status_code == 404
    made = ask("PUT", address, body)
    assert (made.status_code, ask("PUT", address, body).status_code) == (201, 200)
    assert body.items() <= made.get_json().items()
    assert ask("GET", address).get_json() == made.get_json()
    assert body[member] in [each[member] for each in ask("GET", listed).get_json()]
    assert ask("DELETE", address).status_code == 204
    assert (ask("DELETE", address).status_code, ask("GET", address).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("path", "body", "field", "sentence"),
    [
        (
            "school-years/2030",
            {"requiredIdMatchRate": 2},
            "match_rate",
            "requiredIdMatchRate must be a number",
        ),
        ("school-years/30", {}, "year", "year must be the 4-digit year"),
        ("school-years/2030", {"sendsToOds": "yes"}, "sends_to_ods", "sendsToOds must be true or false"),
        ("tenants/-1", {}, "code", "code must be 1 to 64 of"),
        ("tenants/x", {"name": 5}, "name", "name must be a text"),
        ("tenants/x", {"nam": "x"}, "nam", "nam is not a key we know"),
        ("bundles/a/b", {"mode": "odd"}, "mode", "mode must be direct or matched"),
    ],
)
def test_a_fault_is_told_by_the_member_it_is_in(
    ask: Any, partner: str, path: str, body: Any, field: str, sentence: str
) -> None:
    answer = ask("PUT", f"/partners/{partner}/{path}", body)
    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (400, "/problems/invalid-declaration")
    assert list(problem["details"]) == [field]
    assert problem["details"][field][0].startswith(sentence)


def test_a_body_that_is_no_object_is_a_400(ask: Any, partner: str) -> None:
    assert ask("PUT", f"/partners/{partner}", [1]).status_code == 400
    assert ask("PUT", f"/partners/{partner}", data=b"{").status_code == 400


@pytest.mark.parametrize("code", ["nobody", "%00", "-1", "x" * 99])
def test_an_unknown_partner_is_a_404(ask: Any, code: str) -> None:
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("GET", "/ods"), ("GET", "/rosters"), ("DELETE", "/tenants/t"),
        ("DELETE", "/school-years/2026"), ("GET", "/tenants/t/ods/2026"), ("DELETE", "/tenants/t/ods/2026"),
    ):  # fmt: skip
        assert ask(method, f"/partners/{code}{path}").status_code == 404, (method, path)


def test_a_viewer_may_only_read(ask: Any, partner: str) -> None:
    assert ask("GET", f"/partners/{partner}", role="Viewer").status_code == 200
    for method, path in (
        ("PUT", ""), ("DELETE", ""), ("PUT", "/tenants/x"), ("PUT", "/tenants/t/rosters/2026"),
        ("PUT", "/tenants/t/ods/2027"), ("POST", "/tenants/t/ods/2027/check"),
    ):  # fmt: skip
        answer = ask(method, f"/partners/{partner}{path}", role="Viewer")
        assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/missing-role")
    assert ask("POST", "/provision", {"partners": []}, role="Viewer").status_code == 403


def test_a_role_is_needed_whatever_the_scopes(door: Any, partner: str) -> None:
    scopes = frozenset({"create:jobs", "read:jobs", "admin"})
    caller = Principal(kind="client", subject="s", scopes=scopes, partners=frozenset({partner}))
    for path in ("/partners", f"/partners/{partner}", "/audit"):
        assert door.call(caller, "GET", f"/api/v1/admin{path}").status_code == 403


def test_a_retired_partner_takes_no_jobs_and_its_jobs_run_on(
    ask: Any, partner: str, create: Any, started: Any, payload_of: Any
) -> None:
    ods = {"url": "http://127.0.0.1:9", "clientId": "c", "clientSecret": "kept-secret"}
    assert ask("PUT", f"/partners/{partner}/tenants/t/ods/2027", ods).status_code == 201
    made = create(partner, year="2027")
    assert made.status_code == 201
    assert ask("DELETE", f"/partners/{partner}").status_code == 204
    assert ask("GET", f"/partners/{partner}").status_code == 404
    assert create(partner).get_json()["type"] == "/problems/invalid-tenant"
    payload = payload_of(started(partner, made, year="2027"))
    assert payload["ods"]["client_secret"] == "kept-secret"


def test_what_was_retired_may_be_declared_again(ask: Any, partner: str) -> None:
    assert ask("DELETE", f"/partners/{partner}").status_code == 204
    assert ask("PUT", f"/partners/{partner}", {}).status_code == 201
    assert ask("GET", f"/partners/{partner}/tenants").get_json() == []
    assert ask("PUT", f"/partners/{partner}/tenants/t", {}).status_code == 201


def test_every_act_is_noted_with_who_and_from_where(ask: Any, partner: str, rows: Any) -> None:
    ask("PUT", f"/partners/{partner}/tenants/t", {"name": "Renamed"})
    ask("DELETE", f"/partners/{partner}/bundles/assessments/Direct")
    noted = rows("SELECT actor, action, subject, data FROM audit ORDER BY id DESC LIMIT 2")
    assert [(each["actor"], each["action"], each["subject"]) for each in noted] == [
        ("client:the-Editor", "bundle.removed", f"{partner} assessments/Direct"),
        ("client:the-Editor", "tenant.changed", f"{partner}/t"),
    ]
    assert noted[1]["data"] == {"from": "https://ours", "change": "name: t -> Renamed"}


def test_the_audit_is_read_page_by_page_by_administrators_only(ask: Any, partner: str) -> None:
    assert ask("GET", "/audit").status_code == 403
    first = ask("GET", "/audit?limit=2", role="Administrator").get_json()
    second = ask("GET", f"/audit?limit=2&cursor={first['next']}", role="Administrator").get_json()
    ids = [each["id"] for each in first["items"] + second["items"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
    assert ask("GET", "/audit?cursor=x", role="Administrator").status_code == 400


def test_nobody_changes_the_audit(ask: Any, partner: str, rows: Any) -> None:
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="immutable"):
            rows(statement)
