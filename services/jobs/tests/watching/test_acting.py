"""Clients cancel and replay runs, by UUID or number, of their own partners only."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from common.database import transaction
from common.principal import Principal
from jobs.engine import family, leases, line, memory
from jobs.engine.family import Child
from jobs.engine.leases import Failure
from jobs.engine.tables import Run


@pytest.fixture
def failed(engine: Engine, worked: Any) -> Callable[..., Run]:
    """A run that failed and left two checkpoints."""

    def make() -> Run:
        run: Run = worked(tags=("nightly",), priority=8, payload={"n": 1}).run
        with transaction(engine) as connection:
            for row in (1, 2):
                memory.save_checkpoint(connection, run.id, run.lease, {"row": row}, "sdk")
            return leases.fail(connection, run.id, run.lease, Failure(error="e"))

    return make


def caller(partner: str, *scopes: str) -> Principal:
    return Principal(kind="client", subject="s", scopes=frozenset(scopes), partners=frozenset({partner}))


@pytest.mark.parametrize("name", ["id", "number"])
def test_a_run_in_line_is_canceled_at_once(door: Any, submit: Any, services: Any, name: str) -> None:
    run = submit()
    services.nudge.told.clear()
    answer = door.post(f"/v1/runs/{getattr(run, name)}/cancel")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "canceled"), answer.text
    assert answer.get_json()["id"] == str(run.id)
    assert services.nudge.told == [f"run:{run.id}", "deliveries", "line"]


def test_a_run_at_work_is_asked_and_its_children_canceled(door: Any, worked: Any, engine: Engine) -> None:
    run = worked().run
    with transaction(engine) as connection:
        parent = family.hold(connection, run.id, run.lease)
        child = family.spawn(connection, parent, Child(job_id=run.job_id, payload={}, inputs={}))
    answer = door.post(f"/v1/runs/{run.id}/cancel")
    document = answer.get_json()
    assert (answer.status_code, document["status"]) == (202, "executing")
    assert document["cancel_requested_at"]
    with transaction(engine) as connection:
        found = line.find(connection, child.id)
    assert found is not None
    assert found.status == "canceled"


def test_a_run_that_is_over_is_answered_unchanged(door: Any, failed: Any) -> None:
    run = failed()
    answer = door.post(f"/v1/runs/{run.id}/cancel")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "failed")


@pytest.mark.parametrize("act", ["cancel", "replay"])
@pytest.mark.parametrize("name", [str(uuid4()), "999999999", "0"])
def test_what_names_no_run_is_a_404(door: Any, act: str, name: str) -> None:
    answer = door.post(f"/v1/runs/{name}/{act}", {})
    assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/run-not-found")


@pytest.mark.parametrize("act", ["cancel", "replay"])
def test_what_is_no_name_of_a_run_is_a_400(door: Any, act: str) -> None:
    answer = door.post(f"/v1/runs/x/{act}", {})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/invalid-uuid")


@pytest.mark.parametrize("act", ["cancel", "replay"])
def test_a_run_of_another_partner_is_a_404_and_a_missing_scope_a_403(
    door: Any, failed: Any, act: str
) -> None:
    run = failed()
    for name in (run.id, run.number):
        answer = door.post(f"/v1/runs/{name}/{act}", {}, caller=caller("acme", "create:jobs"))
        assert (answer.status_code, answer.get_json()["detail"]) == (404, f"Run not found: {name}")
    assert door.post(f"/v1/runs/{run.id}/{act}", {}, caller=caller("ea", "read:jobs")).status_code == 403


def test_a_replay_does_the_same_again_from_a_checkpoint(door: Any, failed: Any, engine: Engine) -> None:
    run = failed()
    answer = door.post(f"/v1/runs/{run.number}/replay", {"from_checkpoint": 1})
    document = answer.get_json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/runs/{document['id']}"
    assert (document["replay_of"], document["triggered_by"]) == (str(run.id), "retry")
    assert (document["status"], document["payload"], document["priority"]) == ("queued", {"n": 1}, 8)
    assert (document["tags"], document["created_by"]) == (["nightly"], "district-sync")
    with transaction(engine) as connection:
        kept = memory.last_checkpoint(connection, UUID(document["id"]))
    assert kept is not None
    assert kept.state == {"row": 1}


def test_a_replay_needs_no_body(door: Any, failed: Any) -> None:
    assert door.post(f"/v1/runs/{failed().id}/replay").status_code == 201


def test_a_replay_repeated_under_its_key_is_one_run_and_a_second_one_409(door: Any, failed: Any) -> None:
    run, key = failed(), {"Idempotency-Key": uuid4().hex}
    first, again = (door.post(f"/v1/runs/{run.id}/replay", {}, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json()["id"] == again.get_json()["id"]
    other = door.post(f"/v1/runs/{run.id}/replay", {})
    assert (other.status_code, other.get_json()["type"]) == (409, "/problems/job-in-progress")


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        ({"from_checkpoint": 3}, 404, "checkpoint-not-found"),
        ({"from_checkpoint": 0}, 400, "invalid-input"),
        ({"from_checkpoint": 2**40}, 400, "invalid-input"),
        ({"from_checkpoint": "1"}, 400, "invalid-input"),
        ({"from_checkpoint": True}, 400, "invalid-input"),
    ],
)
def test_a_faulty_replay_makes_no_run(
    door: Any, failed: Any, rows: Any, body: Any, status: int, rule: str
) -> None:
    run = failed()
    answer = door.post(f"/v1/runs/{run.id}/replay", body)
    assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{rule}")
    assert rows("SELECT 1 FROM run WHERE replay_of = :id", id=run.id) == []


def test_what_lives_is_completed_or_was_its_callers_is_not_replayed(
    door: Any, worked: Any, submit: Any, engine: Engine
) -> None:
    live, completed, callers = worked().run, worked().run, submit(caller=True)
    with transaction(engine) as connection:
        leases.complete(connection, completed.id, completed.lease)
        leases.fail(connection, callers.id, 1, Failure(error="e"))
    for run in (live, completed, callers):
        answer = door.post(f"/v1/runs/{run.id}/replay", {})
        assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/cannot-replay")
