"""POST /jobs on real servers: every row of its table, what is kept, and what no body may do."""

import concurrent.futures
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from werkzeug.test import TestResponse

from common.principal import Principal

Create = Callable[..., TestResponse]
NOT_ENABLED = "Bundle not found or not enabled for partner"
BAD_NOTE = "Invalid param values: NOTE"
NO_ODS = "No ODS found for school year: 2027"
NO_ROSTER = "No roster file found and cross-year matching not enabled for school year: 2026"


def a_client(*partners: str, **more: Any) -> Principal:
    values = {"client_id": "c", "scopes": frozenset({"create:jobs"}), **more}
    return Principal(kind="client", subject="s", partners=frozenset(partners or ("ea",)), **values)


@pytest.mark.parametrize(
    ("changed", "status", "rule", "sentence"),
    [
        ({"partner": "acme"}, 403, "invalid-partner", "Invalid partner code: acme"),
        ({"tenant": "south"}, 400, "invalid-tenant", "Invalid tenant. ea/south does not exist"),
        ({"bundle": "assessments/No"}, 400, "bundle-not-found", f"{NOT_ENABLED}: assessments/No"),
        ({"bundle": "tests/NotEnabled"}, 400, "bundle-not-found", f"{NOT_ENABLED}: tests/NotEnabled"),
        ({"bundle": "SAT"}, 400, "bundle-not-found", f"{NOT_ENABLED}: SAT"),
        ({"schoolYear": "1999"}, 400, "invalid-school-year", "Invalid school year: 1999"),
        ({"schoolYear": "2023"}, 400, "school-year-not-enabled", "School year is not enabled: 2023"),
        ({"schoolYear": "2027", "tenant": "north"}, 400, "ods-not-found", NO_ODS),
        ({"bundle": "assessments/Matched"}, 400, "roster-not-found", NO_ROSTER),
        ({"params": None}, 400, "missing-required-params", "Missing required params: TEST_TYPE"),
        ({"params": {"TEST_TYPE": "ACT"}}, 400, "invalid-param-values", "Invalid param values: TEST_TYPE"),
        ({"params": {"TEST_TYPE": "SAT", "X": 1}}, 400, "unexpected-params", "Unexpected params: X"),
        ({"files": {"X": "a.csv"}}, 400, "unexpected-files", "Unexpected files: X"),
        ({"files": {}}, 400, "missing-required-files", "Missing required files: INPUT_FILE"),
        ({"files": {"INPUT_FILE": "a.pdf"}}, 400, "invalid-file-type", "Invalid file type: INPUT_FILE (csv)"),
        ({"params": {"TEST_TYPE": "SAT", "NOTE": "{"}}, 400, "invalid-param-values", BAD_NOTE),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_hold_is_told(
    create: Create, changed: Any, status: int, rule: str, sentence: str
) -> None:
    answer = create(**changed)
    body = answer.get_json()
    assert (answer.status_code, body["type"], body["detail"]) == (status, f"/problems/{rule}", sentence)
    assert body["message"] == sentence
    assert list(body["details"].values()) == [[sentence]]


def test_a_token_without_a_client_cannot_create(create: Create) -> None:
    answer = create(a_client(client_id=""), partner="acme")
    assert (answer.status_code, answer.get_json()["detail"]) == (
        403,
        "Token must include a client_id or azp claim",
    )


def test_an_api_key_is_its_own_client(create: Create) -> None:
    key = Principal(
        kind="api-key", subject="key-1", scopes=frozenset({"create:jobs"}), partners=frozenset({"ea"})
    )
    assert create(key).status_code == 201


def test_the_scope_is_needed_before_the_body_is_looked_at(door: Any) -> None:
    caller = a_client(scopes=frozenset({"read:jobs"}))
    answer = door.call(caller, "POST", "/api/v1/jobs", data=b"not json")
    assert (answer.status_code, answer.get_json()["detail"]) == (403, "Insufficient scopes")
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_shape_faults_are_told_together_and_before_the_rules(create: Create) -> None:
    answer = create(a_client(client_id=""), partner=5, tenant=None, schoolYear=2026, files=[])
    body = answer.get_json()
    assert answer.status_code == 400
    assert body["details"] == {
        "partner": ["partner must be a string"],
        "tenant": ["tenant should not be empty"],
        "schoolYear": ["schoolYear must be a string"],
        "files": ["files must be an object"],
    }
    assert body["detail"] == "; ".join(m for messages in body["details"].values() for m in messages)


GOOD = {
    "partner": "ea",
    "tenant": "ea",
    "bundle": "assessments/SAT",
    "schoolYear": "2026",
    "files": {"INPUT_FILE": "results.csv"},
    "params": {"TEST_TYPE": "SAT"},
}
DEEP = b'{"params":' * 3000 + b"1" + b"}" * 3000
NO_JSON = [b"{", b"\xff\xfe", b'{"a": NaN}', b'{"partner": Infinity}', b"[" * 100_000, b"1" * 5000, DEEP]


@pytest.mark.parametrize("raw", [*NO_JSON, b"", b"null", b"[]", b'"text"', b"5", b"{}"])
def test_a_body_that_is_no_job_is_a_400(door: Any, raw: bytes) -> None:
    answer = door.call(a_client(), "POST", "/api/v1/jobs", data=raw, content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("field", ["partner", "tenant", "bundle", "files", "params"])
@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800"])
def test_characters_that_cannot_be_kept_are_a_400(door: Any, field: str, bad: str) -> None:
    value = f'"x{bad}"' if field not in ("files", "params") else f'{{"x{bad}": "y{bad}"}}'
    raw = json.dumps({"partner": "ea", "tenant": "ea", "bundle": "assessments/SAT", "schoolYear": "2026"})
    raw = f'{raw[:-1]}, "files": {{"INPUT_FILE": "a.csv"}}, "{field}": {value}}}'
    answer = door.call(a_client(), "POST", "/api/v1/jobs", data=raw)
    assert answer.status_code == 400, answer.text
    assert list(answer.get_json()["details"]) == [field]


def test_a_body_of_more_than_a_mebibyte_is_a_413(door: Any) -> None:
    answer = door.call(a_client(), "POST", "/api/v1/jobs", data=b'"' + b"x" * 1024 * 1024 + b'"')
    assert answer.status_code == 413


def test_the_content_type_does_not_matter(door: Any) -> None:
    answer = door.call(a_client(), "POST", "/api/v1/jobs", data=json.dumps(GOOD), content_type="text/plain")
    assert answer.status_code == 201


def test_what_was_asked_for_is_kept_with_the_version_and_its_metadata(create: Create, rows: Any) -> None:
    uid = create(params={"TEST_TYPE": "SAT", "NOTE": 5}, files={"INPUT_FILE": " a b.csv "}).get_json()["uid"]
    [kept] = rows("SELECT * FROM job JOIN assessment ON job_uid = uid WHERE uid = :uid", uid=uid)
    assert kept["params"] == {"TEST_TYPE": "SAT", "NOTE": 5, "API_YEAR": "2026"}
    assert kept["files"] == {"INPUT_FILE": "a b.csv"}
    assert kept["spec"]["labels"] == {"tenant": "ea", "schoolYear": "2026", "bundle": "assessments/SAT"}
    assert kept["spec"]["bundle"]["metadata"]["display_name"] == "Test results"
    assert (kept["created_by_issuer"], kept["created_by_client_id"], kept["created_by_client_name"]) == (
        "https://issuer",
        "district-sync",
        "District sync",
    )
    assert (kept["ods_id"], kept["sends_to_ods"]) == (None, False)


def test_the_destination_is_resolved_when_the_job_is_created(create: Create, rows: Any) -> None:
    uid = create(schoolYear="2027").get_json()["uid"]
    statement = (
        "SELECT o.url, a.sends_to_ods FROM assessment a JOIN ods o ON o.id = a.ods_id WHERE job_uid = :uid"
    )
    assert rows(statement, uid=uid) == [{"url": "http://ods", "sends_to_ods": True}]


def test_there_is_one_url_a_file_and_any_content_type_uploads(create: Create, put: Any) -> None:
    files = {"INPUT_FILE": "Ergebnis ü?&#.csv", "EXTRA_FILE": ".."}
    urls = create(files=files).get_json()["uploadUrls"]
    assert list(urls) == list(files)
    for url in urls.values():
        assert "X-Amz-SignedHeaders=host&" in url
        assert put(url, b"id\n", **{"Content-Type": "application/x-strange"}) == 200
        assert put(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), b"id\n") == 403


def test_a_repeat_with_the_same_key_is_the_same_job_with_fresh_urls(create: Create, rows: Any) -> None:
    first = create(headers={"Idempotency-Key": "k-1"})
    again = create(headers={"Idempotency-Key": '"k-1"'})
    assert again.status_code == 201
    assert again.get_json() == {"uid": first.get_json()["uid"], "uploadUrls": {"INPUT_FILE": ANY}}
    assert create(headers={"Idempotency-Key": "k-2"}).get_json()["uid"] != first.get_json()["uid"]
    assert create(headers={"Idempotency-Key": "k-1"}, tenant="north").status_code == 422


def test_simultaneous_requests_with_one_key_make_one_job(create: Create) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(create, headers={"Idempotency-Key": "k-race"}) for _ in range(4)]
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.get_json()["uid"] for answer in answers if answer.status_code == 201}) == 1


