"""What clients read: a job, the list of jobs, bundles, partners."""

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from common.principal import Principal

Create = Callable[..., TestResponse]


def reader(*partners: str) -> Principal:
    return Principal(
        kind="client", subject="s", scopes=frozenset({"read:jobs"}), partners=frozenset(partners)
    )


def test_a_job_has_all_its_members(door: Any, create: Create) -> None:
    uid = create().get_json()["uid"]
    shown = door.get(f"/api/v1/jobs/{uid}/").get_json()
    assert shown.pop("createdAt").endswith("Z")
    assert shown == {
        "uid": uid,
        "partner": "ea",
        "tenant": "ea",
        "bundle": "assessments/SAT",
        "bundleVersion": 1,
        "schoolYear": "2026",
        "status": "created",
        "params": {"TEST_TYPE": "SAT", "API_YEAR": "2026"},
        "files": [{"key": "INPUT_FILE", "name": "results.csv", "uploaded": False, "sizeBytes": None}],
        "client": {"issuer": "https://issuer", "id": "district-sync", "name": "District sync"},
        "apiInitiated": True,
        "warnings": [],
        "runs": [],
    }


def test_a_job_that_has_not_changed_is_not_sent_again(door: Any, create: Create) -> None:
    target = f"/api/v1/jobs/{create().get_json()['uid']}"
    etag = door.get(target).headers["ETag"]
    assert door.get(target, headers={"If-None-Match": etag}).status_code == 304
    assert door.call(reader("ea"), "HEAD", target).headers["ETag"] == etag


def test_a_job_of_another_partner_is_not_found(door: Any, create: Create) -> None:
    uid = create().get_json()["uid"]
    assert door.get(f"/api/v1/jobs/{uid}", caller=reader("acme")).status_code == 404
    assert door.get(f"/api/v1/jobs/{uuid.uuid4()}").status_code == 404
    assert door.get("/api/v1/jobs/nonsense").status_code == 400


def test_a_finished_run_shows_what_it_made(door: Any, uploaded: Any, rows: Any) -> None:
    uid = uploaded()
    run = door.post(f"/api/v1/jobs/{uid}/start").get_json()["runUid"]
    result = '{"counts": {"studentAssessments": 5}, "unmatched": {"count": 2, "rate": 0.4}}'
    progress = '{"percent": 100, "step": "upload"}'
    done = "status = 'completed', finished_at = now(), holds_job = false, started_at = now()"
    change = f"{done}, result = CAST(:result AS jsonb), progress = CAST(:progress AS jsonb)"
    rows(f"UPDATE run SET {change} WHERE id = :run", run=run, result=result, progress=progress)
    assert door.get(f"/api/v1/jobs/{uid}").get_json()["status"] == "publishing"
    sets = '[{"uid": "set-1", "kind": "result"}, {"uid": "set-2", "kind": "report"}]'
    rows("UPDATE run SET output_sets = CAST(:sets AS jsonb) WHERE id = :run", run=run, sets=sets)
    shown = door.get(f"/api/v1/jobs/{uid}").get_json()
    assert shown["status"] == "completed"
    [one] = shown["runs"]
    assert one["counts"] == {"studentAssessments": 5}
    assert one["outputSets"] == ["set-1"]
    assert one["unmatched"] == {
        "count": 2,
        "rate": 0.4,
        "downloadUrl": "/api/v1/output-sets/set-2/download-links",
    }
    assert (one["step"], one["percent"], one["status"], one["error"]) == ("upload", 100, "completed", None)
    assert shown["files"][0]["uploaded"] is True


@pytest.mark.parametrize(("kind", "shows_report"), [("report", True), ("result", False)])
def test_a_failed_run_shows_where_the_report_it_published_is(
    door: Any, uploaded: Any, rows: Any, kind: str, shows_report: bool
) -> None:
    uid = uploaded()
    run = door.post(f"/api/v1/jobs/{uid}/start").get_json()["runUid"]
    failed = "status = 'failed', error = 'too few', error_code = 'insufficient_matches', holds_job = false"
    rows(f"UPDATE run SET {failed}, finished_at = now(), started_at = now() WHERE id = :run", run=run)
    [unpublished] = door.get(f"/api/v1/jobs/{uid}").get_json()["runs"]
    assert unpublished["unmatched"] is None
    sets = f'[{{"uid": "set-1", "kind": "{kind}"}}]'
    rows("UPDATE run SET output_sets = CAST(:sets AS jsonb) WHERE id = :run", run=run, sets=sets)
    [one] = door.get(f"/api/v1/jobs/{uid}").get_json()["runs"]
    assert one["error"] == {"code": "insufficient_matches", "message": "too few"}
    report = {"count": None, "rate": None, "downloadUrl": "/api/v1/output-sets/set-1/download-links"}
    assert one["unmatched"] == (report if shows_report else None)


