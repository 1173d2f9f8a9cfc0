"""Named outputs through the API, and the schemas they are checked against."""

import socket
import time
from typing import Any
from uuid import uuid4

import pytest

from jobs.engine import schemas

DOUBLING = {
    "$ref": "#/$defs/d0",
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": True},
}


def test_an_output_is_kept_and_the_same_key_keeps_its_id(executing: Any, rows: Any) -> None:
    executor = executing()
    first = executor.post("output", {"output_key": "summary", "value": {"rows": 1}})
    assert first.status_code == 201
    document = first.get_json()
    assert (document["key"], document["output_key"]) == ("summary", "summary")
    assert (document["value"], document["run_id"]) == ({"rows": 1}, str(executor.run.id))
    assert document["created_at"].endswith("Z")
    again = executor.post("output", {"key": "summary", "value": None}).get_json()
    assert (again["id"], again["value"]) == (document["id"], None)
    assert again["created_at"] == document["created_at"]
    assert executor.post("output", {"key": "other", "value": 1}).get_json()["id"] != document["id"]
    assert len(rows("SELECT FROM run_output WHERE run_id = :id", id=executor.run.id)) == 2


def test_output_key_wins_over_its_older_spelling(executing: Any) -> None:
    answer = executing().post("output", {"output_key": "new", "key": "old", "value": 1})
    assert answer.get_json()["key"] == "new"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"value": 1}, 422),
        ({"key": "k"}, 422),
        ({"key": "", "value": 1}, 400),
        ({"key": "k" * 257, "value": 1}, 400),
        ({"key": 5, "value": 1}, 400),
        ({"key": "k", "value": 1, "schema": "text"}, 400),
        ({"key": "k", "value": 1, "schema": []}, 400),
        ({"key": "k", "value": "x" * 1024 * 1024}, 413),
        ({"key": "k", "value": 1, "schema": {"description": "x" * 65_536}}, 400),
    ],
)
def test_what_is_faulty_is_told_and_nothing_kept(executing: Any, rows: Any, body: Any, status: int) -> None:
    executor = executing()
    assert executor.post("output", body).status_code == status
    assert not rows("SELECT FROM run_output WHERE run_id = :id", id=executor.run.id)


@pytest.mark.parametrize(
    ("schema", "value", "type"),
    [
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": 1}, None),
        ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, [1, 2], None),
        ({"type": "string", "pattern": "^a+$"}, "aaa", None),
        (True, {"any": "thing"}, None),
        (None, 1, None),
        ({"type": "string"}, 5, "value-breaks-schema"),
        ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, ["1"], "value-breaks-schema"),
        ({"required": ["n"]}, {}, "value-breaks-schema"),
        (False, 1, "value-breaks-schema"),
        ({"type": 5}, 1, "schema-unusable"),
        ({"$schema": "http://example.org/unknown"}, 1, "schema-unusable"),
        ({"$ref": "#/nowhere"}, 1, "schema-unusable"),
        ({"$ref": "file:///etc/hostname"}, 1, "schema-unusable"),
        ({"pattern": "("}, "a", "schema-unusable"),
    ],
)
def test_a_value_is_kept_only_if_it_fits_its_schema(
    executing: Any, schema: Any, value: Any, type: str | None
) -> None:
    answer = executing().post("output", {"key": "k", "value": value, "schema": schema})
    if type is None:
        assert answer.status_code == 201, answer.text
        assert answer.get_json().get("schema") == schema
    else:
        assert (answer.status_code, answer.get_json()["type"]) == (400, f"/problems/{type}")


def test_a_reference_to_elsewhere_is_never_fetched(executing: Any) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/schema.json"
        answer = executing().post("output", {"key": "k", "value": 1, "schema": {"$ref": url}})
        assert answer.get_json()["type"] == "/problems/schema-unusable"
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (DOUBLING, 5),
        ({"pattern": "^(a+)+$"}, "a" * 200_000 + "b"),
        ({"patternProperties": {"^(a|a)*$": True}}, {"a" * 200_000 + "b": 1}),
        ({"uniqueItems": True}, [{"n": number} for number in range(50_000)]),
        ({"$ref": "#"}, 1),
        ({"multipleOf": 0.01}, 10**400),
    ],
)
def test_a_hostile_schema_or_value_is_answered_in_time(executing: Any, schema: Any, value: Any) -> None:
    begun = time.monotonic()
    assert executing().post("output", {"key": "k", "value": value, "schema": schema}).status_code in (
        201,
        400,
    )
    assert time.monotonic() - begun < schemas.PATIENCE_SECONDS + 15


def test_a_schema_that_takes_too_much_is_not_usable() -> None:
    with pytest.raises(schemas.SchemaUnusable, match="too much"):
        schemas.check(DOUBLING, 5)


def test_a_thousand_outputs_are_kept_and_no_more(executing: Any, rows: Any) -> None:
    executor = executing()
    rows(
        "INSERT INTO run_output (id, run_id, key, value)"
        " SELECT gen_random_uuid(), :id, 'k' || n, '1' FROM generate_series(1, 1000) n",
        id=executor.run.id,
    )
    assert executor.post("output", {"key": "one-more", "value": 1}).status_code == 400
    assert executor.post("output", {"key": "k5", "value": 2}).status_code == 201


def test_an_output_repeated_under_its_idempotency_key_is_the_same(executing: Any) -> None:
    executor, key = executing(), {"Idempotency-Key": uuid4().hex}
    answers = [executor.post("output", {"key": "k", "value": 1}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].get_json() == answers[1].get_json()
    assert executor.post("output", {"key": "k", "value": 2}, headers=key).status_code == 422


def test_the_runs_own_secrets_are_not_stored(executing: Any, rows: Any) -> None:
    executor, secret = executing(), "ods-secret-value"
    body = {"key": f"k {secret}", "value": {secret: [secret]}, "schema": {"description": secret}}
    key = {"Idempotency-Key": uuid4().hex}
    first, again = (executor.post("output", body, headers=key) for _ in range(2))
    assert first.get_json() == again.get_json()
    stored = str(rows("SELECT * FROM run_output WHERE run_id = :id", id=executor.run.id))
    assert secret not in stored
    assert stored.count("[redacted]") == 4


def test_nothing_is_put_out_for_another_lease_or_a_run_that_is_over(executing: Any) -> None:
    executor, body = executing(), {"key": "k", "value": 1}
    assert executor.post("output", body, lease=99).status_code == 401
    assert executor.post("output", body, run=uuid4()).status_code == 403
    executor.post("complete")
    assert executor.post("output", body).status_code == 410