def test_a_faulty_request_does_not_use_its_key_up(create: Create) -> None:
    headers = {"Idempotency-Key": "k-3"}
    assert create(headers=headers, tenant="south").status_code == 400
    assert create(headers=headers).status_code == 201


def test_a_dry_run_checks_everything_and_stores_nothing(create: Create, rows: Any) -> None:
    before = rows("SELECT count(*) AS n FROM job")
    answer = create(query="?dryRun=true")
    assert (answer.status_code, answer.get_json()) == (200, {"valid": True})
    assert create(query="?dryRun=true", files={}).status_code == 400
    assert create(query="?dryRun=yes").status_code == 400
    assert rows("SELECT count(*) AS n FROM job") == before


def test_an_echo_bundle_is_a_bundle_like_others(create: Create, rows: Any) -> None:
    uid = create(bundle="tests/echo").get_json()["uid"]
    assert rows("SELECT kind FROM job WHERE uid = :uid", uid=uid) == [{"kind": "echo"}]


def test_a_trailing_slash_does_not_matter_and_another_method_is_a_405(door: Any) -> None:
    assert door.post("/api/v1/jobs/", GOOD).status_code == 201
    answer = door.call(a_client(), "DELETE", "/api/v1/jobs")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["Allow"].split(",")}


def test_nobody_comes_in_without_the_gateways_signature(app: Any) -> None:
    answer = app.test_client().post("/api/v1/jobs", json=GOOD)
    assert answer.status_code == 401
