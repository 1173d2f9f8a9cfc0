"""Webhooks over HTTP: made with a secret, listed without it, deleted; those of other partners are nowhere."""

import base64
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from common.database import transaction
from common.principal import Principal
from jobs.deliveries import webhooks

EVENTS = ["output_set.published", "run.completed", "run.failed"]
URL = "https://district.example:8443/hooks?from=taxiway"
GOOD = {"partner": "ea", "url": URL, "events": EVENTS}
OTHERS = Principal(
    kind="client", subject="o", client_id="o", scopes=frozenset({"create:jobs"}), partners=frozenset({"acme"})
)


@pytest.fixture
def make(door: Any) -> Callable[..., TestResponse]:
    """Create a webhook, good but for what is named; a member named None is left out."""

    def post(headers: Any = None, **changed: Any) -> TestResponse:
        body = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
        answer: TestResponse = door.post("/v1/webhooks", body, headers=headers or {})
        return answer

    return post


@pytest.fixture(autouse=True)
def _empty(rows: Any) -> None:
    rows("DELETE FROM delivery")
    rows("DELETE FROM webhook")


def test_a_webhook_is_made_and_its_secret_shown_once(make: Any, door: Any) -> None:
    answer = make()
    assert answer.status_code == 201
    made = answer.get_json()
    assert answer.headers["Location"] == f"/v1/webhooks/{made['id']}"
    assert len(base64.b64decode(made.pop("secret").removeprefix("whsec_"))) == 32
    assert {name: made[name] for name in GOOD} == GOOD
    assert made["created_at"].endswith("Z")
    listed = door.get("/v1/webhooks?partner=ea")
    assert (listed.status_code, listed.get_json()) == (200, {"items": [made]})


def test_a_secret_is_neither_stored_in_the_clear_nor_logged(
    make: Any, rows: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = make(headers={"Idempotency-Key": "s"}).get_json()["secret"].removeprefix("whsec_")
    stored = str(rows("SELECT * FROM webhook")) + str(rows("SELECT * FROM idempotency_key"))
    printed = capsys.readouterr()
    for place in (stored, caplog.text, printed.out, printed.err):
        assert secret not in place


def test_a_repeat_with_the_same_key_makes_nothing_and_shows_no_secret(make: Any, door: Any) -> None:
    first = make(headers={"Idempotency-Key": "k"})
    again = make(headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 409)
    assert again.get_json()["type"] == "/problems/secret-shown-once"
    assert "whsec_" not in again.text
    assert len(door.get("/v1/webhooks?partner=ea").get_json()["items"]) == 1


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://a.example",
            "a.example",
            "",
            "http://",
            "http://u:p@a.example/",
            "http://a.example@b.example",
        ),
        *("http://a.example:0", "http://a.example:99999", "http://a example/", "http://a.example/\\b"),
        *("http://a.example/é", "javascript:alert(1)", "https://a.example/" + "x" * 2048, 5, None),
    ],
)
def test_what_is_no_plain_url_is_refused(make: Any, url: Any) -> None:
    answer = make(url=url)
    assert answer.status_code == 400, answer.text
    assert "url" in answer.get_json()["details"]


@pytest.mark.parametrize(
    "events", [[], ["run.started"], ["run.failed", ""], "run.failed", None, [5], EVENTS * 2]
)
def test_events_nobody_knows_are_refused(make: Any, events: Any) -> None:
    answer = make(events=events)
    assert answer.status_code == 400, answer.text
    assert any(field.startswith("events") for field in answer.get_json()["details"])


def test_a_partner_has_at_most_twenty_webhooks(make: Any, door: Any) -> None:
    made = [make() for _ in range(20)]
    assert {answer.status_code for answer in made} == {201}
    refused = make()
    assert (refused.status_code, refused.get_json()["type"]) == (400, "/problems/too-many-webhooks")
    door.call(_client(), "DELETE", f"/v1/webhooks/{made[0].get_json()['id']}")
    assert make().status_code == 201


def _client(*partners: str, kind: str = "client", scopes: tuple[str, ...] = ("create:jobs",)) -> Principal:
    allowed = frozenset(partners or ("ea",))
    return Principal(kind=kind, subject="s", client_id="c", scopes=frozenset(scopes), partners=allowed)


def test_a_webhook_of_another_partner_is_nowhere(make: Any, door: Any) -> None:
    webhook = make().get_json()["id"]
    for method, target in (
        ("DELETE", f"/v1/webhooks/{webhook}"),
        ("GET", f"/v1/webhooks/{webhook}/deliveries"),
        ("DELETE", f"/v1/webhooks/{uuid4()}"),
        ("GET", f"/v1/webhooks/{uuid4()}/deliveries"),
    ):
        answer = door.call(OTHERS, method, target)
        assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/webhook-not-found")
    listed = door.call(OTHERS, "GET", "/v1/webhooks?partner=ea")
    made = door.call(OTHERS, "POST", "/v1/webhooks", json=GOOD)
    assert {listed.get_json()["type"], made.get_json()["type"]} == {"/problems/partner-not-found"}
    assert {listed.status_code, made.status_code} == {404}
    assert door.get(f"/v1/webhooks/{webhook}/deliveries").status_code == 200


