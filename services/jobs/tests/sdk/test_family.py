"""Continuing through the API, and what the fence round spawn and continue refuses."""

from typing import Any
from uuid import uuid4

import pytest

from common.database import transaction
from jobs.engine import family

SPAWN = {"job_slug": "X", "project_id": "acme"}


def test_a_continuation_has_its_runs_payload_or_another_one(executing: Any) -> None:
    executor = executing(payload={"n": 1})
    same, other = executor.post("continue"), executor.post("continue", {"payload": {"n": 2}})
    assert (same.status_code, other.status_code) == (201, 201)
    first, second = same.get_json(), other.get_json()
    assert (first["payload"], second["payload"]) == ({"n": 1}, {"n": 2})
    assert first["continuation_of"] == second["continuation_of"] == str(executor.run.id)
    assert (first["lineage_depth"], first["triggered_by"]) == (1, "continue")
    assert first["job_id"] == str(executor.run.job_id)
    assert "parent_run_id" not in first
    assert executor.post("complete").status_code == 200


def test_a_continuation_repeated_under_its_key_is_made_once(executing: Any) -> None:
    executor, key = executing(), {"Idempotency-Key": uuid4().hex}
    answers = [executor.post("continue", headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].get_json()["id"] == answers[1].get_json()["id"]
    assert executor.post("continue").get_json()["id"] != answers[0].get_json()["id"]


def test_what_goes_into_a_payload_holds_no_secret(executing: Any) -> None:
    body = {"payload": {"note": "ods-secret-value", "url": "http://x/y?X-Amz-Signature=abc"}}
    document = executing().post("continue", body).get_json()
    assert document["payload"] == {"note": "[redacted]", "url": "http://x/y?[redacted]"}


def test_the_eleventh_continuation_is_a_400(executing: Any, rows: Any) -> None:
    executor = executing()
    rows("UPDATE run SET lineage_depth = 10 WHERE id = :id", id=executor.run.id)
    answer = executor.post("continue")
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/limit-exceeded")


@pytest.mark.parametrize("body", [{"payload": 5}, {"payload": []}, {"payload": "x"}])
def test_a_payload_is_an_object(executing: Any, body: Any) -> None:
    assert executing().post("continue", body).status_code == 400


@pytest.mark.parametrize(("path", "body"), [("spawn", SPAWN), ("continue", {})])
def test_only_the_run_at_work_makes_others(executing: Any, engine: Any, path: str, body: Any) -> None:
    executor = executing()
    assert executor.post(path, body, run=uuid4()).status_code == 403
    assert executor.post(path, body, lease=7).status_code == 401
    with transaction(engine) as connection:
        family.request_cancel(connection, executor.run.id)
    refused = executor.post(path, body)
    assert (refused.status_code, refused.get_json()["type"]) == (409, "/problems/cancel-requested")
    assert executor.post("complete").status_code == 200
    assert executor.post(path, body).status_code == 410
