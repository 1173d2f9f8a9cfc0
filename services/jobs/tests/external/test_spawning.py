"""POST /sdk/v1/runs/{id}/spawn: the job of a child, and what both of them hear."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import urllib3
from werkzeug.test import TestResponse

from common.database import transaction
from common.principal import Principal
from jobs.engine import family, leases, line, turns
from jobs.engine.tables import Run
from jobs.services import Services

Spawn = Callable[..., TestResponse]


def token(run: Run, scope: str = "run:work") -> Principal:
    return Principal(
        kind="run",
        subject=str(run.id),
        run=str(run.id),
        lease=run.lease,
        job=str(run.job_id),
        partners=frozenset({run.partner}),
        scopes=frozenset({scope}),
        issuer="taxiway-runs",
        expires_at=2_000_000_000,
    )


@pytest.fixture
def started(door: Any, uploaded: Any, services: Services) -> Callable[..., Run]:
    """A run in its caller's hands."""

    def make(**changed: Any) -> Run:
        answer = door.post(f"/api/v1/jobs/{uploaded(**changed)}/start", {"executor": "caller"})
        with transaction(services.engine) as connection:
            run = line.find(connection, UUID(answer.get_json()["runUid"]))
        assert run is not None
        return run

    return make


@pytest.fixture
def spawn(door: Any) -> Spawn:
    def post(run: Run, body: dict[str, Any], **options: Any) -> TestResponse:
        answer: TestResponse = door.post(f"/sdk/v1/runs/{run.id}/spawn", body, caller=token(run), **options)
        return answer

    return post


def claimed(services: Services, run_id: str) -> Run:
    """Give every run in line its turn and take the one's."""
    with transaction(services.engine) as connection:
        turns.dequeue(connection, "default", 1000)
        found = line.find(connection, UUID(run_id))
        assert found is not None
        return leases.claim(connection, found.id, found.lease, uuid4(), "executor-1")


def test_a_child_job_is_its_parents_for_another_bundle_over_the_same_objects(
    door: Any, started: Any, spawn: Spawn, services: Services
) -> None:
    parent = started(params={"TEST_TYPE": "SAT", "NOTE": "kept"})
    asked = {"job_slug": "assessments/Matched", "project_id": "ea"}
    door.app.extensions["services"].nudge.told.clear()
    matched = spawn(parent, {**asked, "payload": {}})
    assert (matched.status_code, matched.get_json()["type"]) == (400, "/problems/roster-not-found")
    answer = spawn(
        parent,
        {"job_slug": "SAT", "project_id": "ea", "payload": {"part": 2, "params": {"TEST_TYPE": "PSAT"}}},
    )
    document = answer.get_json()
    assert answer.status_code == 201, answer.text
    assert (document["parent_run_id"], document["status"]) == (str(parent.id), "queued")
    assert (document["triggered_by"], document["batch_id"]) == ("spawn", str(parent.id))
    assert document["job_id"] != str(parent.job_id)
    assert services.nudge.told == [f"run:{parent.id}", "line"]  # type: ignore[attr-defined]
    shown = door.get(f"/api/v1/jobs/{document['job_id']}").get_json()
    assert shown["params"] == {"TEST_TYPE": "PSAT", "NOTE": "kept", "API_YEAR": "2026"}
    assert (shown["tenant"], shown["schoolYear"], shown["bundle"]) == ("ea", "2026", "assessments/SAT")
    assert shown["files"] == [{"key": "INPUT_FILE", "name": "results.csv", "uploaded": True, "sizeBytes": 13}]
    assert shown["client"]["id"] == "district-sync"
    with transaction(services.engine) as connection:
        child = line.find(connection, UUID(document["id"]))
        assert child is not None
        assert child.inputs == parent.inputs
        order = services.work_order(connection, child).payload
    assert order["input"] == {"part": 2, "params": {"TEST_TYPE": "PSAT"}}
    with urllib3.PoolManager() as pool:
        content = pool.request("GET", order["inputs"]["INPUT_FILE"]["url"], timeout=10).data
    assert content == b"id,score\n1,2\n"


