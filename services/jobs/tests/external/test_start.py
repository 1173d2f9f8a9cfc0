"""POST /jobs/{uid}/start: its table, one run however many ask, and what a run remembers."""

import concurrent.futures
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from common.principal import Principal
from jobs.services import Services

Create = Callable[..., TestResponse]
Uploaded = Callable[..., str]


def start(door: Any, uid: str, body: Any = None, **options: Any) -> TestResponse:
    answer: TestResponse = door.post(f"/api/v1/jobs/{uid}/start", body, **options)
    return answer


@pytest.fixture
def finish(rows: Any) -> Callable[[str], None]:
    """End a run as the engine would, as far as starting again looks at it."""

    def end(run: str) -> None:
        change = "status = 'failed', finished_at = now(), holds_job = false, error = 'no', error_code = 'x'"
        rows(f"UPDATE run SET {change} WHERE id = :run", run=run)

    return end


@pytest.mark.parametrize("uid", ["5", "x" * 36, "{00000000-0000-4000-8000-000000000000}", "a" * 32])
def test_a_job_is_named_by_a_uuid(door: Any, uid: str) -> None:
    answer = start(door, uid)
    assert answer.status_code == 400
    assert answer.get_json()["detail"] == "Validation failed (uuid is expected)"


def test_an_unknown_job_and_one_of_another_partner_are_not_found(door: Any, uploaded: Uploaded) -> None:
    unknown, job = str(uuid.uuid4()), uploaded()
    other = Principal(
        kind="client", subject="s", scopes=frozenset({"create:jobs"}), partners=frozenset({"acme"})
    )
    for answer, uid in ((start(door, unknown), unknown), (start(door, job, caller=other), job)):
        assert (answer.status_code, answer.get_json()["detail"]) == (404, f"Job not found: {uid}")
        assert answer.get_json()["type"] == "/problems/job-not-found"


def test_every_declared_file_is_there_and_not_empty(door: Any, create: Create, services: Services) -> None:
    job = create(files={"INPUT_FILE": "a.csv", "EXTRA_FILE": "b.csv"}).get_json()["uid"]
    services.store.write(f"inputs/ea/ea/2026/{job}/INPUT_FILE/a.csv", b"")
    answer = start(door, job)
    body = answer.get_json()
    assert (answer.status_code, body["type"]) == (400, "/problems/files-not-found")
    assert body["detail"] == "Some expected files were not found. Expected files: a.csv, b.csv"
    assert body["details"] == {"INPUT_FILE": ["a.csv is empty"], "EXTRA_FILE": ["b.csv was not found"]}


def test_files_are_looked_up_before_the_running_job_is(
    door: Any, uploaded: Uploaded, services: Services
) -> None:
    job = uploaded()
    assert start(door, job).status_code == 202
    services.store.remove_under(f"inputs/ea/ea/2026/{job}/")
    assert start(door, job).get_json()["type"] == "/problems/files-not-found"


def test_a_job_in_progress_is_not_started_again(door: Any, uploaded: Uploaded) -> None:
    job = uploaded()
    assert start(door, job).status_code == 202
    answer = start(door, job)
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/job-in-progress")
    assert answer.get_json()["detail"] == f"Job already in progress: {job}"


def test_simultaneous_starts_make_one_run(door: Any, uploaded: Uploaded, rows: Any) -> None:
    job = uploaded()
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        answers = [each.result() for each in [threads.submit(start, door, job) for _ in range(6)]]
    assert sorted(answer.status_code for answer in answers) == [202, 400, 400, 400, 400, 400]
    assert rows("SELECT count(*) AS n FROM run WHERE job_id = :job", job=job) == [{"n": 1}]


def test_a_job_whose_run_ended_is_started_again(door: Any, uploaded: Uploaded, finish: Any) -> None:
    job = uploaded()
    first = start(door, job).get_json()["runUid"]
    finish(first)
    assert door.get(f"/api/v1/jobs/{job}").get_json()["status"] == "failed"
    second = start(door, job)
    assert second.status_code == 202
    shown = door.get(f"/api/v1/jobs/{job}").get_json()
    assert [run["uid"] for run in shown["runs"]] == [first, second.get_json()["runUid"]]
    assert shown["runs"][0]["error"] == {"code": "x", "message": "no"}
    assert shown["status"] == "queued"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": b"", "content_type": "application/json"},
        {"data": b"{}", "content_type": "text/plain"},
        {"data": b"null", "content_type": "application/json"},
        {"data": b"a=b", "content_type": "application/x-www-form-urlencoded"},
        {"json": {"other": 1}},
    ],
)
def test_hardly_any_body_stops_a_start(door: Any, uploaded: Uploaded, options: Any) -> None:
    assert start(door, uploaded(), **options).status_code == 202


@pytest.mark.parametrize(
    "options", [{"json": {"executor": "robot"}}, {"data": b"{", "content_type": "application/json"}]
)
def test_a_faulty_body_is_a_400(door: Any, uploaded: Uploaded, options: Any) -> None:
    assert start(door, uploaded(), **options).status_code == 400