def test_an_api_key_may_manage_webhooks_and_a_reader_or_a_run_may_not(door: Any) -> None:
    key = _client(kind="api-key")
    assert door.call(key, "POST", "/v1/webhooks", json=GOOD).status_code == 201
    for caller in (_client(scopes=("read:jobs",)), _client(kind="run"), _client(kind="service")):
        assert door.call(caller, "GET", "/v1/webhooks?partner=ea").status_code == 403
        assert door.call(caller, "POST", "/v1/webhooks", json=GOOD).status_code == 403


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_what_is_no_uuid_is_no_webhook(door: Any, method: str) -> None:
    target = "/v1/webhooks/nothing" + ("/deliveries" if method == "GET" else "")
    assert door.call(_client(), method, target).status_code == 400


def test_a_deleted_webhook_is_gone_and_its_deliveries_are_closed(make: Any, door: Any, rows: Any) -> None:
    webhook = make().get_json()["id"]
    _deliveries(rows, webhook, 1)
    assert door.call(_client(), "DELETE", f"/v1/webhooks/{webhook}").status_code == 204
    assert door.get("/v1/webhooks?partner=ea").get_json() == {"items": []}
    assert door.get(f"/v1/webhooks/{webhook}/deliveries").status_code == 404
    assert door.call(_client(), "DELETE", f"/v1/webhooks/{webhook}").status_code == 404
    assert rows("SELECT 1 FROM delivery WHERE closed_at IS NULL") == []


def _deliveries(rows: Any, webhook: str, count: int) -> None:
    rows(
        "INSERT INTO delivery (kind, webhook_id, reference) SELECT 'webhook', :id, jsonb_build_object("
        " 'id', gen_random_uuid(), 'event', 'run.failed', 'run', gen_random_uuid())"
        " FROM generate_series(1, :count)",
        id=webhook,
        count=count,
    )


def test_deliveries_tell_how_far_they_have_come(make: Any, door: Any, rows: Any) -> None:
    webhook = make().get_json()["id"]
    _deliveries(rows, webhook, 3)
    first, second, third = (row["id"] for row in rows("SELECT id FROM delivery ORDER BY id"))
    rows("UPDATE delivery SET closed_at = now(), last_status = 200, tries = 1 WHERE id = :id", id=first)
    rows(
        "UPDATE delivery SET closed_at = now(), last_status = 503, last_error = 'it answered 503', tries = 10"
        " WHERE id = :id",
        id=second,
    )
    rows("UPDATE delivery SET last_error = 'it cannot be reached', tries = 2 WHERE id = :id", id=third)
    items = door.get(f"/v1/webhooks/{webhook}/deliveries").get_json()["items"]
    assert [(each["state"], each["tries"], each["last_status"], each["last_error"]) for each in items] == [
        ("pending", 2, None, "it cannot be reached"),
        ("given_up", 10, 503, "it answered 503"),
        ("delivered", 1, 200, None),
    ]
    assert [each["next_try_at"] is None for each in items] == [False, True, True]
    assert [each["closed_at"] is None for each in items] == [True, False, False]
    assert {each["type"] for each in items} == {"run.failed"}
    assert all(UUID(each["id"].removeprefix("msg_")) and UUID(each["run_id"]) for each in items)


def test_pages_of_deliveries_go_to_the_end_and_miss_none(make: Any, door: Any, rows: Any) -> None:
    webhook = make().get_json()["id"]
    _deliveries(rows, webhook, 7)
    seen: list[str] = []
    cursor = ""
    while True:
        page = door.get(f"/v1/webhooks/{webhook}/deliveries?limit=3&cursor={cursor}").get_json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    for query in ("limit=0", "limit=x", "cursor=x", "cursor=WyJ4Il0"):
        assert door.get(f"/v1/webhooks/{webhook}/deliveries?{query}").status_code == 400


def test_two_makers_at_once_do_not_pass_the_limit(make: Any, engine: Engine, sealer: Any) -> None:
    for _ in range(19):
        make()
    with transaction(engine) as connection:
        values: dict[str, Any] = {
            "partner": "ea",
            "url": URL,
            "events": EVENTS,
            "secret": "whsec_",
            "created_by": "",
        }
        webhooks.create(connection, sealer, **values)
        with transaction(engine) as other:
            other.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(Exception, match="lock timeout"):
                webhooks.create(other, sealer, **values)


def test_the_public_keys_are_anybodys_to_read(app: Any, services: Any) -> None:
    answer = app.test_client().get("/v1/webhook-keys")
    keys = answer.get_json()["keys"]
    assert (answer.status_code, len(keys)) == (200, len(services.settings.sealing_keys))
    assert all(len(base64.b64decode(key.removeprefix("whpk_"))) == 32 for key in keys)