def test_a_child_job_may_be_started_again_and_finds_its_parents_files(
    door: Any, started: Any, spawn: Spawn, services: Services
) -> None:
    parent = started()
    child = spawn(parent, {"job_slug": "tests/echo", "project_id": "ea"}).get_json()
    with transaction(services.engine) as connection:
        family.request_cancel(connection, UUID(child["id"]))
    assert door.post(f"/api/v1/jobs/{child['job_id']}/start").status_code == 202


def test_null_takes_a_param_away(started: Any, spawn: Spawn, rows: Any) -> None:
    parent = started(params={"TEST_TYPE": "SAT", "NOTE": "x"})
    body = {"job_slug": "SAT", "project_id": "ea", "payload": {"params": {"NOTE": None}}}
    job = spawn(parent, body).get_json()["job_id"]
    [row] = rows("SELECT params FROM assessment WHERE job_uid = :job", job=job)
    assert row["params"] == {"TEST_TYPE": "SAT", "API_YEAR": "2026"}


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        ({}, 422, "invalid-input"),
        ({"job_slug": "SAT"}, 422, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "job_id": str(uuid4())}, 422, "invalid-input"),
        ({"job_id": "5"}, 422, "invalid-input"),
        ({"job_id": str(uuid4())}, 404, "job-not-found"),
        ({"job_slug": "SAT", "project_id": "acme"}, 403, "invalid-partner"),
        ({"job_slug": "NONE", "project_id": "ea"}, 404, "bundle-not-found"),
        ({"job_slug": "tests/NotEnabled", "project_id": "ea"}, 404, "bundle-not-found"),
        ({"job_slug": 5, "project_id": "ea"}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "payload": []}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "payload": {"params": []}}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "payload": {"params": {"X": 1}}}, 400, "unexpected-params"),
        (
            {"job_slug": "SAT", "project_id": "ea", "payload": {"params": {"TEST_TYPE": "ACT"}}},
            400,
            "invalid-param-values",
        ),
        ({"job_slug": "SAT", "project_id": "ea", "priority": 11}, 422, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "priority": 1.5}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "priority": True}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "await_completion": "yes"}, 400, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "await_timeout_secs": 0}, 422, "invalid-input"),
        ({"job_slug": "SAT", "project_id": "ea", "await_timeout_secs": 2_592_001}, 422, "invalid-input"),
    ],
)
def test_a_faulty_spawn_makes_nothing(
    started: Any, spawn: Spawn, rows: Any, body: dict[str, Any], status: int, rule: str
) -> None:
    parent = started()
    before = rows("SELECT count(*) FROM job")
    answer = spawn(parent, body)
    assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{rule}"), answer.text
    assert rows("SELECT count(*) FROM job") == before
    assert rows("SELECT status FROM run WHERE id = :id", id=parent.id) == [{"status": "executing"}]


def test_a_run_of_an_existing_job_is_spawned_beside_the_one_it_has(
    door: Any, started: Any, spawn: Spawn, uploaded: Any
) -> None:
    parent, job = started(), uploaded()
    assert door.post(f"/api/v1/jobs/{job}/start").status_code == 202
    answer = spawn(parent, {"job_id": job, "payload": {"n": 1}, "priority": 9})
    document = answer.get_json()
    assert (answer.status_code, document["job_id"], document["priority"]) == (201, job, 9)
    assert document["payload"] == {"n": 1}


def test_a_job_of_another_partner_is_not_found(started: Any, spawn: Spawn, uploaded: Any, rows: Any) -> None:
    job = uploaded()
    rows("UPDATE job SET partner = 'acme' WHERE uid = :job", job=job)
    answer = spawn(started(), {"job_id": job})
    assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/job-not-found")


def test_a_job_whose_files_are_not_uploaded_is_not_spawned(create: Any, started: Any, spawn: Spawn) -> None:
    job = create().get_json()["uid"]
    answer = spawn(started(), {"job_id": job})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/files-not-found")


