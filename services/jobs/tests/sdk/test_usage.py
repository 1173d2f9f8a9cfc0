"""Usage, calls of tools, resources and streams through the API."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from jobs.app import create_app
from jobs.services import Services

CALL = {"provider": "p", "model": "m"}
GOOD: dict[str, dict[str, Any]] = {
    "usage": CALL,
    "tool-call": {"tool_name": "search"},
    "resources": {"memory_percent": 10},
    "stream": {"chunk": "x"},
}


def events(rows: Any, executor: Any, type: str) -> list[Any]:
    statement = "SELECT * FROM run_event WHERE run_id = :id AND type = :type ORDER BY seq"
    found: list[Any] = rows(statement, id=executor.run.id, type=type)
    return found


def test_a_call_of_a_model_is_noted(executing: Any, rows: Any) -> None:
    executor = executing()
    body = {**CALL, "prompt_tokens": 10, "completion_tokens": 5.0, "cost_microusd": 700, "unknown": 1}
    answer = executor.post("usage", body)
    assert answer.status_code == 201
    document = answer.get_json()
    assert document.pop("created_at").endswith("Z")
    expected = {**CALL, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_microusd": 700}
    assert document == {"id": 4, "run_id": str(executor.run.id), **expected}
    [event] = events(rows, executor, "usage")
    assert event["data"] == expected
    assert executor.post("usage", {**CALL, "total_tokens": 9}).get_json()["total_tokens"] == 9
    [run] = rows("SELECT cost_microusd FROM run WHERE id = :id", id=executor.run.id)
    assert run["cost_microusd"] == 700


def test_a_call_of_a_tool_is_noted_without_what_was_not_told(executing: Any) -> None:
    body = {"tool_name": "search", "input": {"q": [1]}, "output": 0, "duration_ms": 1.5, "status": "ok"}
    executor = executing()
    answer = executor.post("tool-call", body)
    assert answer.status_code == 201
    document = answer.get_json()
    assert (document["id"], document["run_id"]) == (4, str(executor.run.id))
    assert {name: document[name] for name in body} == body
    bare = executor.post("tool-call", {"tool_name": "search", "input": None}).get_json()
    assert bare.keys() == {"id", "run_id", "tool_name", "created_at"}


@pytest.mark.parametrize(
    ("percent", "level"), [(79.9, "info"), (80, "warn"), (89.9, "warn"), (90, "error"), (100, "error")]
)
def test_resources_warn_from_80_and_fail_from_90_percent_of_the_memory(
    executing: Any, rows: Any, percent: float, level: str
) -> None:
    executor = executing()
    body = {"memory_mb": 512.5, "memory_percent": percent, "cpu_percent": 230}
    answer = executor.post("resources", body)
    assert (answer.status_code, answer.get_json()) == (201, {"status": "ok"})
    [event] = events(rows, executor, "resources")
    assert event["level"] == level
    assert {name: event["data"][name] for name in body} == body
    assert ("message" in event["data"]) == (level != "info")


def test_chunks_of_a_stream_are_kept_in_order(executing: Any, rows: Any) -> None:
    executor = executing()
    for body in ({"chunk": "a"}, {"chunk": "\x1b[0m😀", "stream_id": "other"}, {"chunk": "b", "done": True}):
        answer = executor.post("stream", body)
        assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
    kept = [event["data"] for event in events(rows, executor, "stream")]
    assert [(each["stream_id"], each["chunk"], each["done"]) for each in kept] == [
        ("default", "a", False),
        ("other", "\x1b[0m😀", False),
        ("default", "b", True),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("usage", {}, 422),
        ("usage", {"provider": "p"}, 422),
        ("usage", {**CALL, "model": ""}, 422),
        ("usage", {**CALL, "prompt_tokens": -1}, 422),
        ("usage", {**CALL, "cost_microusd": 10**12 + 1}, 422),
        ("usage", {**CALL, "cost_microusd": 10**400}, 422),
        ("usage", {**CALL, "cost_microusd": 1.5}, 400),
        ("usage", {**CALL, "total_tokens": "5"}, 400),
        ("usage", {**CALL, "total_tokens": True}, 400),
        ("usage", {**CALL, "model": 5}, 400),
        ("usage", {**CALL, "model": "m" * 129}, 400),
        ("usage", [], 400),
        ("tool-call", {}, 422),
        ("tool-call", {"tool_name": "t", "duration_ms": -1}, 422),
        ("tool-call", {"tool_name": "t", "status": 5}, 400),
        ("tool-call", {"tool_name": "ä" * 65}, 400),
        ("resources", {"memory_mb": -1}, 422),
        ("resources", {"memory_percent": 100.1}, 422),
        ("resources", {"cpu_percent": -0.1}, 422),
        ("resources", {"cpu_percent": "1"}, 400),
        ("stream", {"chunk": 5}, 400),
        ("stream", {"chunk": "x", "done": 1}, 400),
        ("stream", {"chunk": "x", "stream_id": "s" * 129}, 400),
        ("stream", {"chunk": "x" * 1024 * 1024}, 413),
    ],
)
def test_what_is_faulty_is_told_and_nothing_kept(
    executing: Any, rows: Any, path: str, body: Any, status: int
) -> None:
    executor = executing()
    assert executor.post(path, body).status_code == status
    assert not events(rows, executor, path.replace("-", "_"))


@pytest.mark.parametrize("path", GOOD)
def test_a_repeat_under_its_key_appends_nothing(executing: Any, rows: Any, path: str) -> None:
    executor, key = executing(), {"Idempotency-Key": uuid4().hex}
    first, again = (executor.post(path, GOOD[path], headers=key) for _ in range(2))
    assert (first.status_code, first.get_json()) == (again.status_code, again.get_json())
    assert first.status_code in (200, 201)
    assert len(events(rows, executor, path.replace("-", "_"))) == 1
    assert executor.post(path, {**GOOD[path], "more": 1}, headers=key).status_code == 422


@pytest.mark.parametrize("path", GOOD)
def test_nothing_is_noted_for_another_lease_or_a_run_that_is_over(
    executing: Any, rows: Any, path: str
) -> None:
    executor = executing()
    assert executor.post(path, GOOD[path], lease=99).status_code == 401
    assert executor.post(path, GOOD[path], run=uuid4()).status_code == 403
    executor.post("complete")
    assert executor.post(path, GOOD[path]).status_code == 410
    assert not events(rows, executor, path.replace("-", "_"))


@pytest.mark.parametrize("path", GOOD)
def test_what_is_noted_is_a_sign_of_life(executing: Any, stored: Any, rows: Any, path: str) -> None:
    executor = executing()
    rows("UPDATE run SET heartbeat_at = now() - interval '1 hour' WHERE id = :id", id=executor.run.id)
    before = stored(executor.run.id).heartbeat_at
    executor.post(path, GOOD[path])
    assert stored(executor.run.id).heartbeat_at > before


def test_the_runs_own_secrets_are_not_stored(executing: Any, rows: Any) -> None:
    executor, secret = executing(), "ods-secret-value"
    executor.post(
        "tool-call", {"tool_name": secret, "input": {secret: [secret]}, "output": f"Bearer {secret}"}
    )
    executor.post("stream", {"chunk": f"x {secret} y", "stream_id": secret})
    executor.post("usage", {"provider": secret, "model": secret})
    stored = str(rows("SELECT data FROM run_event WHERE run_id = :id", id=executor.run.id))
    assert secret not in stored
    assert stored.count("[redacted]") >= 8


@pytest.mark.parametrize("type", ["usage", "tool_call", "resources", "stream", "progress", "status"])
def test_a_line_of_the_log_cannot_pose_as_what_a_run_used(executing: Any, type: str) -> None:
    assert executing().post("log", {"message": "x", "type": type}).get_json()["type"] == "log"


@pytest.mark.parametrize("budget", [100, 10**12])
def test_a_run_that_has_spent_its_budget_is_refused_further_usage(
    executing: Any, rows: Any, sdk_door: Any, budget: int
) -> None:
    services: Services = sdk_door.app.extensions["services"]
    limited = replace(services, settings=replace(services.settings, run_budget_microusd=budget))
    executor = replace(executing(), door=type(sdk_door)(create_app(limited)))
    cost = budget * 60 // 100
    costs = [executor.post("usage", {**CALL, "cost_microusd": cost}).status_code for _ in range(3)]
    assert costs == [201, 201, 429]
    refused = executor.post("usage", CALL)
    assert refused.get_json()["type"] == "/problems/budget-spent"
    assert len(events(rows, executor, "usage")) == 2
    assert executor.post("usage", CALL, lease=99).status_code == 401
    assert executor.post("log", {"message": "the run itself goes on"}).status_code == 201
