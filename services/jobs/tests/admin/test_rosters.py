"""Rosters: put whole or uploaded, checked without a word of what they hold, handed to executors alone."""

import hashlib
import json
from typing import Any

import pytest
import urllib3

ROSTER_LINE = {
    "educationOrganizationReference": {"educationOrganizationId": 255901},
    "studentReference": {"studentUniqueId": "604822"},
    "studentIdentificationCodes": [],
}
ROSTER = (json.dumps(ROSTER_LINE) + "\n").encode()
MATCHED = "assessments/Matched"


@pytest.fixture
def address(partner: str) -> str:
    return f"/partners/{partner}/tenants/t/rosters/2026"


def put_whole(ask: Any, address: str, content: bytes = ROSTER) -> Any:
    return ask("PUT", address, data=content, content_type="application/x-ndjson")


def test_a_matched_bundle_is_refused_until_there_is_a_roster(
    ask: Any, partner: str, address: str, create: Any
) -> None:
    refused = create(partner, MATCHED)
    assert (refused.status_code, refused.get_json()["type"]) == (400, "/problems/roster-not-found")
    assert refused.get_json()["detail"] == (
        "No roster file found and cross-year matching not enabled for school year: 2026"
    )
    assert put_whole(ask, address).status_code == 200
    assert create(partner, MATCHED).status_code == 201
    assert ask("DELETE", address).status_code == 204
    assert create(partner, MATCHED).status_code == 400


def test_a_year_may_do_without_a_roster(ask: Any, partner: str, create: Any) -> None:
    ask("PUT", f"/partners/{partner}/school-years/2026", {"needsRoster": False})
    assert create(partner, MATCHED).status_code == 201


def test_an_enablement_may_take_the_need_away(ask: Any, partner: str, create: Any) -> None:
    ask("PUT", f"/partners/{partner}/bundles/assessments/Matched", {"studentIdName": "LocalID"})
    assert create(partner, MATCHED).status_code == 201


def test_a_roster_is_shown_by_its_digest_and_size(ask: Any, partner: str, address: str) -> None:
    made = put_whole(ask, address).get_json()
    assert (made["sha256"], made["sizeBytes"]) == (hashlib.sha256(ROSTER).hexdigest(), len(ROSTER))
    assert made.pop("students") == 1
    assert ask("GET", f"/partners/{partner}/rosters", role="Viewer").get_json() == [made]


def test_the_executor_gets_the_roster_and_the_rate(
    ask: Any, partner: str, address: str, create: Any, started: Any, payload_of: Any
) -> None:
    put_whole(ask, address)
    ask("PUT", f"/partners/{partner}/school-years/2026", {"requiredIdMatchRate": 0.8})
    payload = payload_of(started(partner, create(partner, MATCHED)))
    assert (payload["bundle"]["mode"], payload["required_id_match_rate"]) == ("matched", 0.8)
    with urllib3.PoolManager() as pool:
        content = pool.request("GET", payload["roster"]["url"], timeout=10).data
    assert hashlib.sha256(content).hexdigest() == payload["roster"]["sha256"]


def test_a_caller_who_does_the_work_gets_no_roster(
    ask: Any, partner: str, address: str, create: Any, started: Any, payload_of: Any
) -> None:
    put_whole(ask, address)
    run = started(partner, create(partner, MATCHED), {"executor": "caller"})
    assert payload_of(run)["roster"] is None


def test_a_large_roster_is_uploaded_and_then_registered(
    ask: Any, address: str, put: Any, services: Any, partner: str
) -> None:
    upload = ask("POST", f"{address}/uploads")
    assert upload.status_code == 201
    uid = upload.get_json()["uploadUid"]
    assert ask("PUT", address, {"uploadUid": uid}).get_json()["type"] == "/problems/roster-not-uploaded"
    large = ROSTER * 20_000
    assert put(upload.get_json()["uploadUrl"], large) == 200
    made = ask("PUT", address, {"uploadUid": uid})
    assert (made.status_code, made.get_json()["students"]) == (200, 20_000)
    assert services.store.look_up(f"roster-uploads/{partner}/t/2026/{uid}.jsonl") is None
    assert ask("PUT", address, {"uploadUid": "x"}).status_code == 400


def test_a_new_roster_takes_the_place_of_the_old_one_which_is_deleted(
    ask: Any, partner: str, address: str, rows: Any, services: Any
) -> None:
    def key() -> str:
        [row] = rows("SELECT object_key FROM roster WHERE partner = :p", p=partner)
        return str(row["object_key"])

    put_whole(ask, address)
    before = key()
    put_whole(ask, address, ROSTER * 2)
    assert services.store.look_up(before) is None
    after = key()
    assert services.store.look_up(after) is not None
    ask("DELETE", address)
    assert services.store.look_up(after) is None
    assert ask("DELETE", address).status_code == 404


def test_faults_name_lines_and_members_and_nothing_of_a_student(ask: Any, address: str, rows: Any) -> None:
    wrong = {**ROSTER_LINE, "studentReference": {"studentUniqueId": ["Kowalski"]}}
    answer = put_whole(ask, address, ROSTER + json.dumps(wrong).encode() + b"\nKowalski\n")
    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (400, "/problems/roster-faulty")
    assert problem["details"]["roster"] == [
        "line 2: studentReference.studentUniqueId must be a text or a number",
        "line 3: must be a JSON object",
    ]
    assert "Kowalski" not in answer.text + str(rows("SELECT * FROM audit"))


@pytest.mark.parametrize(("tenant", "year"), [("nobody", "2026"), ("t", "1999"), ("%00", "2026"), ("t", "x")])
def test_a_roster_belongs_to_a_tenant_and_a_known_year(
    ask: Any, partner: str, tenant: str, year: str
) -> None:
    address = f"/partners/{partner}/tenants/{tenant}/rosters/{year}"
    assert put_whole(ask, address).status_code == 404
    assert ask("POST", f"{address}/uploads").status_code == 404