def test_a_spawn_repeated_under_its_key_makes_one_child(started: Any, spawn: Spawn, rows: Any) -> None:
    parent, key = started(), {"Idempotency-Key": uuid4().hex}
    body = {"job_slug": "SAT", "project_id": "ea", "await_completion": True}
    first, again = (spawn(parent, body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json()["id"] == again.get_json()["id"]
    assert len(rows("SELECT 1 FROM run WHERE parent_run_id = :id", id=parent.id)) == 1


def test_a_caller_that_awaits_hears_of_its_childs_end_by_its_heartbeats(
    door: Any, started: Any, spawn: Spawn, services: Services, rows: Any
) -> None:
    parent = started()
    body = {"job_slug": "SAT", "project_id": "ea", "await_completion": True, "await_timeout_secs": 60}
    child = claimed(services, spawn(parent, body).get_json()["id"])
    [row] = rows(
        "SELECT status, await_expires_at - now() < '61 s' AS soon FROM run WHERE id = :id", id=parent.id
    )
    assert row == {"status": "waiting", "soon": True}
    beat = door.post(f"/sdk/v1/runs/{parent.id}/heartbeat", {}, caller=token(parent))
    assert "event" not in beat.get_json()
    ended = door.post(f"/sdk/v1/runs/{child.id}/complete", {"result": {"n": 3}}, caller=token(child))
    assert ended.status_code == 200
    for _ in range(2):
        beat = door.post(f"/sdk/v1/runs/{parent.id}/heartbeat", {}, caller=token(parent))
        told = {"id": str(child.id), "status": "completed", "result": {"n": 3}, "error": None}
        assert beat.get_json()["event"] == {"child": told}
    assert door.post(f"/sdk/v1/runs/{parent.id}/complete", {}, caller=token(parent)).status_code == 200


def test_the_next_claim_of_a_parent_says_how_its_child_ended(
    door: Any, uploaded: Any, spawn: Spawn, services: Services
) -> None:
    parent = claimed(services, door.post(f"/api/v1/jobs/{uploaded()}/start").get_json()["runUid"])
    body = {"job_slug": "SAT", "project_id": "ea", "await_completion": True}
    child = claimed(services, spawn(parent, body).get_json()["id"])
    failed = door.post(f"/sdk/v1/runs/{child.id}/fail", {"error": "no"}, caller=token(child))
    assert failed.get_json()["status"] == "failed"
    with transaction(services.engine) as connection:
        turns.dequeue(connection, "default", 1000)
        again = line.find(connection, parent.id)
    assert again is not None
    answer = door.post(
        f"/sdk/v1/runs/{parent.id}/claim",
        {"claim_id": str(uuid4()), "executor": "x"},
        caller=token(again, "run:claim"),
    ).get_json()
    assert (answer["lease"], answer["attempt"]) == (2, 1)
    told = {"id": str(child.id), "status": "failed", "result": None, "error": "no"}
    assert answer["event"] == {"child": told}


def test_cancelling_a_job_cancels_its_continuations_and_all_they_spawned(
    door: Any, started: Any, spawn: Spawn, rows: Any
) -> None:
    parent = started()
    child = spawn(parent, {"job_slug": "SAT", "project_id": "ea"}).get_json()["id"]
    continued = door.post(f"/sdk/v1/runs/{parent.id}/continue", {}, caller=token(parent)).get_json()["id"]
    answer = door.post(f"/api/v1/jobs/{parent.job_id}/cancel")
    assert (answer.status_code, answer.get_json()["runUid"]) == (202, continued)
    found = rows(
        "SELECT id::text, status, cancel_requested_at IS NOT NULL AS asked FROM run"
        " WHERE id IN (:parent, :child, :continued)",
        parent=parent.id,
        child=child,
        continued=continued,
    )
    assert {row["id"]: (row["status"], row["asked"]) for row in found} == {
        str(parent.id): ("executing", True),
        child: ("canceled", False),
        continued: ("canceled", False),
    }