def test_fresh_upload_urls_are_given_until_the_job_is_started(door: Any, uploaded: Any) -> None:
    uid = uploaded()
    answer = door.post(f"/api/v1/jobs/{uid}/upload-urls")
    assert (answer.status_code, list(answer.get_json()["uploadUrls"])) == (200, ["INPUT_FILE"])
    door.post(f"/api/v1/jobs/{uid}/start")
    assert door.post(f"/api/v1/jobs/{uid}/upload-urls").status_code == 409


def test_jobs_are_listed_newest_first_page_by_page(door: Any, create: Create) -> None:
    made = [create(tenant="north").get_json()["uid"] for _ in range(5)]
    listed: list[str] = []
    target = "/api/v1/jobs?partner=ea&tenant=north&limit=2"
    page = door.get(target).get_json()
    while True:
        listed += [item["uid"] for item in page["items"]]
        if page["next"] is None:
            break
        page = door.get(f"{target}&cursor={page['next']}").get_json()
    assert listed == made[::-1]


def test_filters_choose_jobs(door: Any, create: Create, uploaded: Any) -> None:
    started = uploaded(schoolYear="2027")
    door.post(f"/api/v1/jobs/{started}/start")
    created = create(schoolYear="2027").get_json()["uid"]

    def listed(query: str) -> set[str]:
        answer = door.get(f"/api/v1/jobs?partner=ea&schoolYear=2027&{query}")
        return {item["uid"] for item in answer.get_json()["items"]}

    assert listed("") == {started, created}
    assert listed("status=created") == {created}
    assert listed("status=queued") == {started}
    assert listed("status=completed") == listed("tenant=none") == listed("bundle=x") == set()
    at = door.get(f"/api/v1/jobs/{started}").get_json()["createdAt"]
    assert created in listed(f"createdAfter={quote(at)}")
    assert listed("createdAfter=2999") == set()
    assert listed("createdAfter=2020-01-01T00:00%2B0100") == {started, created}


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("partner=", 400, "partner query parameter is required"),
        ("partner=acme", 404, "Partner not found: acme"),
        ("partner=ea&partner=ea", 400, "partner must be given once"),
        ("partner=ea&status=odd", 400, "status must be one of"),
        ("partner=ea&createdAfter=", 400, "createdAfter must be a valid ISO 8601 timestamp"),
        ("partner=ea&createdAfter=yesterday", 400, "createdAfter must be a valid ISO 8601 timestamp"),
        ("partner=ea&createdAfter=2026-13-01", 400, "createdAfter must be a valid ISO 8601 timestamp"),
        ("partner=ea&createdAfter=0001-01-01T00:00%2B23:59", 400, "createdAfter must be a valid"),
        ("partner=ea&tenant=%00", 400, "tenant must not hold NUL"),
        ("partner=ea&limit=0", 400, "limit must be a whole number"),
        ("partner=ea&cursor=odd", 400, "cursor is not one of ours"),
        ("partner=ea&cursor=WyJ4IiwgInkiXQ", 400, "cursor is not one of ours"),
    ],
)
def test_a_faulty_query_is_told(door: Any, query: str, status: int, detail: str) -> None:
    answer = door.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == status, answer.text
    assert answer.get_json()["detail"].startswith(detail)


def test_enabled_bundles_say_what_they_ask_for(door: Any) -> None:
    listed = door.get("/api/v1/bundles?partner=ea").get_json()
    assert [each["bundle"] for each in listed] == ["assessments/Matched", "assessments/SAT", "tests/echo"]
    shown = door.get("/api/v1/bundles/assessments/SAT?partner=ea").get_json()
    assert shown == listed[1]
    assert shown["files"][0] == {
        "key": "INPUT_FILE",
        "displayName": "INPUT_FILE",
        "required": True,
        "fileTypes": ["csv"],
    }
    assert shown["params"][1]["allowedValues"] == ["PSAT", "SAT"]


@pytest.mark.parametrize("name", ["None", "%00", "..", "SAT%2F.."])
def test_a_bundle_that_is_not_enabled_is_not_found(door: Any, name: str) -> None:
    assert door.get(f"/api/v1/bundles/assessments/{name}?partner=ea").status_code == 404


def test_a_partner_shows_its_tenants_and_where_its_years_send(door: Any) -> None:
    shown = door.get("/api/v1/partners/ea").get_json()
    assert [tenant["code"] for tenant in shown["tenants"]] == ["ea", "north"]
    assert shown["schoolYears"][-1] == {
        "schoolYear": "2027",
        "enabled": True,
        "sendsToOds": True,
        "odsTenants": ["ea"],
    }
    assert "secret" not in str(shown)
    assert door.get("/api/v1/partners/acme").status_code == 404