def test_a_run_remembers_its_inputs_by_etag(door: Any, uploaded: Uploaded, rows: Any) -> None:
    job = uploaded()
    run = start(door, job).get_json()["runUid"]
    [kept] = rows("SELECT inputs, payload, created_by, timeout_seconds FROM run WHERE id = :run", run=run)
    remembered = kept["inputs"]["INPUT_FILE"]
    assert (remembered["file_name"], remembered["size_bytes"]) == ("results.csv", 13)
    assert len(remembered["etag"]) == 32
    assert "http" not in str(kept)
    assert (kept["created_by"], kept["timeout_seconds"]) == ("district-sync", 600)


def test_the_same_key_answers_with_the_same_run(door: Any, uploaded: Uploaded) -> None:
    job, headers = uploaded(), {"Idempotency-Key": "start-1"}
    first = start(door, job, headers=headers)
    again = start(door, job, headers=headers)
    assert (again.status_code, again.get_json()) == (202, first.get_json())


def test_a_start_nudges_the_line(door: Any, uploaded: Uploaded, services: Any) -> None:
    services.nudge.told.clear()
    start(door, uploaded())
    assert services.nudge.told == ["line"]


def test_a_caller_gets_a_token_and_works_itself(door: Any, uploaded: Uploaded, rows: Any) -> None:
    job = uploaded()
    answer = start(door, job, {"executor": "caller"}, headers={"Idempotency-Key": "caller-1"})
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (202, "executing")
    assert body["runToken"].count(".") == 2
    assert body["expiresAt"].endswith("Z")
    again = start(door, job, {"executor": "caller"}, headers={"Idempotency-Key": "caller-1"}).get_json()
    assert again["runUid"] == body["runUid"]
    assert again["runToken"]
    assert door.get(f"/api/v1/jobs/{job}").get_json()["status"] == "running"
    assert rows("SELECT lease, caller FROM run WHERE id = :run", run=body["runUid"]) == [
        {"lease": 1, "caller": True}
    ]


def test_a_caller_cannot_run_a_job_that_sends(door: Any, uploaded: Uploaded, rows: Any) -> None:
    job = uploaded(schoolYear="2027")
    answer = start(door, job, {"executor": "caller"})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/caller-cannot-send")
    assert rows("SELECT 1 FROM run WHERE job_id = :job", job=job) == []
    assert start(door, job).status_code == 202


def test_cancelling_stops_a_waiting_run_and_a_job_at_rest_answers_409(door: Any, uploaded: Uploaded) -> None:
    job = uploaded()
    assert door.post(f"/api/v1/jobs/{job}/cancel").status_code == 409
    run = start(door, job).get_json()["runUid"]
    answer = door.post(f"/api/v1/jobs/{job}/cancel")
    assert (answer.status_code, answer.get_json()) == (
        202,
        {"jobUid": job, "runUid": run, "status": "canceled"},
    )
    assert door.get(f"/api/v1/jobs/{job}").get_json()["status"] == "canceled"
    assert door.post(f"/api/v1/jobs/{job}/cancel").status_code == 409
    assert start(door, job).status_code == 202


def test_cancelling_an_executing_run_asks_its_executor(door: Any, uploaded: Uploaded, rows: Any) -> None:
    job = uploaded()
    run = start(door, job, {"executor": "caller"}).get_json()["runUid"]
    assert door.post(f"/api/v1/jobs/{job}/cancel").get_json()["status"] == "executing"
    asked = rows("SELECT cancel_requested_at IS NOT NULL AS asked FROM run WHERE id = :run", run=run)
    assert asked == [{"asked": True}]


def test_a_start_may_give_tags_a_priority_and_a_concurrency_key(
    door: Any, uploaded: Uploaded, rows: Any
) -> None:
    body = {"tags": ["a", "b"], "priority": 0, "concurrencyKey": "k", "concurrencyLimit": 3, "executor": None}
    run = start(door, uploaded(), body).get_json()["runUid"]
    columns = "tags, priority, concurrency_key, concurrency_limit"
    [kept] = rows(f"SELECT {columns} FROM run WHERE id = :run", run=run)
    assert kept == {"tags": ["a", "b"], "priority": 0, "concurrency_key": "k", "concurrency_limit": 3}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("executor", "me"),
        ("tags", "a"),
        ("tags", ["a"] * 21),
        ("tags", [""]),
        ("tags", ["x" * 65]),
        ("tags", [5]),
        ("tags", ["a\0"]),
        ("priority", 11),
        ("priority", -1),
        ("priority", 1.5),
        ("priority", True),
        ("priority", "5"),
        ("concurrencyKey", ""),
        ("concurrencyKey", "x" * 257),
        ("concurrencyKey", 5),
        ("concurrencyLimit", 0),
        ("concurrencyLimit", 1001),
        ("concurrencyLimit", True),
    ],
)
def test_a_faulty_option_of_a_start_is_a_400_that_names_it(
    door: Any, uploaded: Uploaded, rows: Any, field: str, value: Any
) -> None:
    job = uploaded()
    answer = start(door, job, {field: value})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/invalid-input")
    assert list(answer.get_json()["details"]) == [field]
    assert rows("SELECT 1 FROM run WHERE job_id = :job", job=job) == []
