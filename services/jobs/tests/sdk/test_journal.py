"""Log and progress through the API."""

from typing import Any
from uuid import uuid4

import pytest

from jobs.api.sdk.secrets import REMEMBERED, RunSecrets
from jobs.engine.journal import OWN_TYPES


def events(rows: Any, executor: Any) -> list[Any]:
    statement = "SELECT * FROM run_event WHERE run_id = :id AND type <> 'status' ORDER BY seq"
    found: list[Any] = rows(statement, id=executor.run.id)
    return found


def test_a_line_of_the_log_is_an_event(executing: Any, rows: Any) -> None:
    executor = executing()
    answer = executor.post("log", {"message": "hello", "level": "warn", "data": {"n": [1]}})
    assert answer.status_code == 201
    document = answer.get_json()
    assert document.pop("created_at").endswith("Z")
    assert document == {
        "id": 4,
        "run_id": str(executor.run.id),
        "type": "log",
        "level": "warn",
        "message": "hello",
        "data": {"n": [1]},
    }
    assert len(events(rows, executor)) == 1


def test_five_hundred_lines_are_kept_in_order(executing: Any, rows: Any) -> None:
    executor = executing()
    entries = [{"message": str(number)} for number in range(500)]
    answer = executor.post("log", {"entries": entries})
    assert answer.status_code == 201
    assert [event["message"] for event in answer.get_json()] == [str(number) for number in range(500)]
    assert [event["data"]["message"] for event in events(rows, executor)] == [str(n) for n in range(500)]


@pytest.mark.parametrize("type", sorted(OWN_TYPES))
def test_a_line_cannot_pose_as_the_engines_own_history(executing: Any, rows: Any, type: str) -> None:
    executor = executing()
    executor.post("log", {"message": "x", "type": type, "data": {"to": "completed"}})
    assert [event["type"] for event in events(rows, executor)] == ["log"]


def test_control_characters_of_a_line_survive_as_json(executing: Any) -> None:
    line = "\x1b[31mred\x1b[0m \r\n\t\u2028 ok"
    assert executing().post("log", {"message": line}).get_json()["message"] == line


@pytest.mark.parametrize("forgets", [False, True])
def test_the_runs_own_secrets_are_not_stored(executing: Any, rows: Any, sdk_door: Any, forgets: bool) -> None:
    executor = executing()
    if forgets:  # as a process that did not see the claim
        sdk_door.app.extensions["run_secrets"] = RunSecrets()
    lines = ["key is ods-secret-value", "GET http://s3/a?X-Amz-Signature=abc", "Bearer abcdefghijk"]
    executor.post("log", {"entries": [{"message": text, "data": {text: [text]}} for text in lines]})
    executor.post("progress", {"percent": 5, "message": lines[0], "step": lines[2]})
    stored = str(events(rows, executor)) + str(
        rows("SELECT progress FROM run WHERE id = :id", id=executor.run.id)
    )
    for secret in ("ods-secret-value", "X-Amz-Signature", "abcdefghijk"):
        assert secret not in stored
    assert stored.count("[redacted]") >= 8


def test_an_end_reported_to_another_process_keeps_no_secret(executing: Any, rows: Any, sdk_door: Any) -> None:
    executor = executing()
    sdk_door.app.extensions["run_secrets"] = RunSecrets()  # as a process that did not see the claim
    assert executor.post("fail", {"error": "ODS refused ods-secret-value"}).status_code == 200
    [row] = rows("SELECT error FROM run WHERE id = :id", id=executor.run.id)
    assert row["error"] == "ODS refused [redacted]"


@pytest.mark.parametrize("path", ["log", "checkpoint"])
def test_a_value_nested_too_deeply_is_400(executing: Any, path: str) -> None:
    nested = "[" * 500 + "]" * 500
    body = f'{{"message": "x", "data": {nested}, "state": {nested}}}'
    answer = executing().post(path, data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/malformed-json")


def test_a_number_of_hundreds_of_digits_is_out_of_range(executing: Any) -> None:
    assert executing().post("progress", {"percent": 10**400}).status_code == 422


def test_a_body_that_does_not_say_it_is_json_is_refused_and_not_taken_for_empty(executing: Any) -> None:
    executor = executing()
    answer = executor.post("complete", data='{"result": 1}', content_type="text/plain")
    assert answer.status_code == 400
    assert executor.post("heartbeat").status_code == 200


def test_a_repeat_under_its_idempotency_key_appends_nothing(executing: Any, rows: Any) -> None:
    executor, key = executing(), {"Idempotency-Key": uuid4().hex}
    body = {"entries": [{"message": "a"}, {"message": "b"}]}
    first, again = executor.post("log", body, headers=key), executor.post("log", body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json() == again.get_json()
    assert len(events(rows, executor)) == 2
    other = executor.post("log", {"message": "c"}, headers=key)
    assert other.status_code == 422
    executor.post("log", {"message": "d"})
    assert len(events(rows, executor)) == 3


def test_progress_is_kept_with_the_run_and_in_its_history(executing: Any, stored: Any, rows: Any) -> None:
    executor = executing()
    body = {"percent": 12.5, "message": "reading", "step": "transform", "eta_secs": 30}
    answer = executor.post("progress", body)
    assert (answer.status_code, answer.get_json()["type"]) == (201, "progress")
    expected = {"percent": 12.5, "message": "reading", "step": "transform", "eta_seconds": 30}
    assert stored(executor.run.id).progress == expected
    assert [event["data"] for event in events(rows, executor)] == [expected]


def test_both_spellings_of_the_eta_are_read_and_zero_is_a_number(executing: Any, stored: Any) -> None:
    for body in ({"eta_seconds": 0, "eta_secs": 9}, {"eta_secs": 0}):
        executor = executing()
        executor.post("progress", {"percent": 0, **body})
        assert stored(executor.run.id).progress["eta_seconds"] == 0


def test_the_memory_of_secrets_has_a_bound() -> None:
    memory, first = RunSecrets(), uuid4()
    memory.remember(first, 1, frozenset({"s"}))
    for _ in range(REMEMBERED):
        memory.remember(uuid4(), 1, frozenset())
    assert memory.recall(first, 1) is None
