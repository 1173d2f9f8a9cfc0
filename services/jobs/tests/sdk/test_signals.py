"""Waiting for an event through the API: shapes, refusals, and what the next claim and heartbeats bring."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from common.clock import rfc3339
from common.database import transaction
from common.principal import Principal
from jobs.engine import family, line, turns

Send = Callable[..., Any]


@pytest.fixture
def key() -> str:
    return f"approval:{uuid4().hex}"


@pytest.fixture
def send(sdk_door: Any) -> Send:
    def post(key: str, payload: Any) -> None:
        sender = Principal(
            kind="client", subject="s", scopes=frozenset({"create:jobs"}), partners=frozenset({"acme"})
        )
        answer = sdk_door.post(f"/v1/events/{key}/send", {"payload": payload}, caller=sender)
        assert answer.status_code == 202, answer.text

    return post


def claim_next(engine: Engine, executor: Any, claim_id: str = "") -> tuple[Any, Any]:
    with transaction(engine) as connection:
        turns.dequeue(connection, executor.run.pool, 8)
        run = line.find(connection, executor.run.id)
    assert run is not None
    ticket = replace(executor, run=run, scope="run:claim")
    answer = ticket.post("claim", {"claim_id": claim_id or str(uuid4()), "executor": "executor-2"})
    assert answer.status_code == 200, answer.text
    return replace(ticket, scope="run:work"), answer.get_json()


def test_a_wait_answers_when_it_expires_and_its_trigger(
    executing: Any, stored: Any, rows: Any, key: str
) -> None:
    executor = executing()
    answer = executor.post("wait-for-event", {"event_key": key})
    assert answer.status_code == 200, answer.text
    [row] = rows("SELECT * FROM wait WHERE run_id = :id", id=executor.run.id)
    assert answer.get_json() == {
        "status": "waiting",
        "event_key": key,
        "expires_at": rfc3339(row["expires_at"]),
        "trigger_id": str(row["id"]),
    }
    assert round((row["expires_at"] - row["created_at"]).total_seconds()) == 3600
    assert stored(executor.run.id).status == "waiting"
    assert executor.post("wait-for-event", {"event_key": key}).get_json() == answer.get_json()


def test_a_wait_for_an_event_that_was_sent_is_answered_with_it(
    executing: Any, stored: Any, send: Send, key: str
) -> None:
    executor = executing()
    send(key, {"approved": True})
    document = executor.post("wait-for-event", {"event_key": key, "timeout_secs": 5}).get_json()
    trigger = document.pop("trigger_id")
    assert trigger
    assert document == {"status": "received", "event_key": key, "payload": {"approved": True}}
    assert stored(executor.run.id).status == "executing"


def test_the_claim_after_the_event_and_its_repeats_have_it_and_the_checkpoint(
    executing: Any, send: Send, engine: Engine, key: str
) -> None:
    executor, claim_id = executing(), str(uuid4())
    trigger = executor.post("wait-for-event", {"event_key": key}).get_json()["trigger_id"]
    send(key, [1, None])
    back, first = claim_next(engine, executor, claim_id)
    _, again = claim_next(engine, executor, claim_id)
    assert first["event"] == again["event"]
    assert first["event"].pop("received_at")
    assert first["event"] == {"event_key": key, "trigger_id": trigger, "payload": [1, None]}
    assert (first["lease"], first["attempt"]) == (2, 1)
    assert (first["last_checkpoint"]["source"], first["last_checkpoint"]["state"]) == ("event", [1, None])
    assert "event" not in back.post("heartbeat").get_json()
    assert back.post("fail", {"error": "e", "retryable": True}).status_code == 200
    with transaction(engine) as connection:
        connection.exec_driver_sql("UPDATE run SET due_at = now() WHERE status = 'queued'")
    assert claim_next(engine, executor)[1]["event"] is None


def test_the_executor_that_began_to_wait_is_refused_from_the_event_on(
    executing: Any, send: Send, engine: Engine, key: str
) -> None:
    executor = executing()
    executor.post("wait-for-event", {"event_key": key})
    assert executor.post("heartbeat").status_code == 200
    send(key, 1)
    assert executor.post("heartbeat").status_code == 409
    claim_next(engine, executor)
    assert executor.post("log", {"message": "late"}).status_code == 401
    assert executor.post("wait-for-event", {"event_key": key}).status_code == 401


def test_a_wait_repeated_under_its_idempotency_key_has_the_same_answer(
    executing: Any, send: Send, rows: Any, key: str
) -> None:
    executor, headers = executing(), {"Idempotency-Key": uuid4().hex}
    for payload in ("first", "second"):
        send(key, payload)
    body = {"event_key": key}
    answers = [executor.post("wait-for-event", body, headers=headers).get_json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["payload"] == "first"
    assert executor.post("wait-for-event", body).get_json()["payload"] == "second"
    begun = [executor.post("wait-for-event", body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert begun[0].get_json() == begun[1].get_json()
    assert begun[0].get_json()["status"] == "waiting"
    other = executor.post("wait-for-event", {"event_key": "o"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422


def test_a_repeat_under_a_key_says_nothing_to_who_lost_the_lease(
    executing: Any, send: Send, engine: Engine, key: str
) -> None:
    executor, headers = executing(), {"Idempotency-Key": uuid4().hex}
    executor.post("wait-for-event", {"event_key": key}, headers=headers)
    send(key, 1)
    claim_next(engine, executor)
    assert executor.post("wait-for-event", {"event_key": key}, headers=headers).status_code == 401


def test_a_wait_while_it_waits_for_another_key_or_is_not_executing_is_a_409(
    executing: Any, dequeued: Any, key: str
) -> None:
    executor = executing()
    executor.post("wait-for-event", {"event_key": key})
    other = executor.post("wait-for-event", {"event_key": "other"})
    assert (other.status_code, other.get_json()["type"]) == (409, "/problems/run-not-executing")
    unclaimed = replace(dequeued(), scope="run:work")
    assert unclaimed.post("wait-for-event", {"event_key": "other"}).status_code == 409


def test_a_key_that_another_run_waits_for_is_a_409(executing: Any, stored: Any, key: str) -> None:
    executing().post("wait-for-event", {"event_key": key})
    second = executing()
    answer = second.post("wait-for-event", {"event_key": key})
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/event-key-taken")
    assert stored(second.run.id).status == "executing"


def test_a_final_run_cannot_wait(executing: Any) -> None:
    executor = executing()
    executor.post("complete")
    assert executor.post("wait-for-event", {"event_key": "k"}).status_code == 410


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"event_key": 5}, 400),
        *[({"event_key": f"a{character}b"}, 400) for character in "/\\?#% \t\n\x1f\x7f\x85\xa0"],
        ({"event_key": ""}, 400),
        ({"event_key": "ä" * 257}, 400),
        ({"event_key": "k", "timeout_secs": 0}, 422),
        ({"event_key": "k", "timeout_secs": -1}, 422),
        ({"event_key": "k", "timeout_secs": 30 * 86_400 + 1}, 422),
        ({"event_key": "k", "timeout_secs": "60"}, 400),
        ({"event_key": "k", "notify_url": "ftp://a.example"}, 422),
        ({"event_key": "k", "notify_url": "a.example"}, 422),
        ({"event_key": "k", "notify_url": "http://"}, 422),
        ({"event_key": "k", "notify_url": "http://a:b/"}, 422),
        ({"event_key": "k", "notify_url": "http://a b/"}, 422),
        ({"event_key": "k", "notify_url": "http://[a/"}, 422),
        ({"event_key": "k", "notify_url": 5}, 400),
        ({"event_key": "k", "notify_url": "http://a.example/" + "x" * 2048}, 400),
    ],
)
def test_faulty_waits_have_the_status_of_the_specification(
    executing: Any, stored: Any, body: Any, status: int
) -> None:
    executor = executing()
    answer = executor.post("wait-for-event", body)
    assert answer.status_code == status, answer.text
    assert stored(executor.run.id).status == "executing"


@pytest.mark.parametrize(
    "more", [{"timeout_secs": 30 * 86_400}, {"timeout_secs": 1.5}, {"notify_url": None}, {"unknown": 1}]
)
def test_the_limits_themselves_are_allowed(executing: Any, more: Any) -> None:
    key = uuid4().hex + "ä" * 240
    answer = executing().post("wait-for-event", {"event_key": key, **more})
    assert (answer.status_code, answer.get_json()["status"]) == (200, "waiting")


def test_a_notice_is_recorded_for_the_url(executing: Any, rows: Any, key: str) -> None:
    executor, url = executing(), "https://a.example:8443/hook?x=1"
    answer = executor.post("wait-for-event", {"event_key": key, "notify_url": url}).get_json()
    [row] = rows(
        "SELECT reference FROM delivery WHERE kind = 'notify' AND reference->>'event_key' = :k", k=key
    )
    assert row["reference"] == {
        "run": str(executor.run.id),
        "event_key": key,
        "trigger_id": answer["trigger_id"],
        "url": url,
        "expires_at": answer["expires_at"],
    }


def test_canceling_a_run_that_waits_releases_its_wait(
    executing: Any, stored: Any, engine: Engine, rows: Any, key: str
) -> None:
    executor = executing()
    executor.post("wait-for-event", {"event_key": key})
    with transaction(engine) as connection:
        family.request_cancel(connection, executor.run.id)
    assert stored(executor.run.id).status == "canceled"
    assert rows("SELECT * FROM wait WHERE key = :key", key=key) == []
    assert executing().post("wait-for-event", {"event_key": key}).get_json()["status"] == "waiting"


def test_a_callers_run_hears_of_the_event_by_heartbeat_and_by_repeating_the_wait(
    calling: Any, stored: Any, send: Send, key: str
) -> None:
    waiting = calling.post("wait-for-event", {"event_key": key}).get_json()
    assert "event" not in calling.post("heartbeat").get_json()
    send(key, {"n": 1})
    assert stored(calling.run.id).status == "executing"
    event = calling.post("heartbeat").get_json()["event"]
    assert event.pop("received_at")
    assert event == {"event_key": key, "trigger_id": waiting["trigger_id"], "payload": {"n": 1}}
    received = calling.post("wait-for-event", {"event_key": key}).get_json()
    assert received == {
        "status": "received",
        "event_key": key,
        "trigger_id": waiting["trigger_id"],
        "payload": {"n": 1},
    }
    assert "event" not in calling.post("heartbeat").get_json()
    assert calling.post("complete").get_json()["status"] == "completed"


def test_a_callers_wait_repeated_under_its_key_is_answered_with_the_event(
    calling: Any, send: Send, key: str
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first = calling.post("wait-for-event", {"event_key": key}, headers=headers).get_json()
    send(key, 1)
    again = calling.post("wait-for-event", {"event_key": key}, headers=headers).get_json()
    assert (first["status"], again["status"]) == ("waiting", "received")
    assert again["trigger_id"] == first["trigger_id"]
