"""Clients send events and list who waits for them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from common.database import transaction
from common.principal import Principal
from jobs.engine import leases, line, signals, turns
from jobs.engine.line import NewRun
from jobs.engine.signals import Wait, Wish

NEW_JOB = text("INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', '{}')")


def caller(*partners: str, scope: str = "create:jobs read:jobs", kind: str = "client") -> Principal:
    return Principal(
        kind=kind, subject="s", scopes=frozenset(scope.split()), partners=frozenset(partners or ("ea",))
    )


@pytest.fixture
def send(door: Any) -> Callable[..., Any]:
    def post(key: str, body: Any, who: Principal | None = None, **options: Any) -> Any:
        return door.post(f"/v1/events/{quote(key)}/send", body, caller=who or caller(), **options)

    return post


@pytest.fixture
def waiting(engine: Engine) -> Callable[..., Wait]:
    """A run that waits for a key."""

    def make(key: str, partner: str = "ea") -> Wait:
        uid, pool = uuid4(), uuid4().hex
        new = NewRun(job_id=uid, partner=partner, payload={}, inputs={}, created_by="test", pool=pool)
        with transaction(engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "partner": partner})
            run = line.submit(connection, new)
            turns.dequeue(connection, pool, 1)
            leases.claim(connection, run.id, 1, uuid4(), "x")
            begun = signals.wait(connection, run.id, 1, Wish(key=key))
        assert isinstance(begun, Wait)
        return begun

    return make


def test_an_event_is_accepted_and_shown(send: Any, rows: Any) -> None:
    key = f"order:{uuid4().hex}-ä"
    answer = send(key, {"payload": {"n": [1, None]}})
    assert answer.status_code == 202, answer.text
    [row] = rows("SELECT * FROM signal WHERE key = :key", key=key)
    document = answer.get_json()
    assert document.pop("sent_at").endswith("Z")
    assert document == {"id": row["id"], "partner": "ea", "event_key": key}
    assert (row["partner"], row["payload"]) == ("ea", {"n": [1, None]})


def test_an_event_puts_the_run_that_waits_in_line_and_says_so(
    send: Any, waiting: Any, rows: Any, services: Any
) -> None:
    begun = waiting(uuid4().hex)
    services.nudge.told.clear()
    assert send(begun.key, {"payload": 1}).status_code == 202
    [row] = rows("SELECT status FROM run WHERE id = :id", id=begun.run_id)
    assert row["status"] == "queued"
    assert services.nudge.told == [f"run:{begun.run_id}", "line"]


def test_an_event_of_another_partner_leaves_the_run_waiting(send: Any, waiting: Any, rows: Any) -> None:
    begun = waiting(uuid4().hex)
    assert send(begun.key, {"payload": 1}, caller("acme")).status_code == 202
    [row] = rows("SELECT status FROM run WHERE id = :id", id=begun.run_id)
    assert row["status"] == "waiting"


def test_a_repeat_under_its_idempotency_key_is_one_event_and_another_key_another(
    send: Any, rows: Any
) -> None:
    key, headers = uuid4().hex, {"Idempotency-Key": uuid4().hex}
    answers = [send(key, {"payload": 1}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].get_json() == answers[1].get_json()
    assert send(key, {"payload": 2}, headers=headers).status_code == 422
    send(key, {"payload": 1}, headers={"Idempotency-Key": uuid4().hex})
    assert len(rows("SELECT * FROM signal WHERE key = :key", key=key)) == 2


def test_a_repeat_under_its_key_is_no_event_even_when_the_first_was_received(
    send: Any, waiting: Any, rows: Any
) -> None:
    begun, headers = waiting(uuid4().hex), {"Idempotency-Key": uuid4().hex}
    for _ in range(2):
        send(begun.key, {"payload": 1}, headers=headers)
    assert len(rows("SELECT * FROM signal WHERE key = :key", key=begun.key)) == 1


def test_without_a_key_an_equal_event_is_a_repeat_of_the_newest_in_line(send: Any, rows: Any) -> None:
    key = uuid4().hex
    ids = [send(key, {"payload": payload}).get_json()["id"] for payload in (1, 1, 2, 1)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    kept = rows("SELECT payload FROM signal WHERE key = :key ORDER BY id", key=key)
    assert [row["payload"] for row in kept] == [1, 2, 1]


@pytest.mark.parametrize(
    ("key", "body", "status", "rule"),
    [
        ("k", {}, 422, "invalid-input"),
        ("k", {"payload": 1, "partner": "acme"}, 403, "invalid-partner"),
        ("k", {"payload": 1, "partner": 5}, 400, "invalid-input"),
        ("a b", {"payload": 1}, 400, "invalid-key"),
        ("a%b", {"payload": 1}, 400, "invalid-key"),
        ("a\x7fb", {"payload": 1}, 400, "invalid-key"),
        ("k" * 513, {"payload": 1}, 400, "invalid-key"),
        ("k", {"payload": "x" * 1024 * 1024}, 413, "payload-too-large"),
    ],
)
def test_a_faulty_event_is_refused_by_its_rule(
    send: Any, key: str, body: Any, status: int, rule: str
) -> None:
    answer = send(key, body)
    assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{rule}")


def test_who_has_several_partners_names_one(send: Any, rows: Any) -> None:
    key, several = uuid4().hex, caller("ea", "acme")
    answer = send(key, {"payload": 1}, several)
    assert (answer.status_code, list(answer.get_json()["details"])) == (422, ["partner"])
    assert send(key, {"payload": 1, "partner": "acme"}, several).status_code == 202
    assert [row["partner"] for row in rows("SELECT * FROM signal WHERE key = :key", key=key)] == ["acme"]


def test_who_has_no_partner_sends_nothing(send: Any) -> None:
    nobody = Principal(kind="client", subject="s", scopes=frozenset({"create:jobs"}))
    assert send("k", {"payload": 1}, nobody).status_code == 422
    assert send("k", {"payload": 1, "partner": "ea"}, nobody).status_code == 403


def test_sending_needs_create_jobs_and_listing_read_jobs_and_no_run_may_do_either(
    send: Any, door: Any
) -> None:
    assert send("k", {"payload": 1}, caller(scope="read:jobs")).status_code == 403
    assert door.get("/v1/events?partner=ea", caller=caller(scope="create:jobs")).status_code == 403
    assert send("k", {"payload": 1}, caller(kind="run")).status_code == 403
    assert send(uuid4().hex, {"payload": 1}, caller(kind="api-key")).status_code == 202


def test_the_waits_of_a_partner_are_listed_in_pages_in_their_order(door: Any, waiting: Any) -> None:
    partner = f"p-{uuid4().hex}"
    begun = sorted((waiting(f"k{n}", partner) for n in range(5)), key=lambda wait: wait.id)
    waiting("k0", f"p-{uuid4().hex}")
    seen: list[Any] = []
    cursors: list[Any] = [""]
    for _ in range(3):
        target = f"/v1/events?partner={partner}&limit=2&cursor={cursors[-1]}"
        page = door.get(target, caller=caller(partner)).get_json()
        seen += page["items"]
        cursors.append(page["next"])
    assert cursors[-1] is None
    assert [UUID(each["trigger_id"]) for each in seen] == [wait.id for wait in begun]
    assert seen[0].keys() == {"trigger_id", "event_key", "run_id", "created_at", "expires_at"}
    assert seen[0]["run_id"] == str(begun[0].run_id)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?partner=acme", 404),
        ("?partner=ea&limit=0", 400),
        ("?partner=ea&cursor=x", 400),
        ("?partner=ea&cursor=WzFd", 400),
        ("?partner=ea", 200),
    ],
)
def test_the_query_of_the_list_is_checked(door: Any, query: str, status: int) -> None:
    assert door.get(f"/v1/events{query}", caller=caller()).status_code == status
