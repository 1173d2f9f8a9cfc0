"""PUT /internal/runs/{run}/outcome: what a run's end makes visible, and what it takes away."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Engine, text

from common.objects import S3Store, StorageUnavailable

LIST = "/api/v1/output-sets"
LOST = ("failed", "timed_out", "crashed", "dead_letter", "system_failed", "canceled", "expired")


def listed(door: Any, partner: str) -> list[str]:
    return [item["uid"] for item in door.get(f"{LIST}?partner={partner}", partner).json]


def test_completion_publishes_the_sealed_sets_of_its_lease_only(door: Any, work: Any, engine: Engine) -> None:
    old = work.make({"a": b"old"}, lease=1)
    unsealed = work.declare({"b": b"x"}, lease=2, name="unsealed")["uid"]
    first = work.make({"a": b"1"}, lease=2, name="first")
    second = work.make({"a": b"2"}, lease=2, name="second")
    sets = work.end(lease=2)
    assert [(each["uid"], each["name"], each["kind"]) for each in sets] == [
        (first, "first", "result"),
        (second, "second", "result"),
    ]
    assert listed(door, work.partner) == [first, second]
    with engine.connect() as connection:
        uids = connection.execute(text("SELECT uid FROM output_set WHERE run_id = :run"), {"run": work.run})
        assert {str(uid) for (uid,) in uids} == {first, second}
    assert not {old, unsealed} & set(listed(door, work.partner))


def test_the_objects_of_losers_go_and_those_of_winners_stay(work: Any, store: S3Store) -> None:
    old = work.make({"a": b"old", "b": b"old"}, lease=1)
    new = work.make({"a": b"new"}, lease=2)
    work.end(lease=2)
    assert store.look_up(f"{work.run}/1/{old}/a") is None
    assert store.look_up(f"{work.run}/1/{old}/b") is None
    assert store.look_up(f"{work.run}/2/{new}/a") is not None


def test_only_the_sets_that_complete_named_are_published(door: Any, work: Any) -> None:
    named = work.make({"a": b"1"}, name="named")
    work.make({"a": b"1"}, name="not named")
    assert [each["uid"] for each in work.end(sets=[named, str(uuid.uuid4()), "nonsense"])] == [named]
    assert listed(door, work.partner) == [named]


def test_naming_no_set_publishes_none(door: Any, work: Any) -> None:
    work.make({"a": b"1"})
    assert work.end(sets=[]) == []
    assert listed(door, work.partner) == []


@pytest.mark.parametrize("status", LOST)
def test_a_run_that_did_not_complete_publishes_its_reports_only(
    door: Any, work: Any, store: S3Store, status: str
) -> None:
    result = work.make({"a": b"1"}, name="result")
    report = work.make({"rates.csv": b"1"}, name="report", kind="report")
    assert [(each["uid"], each["kind"]) for each in work.end(status)] == [(report, "report")]
    assert listed(door, work.partner) == []
    assert door.post_links(report, work.partner).status_code == 200
    assert door.post_links(result, work.partner).status_code == 404
    assert store.look_up(f"{work.run}/1/{result}/a") is None


def test_an_outcome_repeated_gets_the_first_answer(door: Any, work: Any) -> None:
    work.make({"a": b"1"})
    first, second = work.tell(), work.tell()
    assert (second.status_code, second.json) == (200, first.json)
    assert work.tell("failed").json == first.json
    assert len(listed(door, work.partner)) == 1


def test_an_outcome_of_another_lease_is_409(work: Any) -> None:
    work.end(lease=2)
    answer = work.tell(lease=3)
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/outcome-differs")


def test_two_outcomes_at_once_publish_once(door: Any, work: Any) -> None:
    uid = work.make({"a": b"1"})
    with ThreadPoolExecutor(max_workers=8) as threads:
        answers = list(threads.map(lambda _: work.tell(), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert listed(door, work.partner) == [uid]


def test_a_run_without_sets_ends_too(work: Any) -> None:
    assert work.end("canceled", lease=0) == []


def test_one_outcome_in_a_hundred_forgets_old_idempotency_keys(door: Any, work: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO idempotency_key VALUES ('old', '', '{}', now() - interval '25 hours')")
        )
    counted = text("SELECT count(*) FROM idempotency_key WHERE namespace = 'old'")
    left, hundreds = [], uuid.uuid4().int // 100 * 100
    for number in (hundreds + 1, hundreds):
        work.run = str(uuid.UUID(int=number))
        work.end()
        with engine.connect() as connection:
            left.append(connection.execute(counted).scalar_one())
    assert left == [1, 0]


def test_nothing_is_made_or_sealed_after_the_outcome(work: Any) -> None:
    late = work.declare({"a": b"1"}, lease=1)["uid"]
    work.end(lease=2)
    for lease in (1, 2):
        body = {"name": "late", "files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64}]}
        answer = work.post("", lease, json=body)
        assert (answer.status_code, answer.json["message"]) == (410, "run has reached a terminal state")
    assert work.post(f"/{late}/seal", 1).status_code == 404


def test_sets_declared_while_the_outcome_comes_do_not_linger(work: Any, engine: Engine) -> None:
    def act(number: int) -> int:
        if number == 6:
            return int(work.tell("failed").status_code)
        body = {"name": f"{number}", "files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64}]}
        return int(work.post("", json=body).status_code)

    with ThreadPoolExecutor(max_workers=6) as threads:
        statuses = list(threads.map(act, range(12)))
    assert set(statuses) <= {200, 201, 410}
    with engine.connect() as connection:
        count = connection.execute(
            text("SELECT count(*) FROM output_set WHERE run_id = :run"), {"run": work.run}
        )  # fmt: skip
        assert count.scalar_one() == 0


@contextmanager
def storage_away(store: S3Store) -> Iterator[None]:
    with mock.patch.object(store, "remove_under", side_effect=StorageUnavailable("away")):
        yield


def test_removal_that_failed_is_taken_up_by_the_repeat(door: Any, work: Any, store: S3Store) -> None:
    old = work.make({"a": b"old"}, lease=1)
    new = work.make({"a": b"new"}, lease=2)
    with storage_away(store):
        assert work.tell(lease=2).status_code == 503
        assert listed(door, work.partner) == [new]
    assert store.look_up(f"{work.run}/1/{old}/a") is not None
    assert [each["uid"] for each in work.end(lease=2)] == [new]
    assert store.look_up(f"{work.run}/1/{old}/a") is None
    with storage_away(store):
        assert work.tell(lease=2).status_code == 200


@pytest.mark.parametrize(
    "change", [{"lease": "1"}, {"lease": None}, {"status": "done"}, {"job": {}}, {"sets": "x"}]
)
def test_a_faulty_outcome_is_400_and_records_nothing(door: Any, work: Any, change: dict[str, Any]) -> None:
    answer = door.put(f"/internal/runs/{work.run}/outcome", {**work.outcome(), **change})
    assert answer.status_code == 400
    assert work.end("failed") == []


def test_only_services_tell_outcomes_and_years(door: Any, work: Any, reader: Any) -> None:
    for target in (f"/internal/runs/{work.run}/outcome", "/internal/school-years"):
        for caller in (reader(work.partner), work.executor()):
            assert door.call(caller, "PUT", target, json=work.outcome()).status_code == 403


def test_school_years_are_replaced(door: Any, partner: str) -> None:
    def status(year: str) -> int:
        return int(door.get(f"{LIST}?partner={partner}&schoolYear={year}", partner).status_code)

    answer = door.put("/internal/school-years", {"years": ["2027", "2025", "2027"]})
    assert (answer.status_code, answer.json) == (200, {"years": ["2025", "2027"]})
    assert [status(year) for year in ("2025", "2026", "2027")] == [200, 400, 200]
    assert door.put("/internal/school-years", {"years": ["27"]}).status_code == 400
    assert door.put("/internal/school-years", {"years": ["2025", "2026"]}).status_code == 200
