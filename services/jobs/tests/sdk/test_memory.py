"""Annotations, checkpoints and state through the API."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from common.database import transaction
from jobs.engine import turns


def test_annotations_are_merged_and_both_spellings_read(executing: Any) -> None:
    executor = executing(metadata={"a": "0", "z": "kept"})
    assert executor.post("annotate", {"annotations": {"a": "1"}}).status_code == 200
    answer = executor.post("annotate", {"b": "2"})
    assert (answer.status_code, answer.get_json()["metadata"]) == (200, {"a": "1", "b": "2", "z": "kept"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"annotations": {}},
        {"a": 5},
        {"k" * 129: "v"},
        {"k": "v" * 1025},
        {"k": "ä" * 513},
        {"": "v"},
        {str(number): "v" for number in range(51)},
    ],
)
def test_annotations_beyond_the_limits_are_a_400(executing: Any, body: Any) -> None:
    assert executing().post("annotate", body).status_code == 400


def test_a_checkpoint_is_numbered_and_the_last_one_given(executing: Any) -> None:
    executor = executing()
    assert executor.get("checkpoint").status_code == 404
    for number in (1, 2):
        answer = executor.post("checkpoint", {"state": {"row": number}, "source": "me"})
        assert (answer.status_code, answer.get_json()["sequence"]) == (201, number)
    last = executor.get("checkpoint")
    assert last.get_json().keys() == {"id", "run_id", "sequence", "source", "state", "created_at"}
    assert (last.get_json()["state"], last.get_json()["source"]) == ({"row": 2}, "me")
    assert executor.post("checkpoint", {}).status_code == 422
    assert executor.post("checkpoint", {"state": None}).status_code == 201


def test_what_clients_see_of_a_runs_memory_holds_none_of_its_secrets(executing: Any, rows: Any) -> None:
    executor, secret = executing(), "ods-secret-value"
    url = "http://api.example/items?token=next-page"
    executor.post("checkpoint", {"state": {secret: [secret], "next": url}, "source": secret})
    executor.post("annotate", {"note": f"x {secret}", "url": url})
    [kept] = rows("SELECT state, source FROM checkpoint WHERE run_id = :id", id=executor.run.id)
    assert kept == {"state": {"[redacted]": ["[redacted]"], "next": url}, "source": "[redacted]"}
    [run] = rows("SELECT metadata FROM run WHERE id = :id", id=executor.run.id)
    assert run["metadata"] == {"note": "x [redacted]", "url": "http://api.example/items?[redacted]"}


def test_a_checkpoint_repeated_under_its_key_is_the_same(executing: Any) -> None:
    executor, key = executing(), {"Idempotency-Key": uuid4().hex}
    answers = [executor.post("checkpoint", {"state": 1}, headers=key).get_json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert executor.get("checkpoint").get_json()["sequence"] == 1


def test_the_next_attempt_gets_the_last_checkpoint_and_the_state(
    executing: Any, dequeued: Any, engine: Any
) -> None:
    executor = executing(retry={"backoff": "fixed", "initial_delay_secs": 0})
    executor.post("checkpoint", {"state": [1, 2]})
    executor.post("state", {"key": "k", "value": "v"})
    assert executor.post("fail", {"error": "e", "retryable": True}).get_json()["status"] == "queued"
    with transaction(engine) as connection:
        [run] = turns.dequeue(connection, executor.run.pool, 8)
    ticket = replace(executor, run=run, scope="run:claim")
    document = ticket.post("claim", {"claim_id": str(uuid4()), "executor": "x"}).get_json()
    assert (document["lease"], document["attempt"], document["last_checkpoint"]["state"]) == (2, 2, [1, 2])
    assert replace(executor, run=run).get("state/k").get_json()["value"] == "v"


def test_state_is_set_read_listed_and_removed(executing: Any) -> None:
    executor = executing()
    for key, value in (("b", 1), ("a", {"x": None}), ("b", [2])):
        answer = executor.post("state", {"key": key, "value": value})
        assert answer.status_code == 201
    assert answer.get_json().keys() == {"run_id", "state_key", "key", "value", "updated_at"}
    assert [item["key"] for item in executor.get("state").get_json()] == ["a", "b"]
    assert executor.get("state/b").get_json()["value"] == [2]
    assert executor.get("state/c").status_code == 404
    assert [executor.delete("state/b").status_code for _ in range(2)] == [204, 204]
    assert executor.get("state/b").status_code == 404


@pytest.mark.parametrize("key", ["", "a/b", "a\\b", "a?b", "a#b", "a%b", "a b", "a\nb", "k" * 257])
def test_keys_with_forbidden_characters_are_a_400(executing: Any, key: str) -> None:
    assert executing().post("state", {"key": key, "value": 1}).status_code == 400


def test_a_value_over_64_kib_is_a_400_and_a_missing_one_a_422(executing: Any) -> None:
    executor = executing()
    assert executor.post("state", {"key": "k", "value": "x" * 65_536}).status_code == 400
    assert executor.post("state", {"key": "k", "value": "x" * 65_000}).status_code == 201
    assert executor.post("state", {"key": "k"}).status_code == 422


def test_a_thousand_keys_are_kept_and_no_more(executing: Any, rows: Any) -> None:
    executor = executing()
    rows(
        "INSERT INTO run_state (run_id, key, value)"
        " SELECT :id, 'k' || n, '1' FROM generate_series(1, 1000) n",
        id=executor.run.id,
    )
    assert executor.post("state", {"key": "one-more", "value": 1}).status_code == 400
    assert executor.post("state", {"key": "k5", "value": 2}).status_code == 201


def test_nothing_is_remembered_once_the_run_is_over(executing: Any) -> None:
    executor = executing()
    executor.post("complete")
    for path, body in (
        ("annotate", {"a": "b"}),
        ("checkpoint", {"state": 1}),
        ("state", {"key": "k", "value": 1}),
    ):
        assert executor.post(path, body).status_code == 410
    assert executor.get("state").status_code == 410
    assert executor.delete("state/k").status_code == 410
