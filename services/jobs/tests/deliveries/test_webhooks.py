"""Webhooks: recorded with what decides them, signed, repeated for a day, nobody in another's way."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Engine, text

from common.clock import SystemClock, rfc3339
from common.database import transaction
from common.sealing import Sealer
from jobs.deliveries import outbox, outcomes, posting, webhooks
from jobs.deliveries.outbound import GuardedHttp
from jobs.deliveries.posting import Post, Sender, Tried
from jobs.deliveries.signing import PlatformKeys
from jobs.deliveries.tables import Delivery

KEYS = {"seal": b"s" * 32, "old": b"o" * 32}
SET = {"uid": "a", "kind": "result", "name": "n", "published_at": "2026-01-01T00:00:00.000Z"}
HOOKS = "SELECT * FROM delivery WHERE kind = 'webhook' ORDER BY id"
SLEEPLESS = "UPDATE delivery SET due_at = now() WHERE kind = 'webhook'"
WAIT_ID = "018f0000-0000-7000-8000-000000000001"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A post and what it noted."""

    post: Post
    noted: list[Tried]

    def sent(self, count: int) -> list[Tried]:
        """Let the post work until so many tries were kept."""
        end = time.monotonic() + 30
        while len(self.noted) < count:
            assert time.monotonic() < end
            self.post.woken.clear()
            self.post.deliver()
            self.post.woken.wait(0.05)
        return self.noted


def desk(engine: Engine, take: Any, *allowed: str) -> Desk:
    noted: list[Tried] = []
    outbound = GuardedHttp(allowed, "WEBHOOK_ALLOWED_HOSTS", seconds=15)
    sender = Sender(outbound, Sealer(KEYS), PlatformKeys(KEYS), SystemClock())
    return Desk(post=Post(engine, sender, take, noted.append, threads=16), noted=noted)


@pytest.fixture
def hooks(engine: Engine, mailbox: Any) -> Iterator[Desk]:
    made = desk(engine, posting.to_webhooks, "127.0.0.1")
    yield made
    mailbox.release.set()
    made.post.close()


@pytest.fixture
def notify(engine: Engine, mailbox: Any) -> Iterator[Desk]:
    made = desk(engine, posting.to_notify_urls, "127.0.0.1")
    yield made
    made.post.close()


def is_signed(secret: str, headers: Any, body: str) -> bool:
    """Verify as a receiver does who has read Standard Webhooks and nothing of ours."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    key = base64.b64decode(secret[len("whsec_") :])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and headers["webhook-signature"] == f"v1,{expected}"


def test_a_completed_run_is_told_signed_and_once(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    _, secret = subscribe(f"{mailbox.url}/ok")
    run = ended()
    hooks.sent(1)
    [(headers, body)] = mailbox.at("/ok")
    assert is_signed(secret, headers, body)
    message = json.loads(body)
    assert (message["id"], message["type"]) == (headers["webhook-id"], "run.completed")
    assert message["created_at"].endswith("Z")
    assert message["data"] == {
        "run_id": str(run.id),
        "number": run.number,
        "job_id": str(run.job_id),
        "partner": "acme",
        "status": "completed",
        "attempt": 1,
        "error": None,
        "error_class": None,
        "finished_at": rfc3339(run.finished_at),
    }
    [delivery] = rows(HOOKS)
    assert (delivery["last_status"], delivery["last_error"]) == (204, None)
    assert delivery["closed_at"] is not None
    assert hooks.post.deliver() == 0


def test_a_failed_run_is_told_with_its_error(hooks: Desk, subscribe: Any, ended: Any, mailbox: Any) -> None:
    subscribe(f"{mailbox.url}/ok")
    ended(error="row 7 has no id")
    hooks.sent(1)
    message = json.loads(mailbox.at("/ok")[0][1])
    data = message["data"]
    assert (message["type"], data["status"], data["error"]) == ("run.failed", "failed", "row 7 has no id")


def test_only_the_partner_and_who_asked_for_the_event_is_told(
    engine: Engine, subscribe: Any, ended: Any, rows: Any
) -> None:
    wanted, _ = subscribe("http://a.example/", "run.failed", "run.completed")
    subscribe("http://b.example/", "run.failed", "output_set.published")
    subscribe("http://c.example/", partner="other")
    deleted, _ = subscribe("http://d.example/")
    with transaction(engine) as connection:
        webhooks.delete(connection, deleted.id, ["acme"])
    ended()
    assert [row["webhook_id"] for row in rows(HOOKS)] == [wanted.id]


def test_every_published_set_is_told_when_the_answer_is_stored(
    engine: Engine, hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    subscribe(f"{mailbox.url}/sets", "output_set.published")
    run = ended(("a", "b"))
    [row] = rows("SELECT * FROM delivery WHERE kind = 'outcome'")
    outcome = Delivery(**{name: row[name] for name in Delivery.__dataclass_fields__})
    report = {**SET, "uid": "b", "kind": "report"}
    for _ in range(2):  # the answer of a repeated outcome tells nothing twice
        with transaction(engine) as connection:
            outcomes.store(connection, [(outcome, {"sets": [SET, report]})])
    hooks.sent(2)
    told = [json.loads(body) for _, body in mailbox.at("/sets")]
    assert {message["type"] for message in told} == {"output_set.published"}
    assert len({message["id"] for message in told}) == 2
    sets = sorted((message["data"].pop("output_set") for message in told), key=lambda each: each["uid"])
    assert sets == [SET, report]
    assert told[0]["data"]["run_id"] == str(run.id)


@pytest.mark.parametrize("reply", [302, 404, 500])
def test_what_is_not_answered_with_a_2xx_is_repeated_with_the_same_id(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any, reply: int
) -> None:
    mailbox.replies["/x"] = reply
    subscribe(f"{mailbox.url}/x")
    ended()
    hooks.sent(1)
    [waiting] = rows(HOOKS)
    assert (waiting["closed_at"], waiting["last_status"]) == (None, reply)
    mailbox.replies.clear()
    rows(SLEEPLESS)
    hooks.sent(2)
    first, second = mailbox.at("/x")
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    assert mailbox.at("/elsewhere") == []
    assert rows(HOOKS)[0]["closed_at"] is not None


def test_a_repeat_says_the_same_though_sets_were_published_in_between(
    engine: Engine, hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    mailbox.replies["/x"] = 500
    subscribe(f"{mailbox.url}/x", "run.completed")
    ended(("a",))
    hooks.sent(1)
    [row] = rows("SELECT * FROM delivery WHERE kind = 'outcome'")
    outcome = Delivery(**{name: row[name] for name in Delivery.__dataclass_fields__})
    with transaction(engine) as connection:
        outcomes.store(connection, [(outcome, {"sets": [SET]})])
    rows(SLEEPLESS)
    hooks.sent(2)
    first, second = mailbox.at("/x")
    assert first[1] == second[1]


def test_after_ten_tries_a_delivery_is_given_up_and_says_why(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    mailbox.replies["/x"] = 503
    subscribe(f"{mailbox.url}/x")
    ended()
    for tries in range(1, 11):
        hooks.sent(tries)
        assert (rows(HOOKS)[0]["closed_at"] is None) == (tries < 10)
        rows(SLEEPLESS)
    assert hooks.post.deliver() == 0
    [given_up] = rows(HOOKS)
    assert (given_up["tries"], given_up["last_status"], given_up["last_error"]) == (
        10,
        503,
        "it answered 503",
    )


def test_a_receiver_that_is_gone_for_good_is_not_tried_again(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    mailbox.replies["/x"] = 410
    subscribe(f"{mailbox.url}/x")
    ended()
    assert hooks.sent(1)[0].result == "given_up"
    assert rows(HOOKS)[0]["closed_at"] is not None


def test_ten_tries_take_about_a_day_and_each_pause_is_longer() -> None:
    pauses = [posting.pause_seconds(tries, lambda: 0.5) for tries in range(1, 11)]
    assert pauses[9] is None
    seconds = [pause for pause in pauses if pause is not None]
    assert seconds == sorted(set(seconds))
    assert 23 * 3600 < sum(seconds) <= 24 * 3600
    assert posting.pause_seconds(1, lambda: 0.0) == pytest.approx(4.5)
    assert posting.pause_seconds(1, lambda: 1.0) == pytest.approx(5.5)
    assert posting.pause_seconds(99) is None


def test_an_address_inside_our_network_is_not_called(
    engine: Engine, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    guarded = desk(engine, posting.to_webhooks)
    subscribe(f"{mailbox.url}/x")
    ended()
    assert guarded.sent(1)[0].result == "failed"
    guarded.post.close()
    assert mailbox.calls == []
    assert "not in WEBHOOK_ALLOWED_HOSTS" in rows(HOOKS)[0]["last_error"]


def test_a_courier_that_dies_in_mid_send_sends_again_with_the_same_id(
    engine: Engine, hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    subscribe(f"{mailbox.url}/x")
    ended()
    with transaction(engine) as connection:
        [taken] = posting.to_webhooks(connection, 10, {})  # and then it dies
    assert hooks.post.deliver() == 0
    rows("UPDATE delivery SET due_at = due_at - make_interval(secs => 60)")
    hooks.sent(1)
    assert mailbox.at("/x")[0][0]["webhook-id"] == webhooks.message_id(taken.reference)
    assert rows(HOOKS)[0]["tries"] == 2


def test_a_slow_receiver_holds_up_few_of_its_own_and_nobody_else(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any
) -> None:
    mailbox.slow.add("/slow")
    subscribe(f"{mailbox.url}/slow", "run.completed")
    subscribe(f"{mailbox.url}/fast", "run.completed", partner="other")
    for _ in range(8):
        ended()
    for _ in range(8):
        ended(partner="other")
    hooks.sent(8)
    assert len(mailbox.at("/fast")) == 8
    assert len(mailbox.at("/slow")) <= posting.AT_ONCE
    mailbox.release.set()
    hooks.sent(16)
    assert len(mailbox.at("/slow")) == 8


def test_with_few_hands_every_receiver_gets_its_turn(
    engine: Engine, subscribe: Any, ended: Any, rows: Any
) -> None:
    first, _ = subscribe("http://a.example/", "run.completed")
    for _ in range(5):
        ended()
    second, _ = subscribe("http://b.example/", "run.completed", partner="other")
    ended(partner="other")
    with transaction(engine) as connection:
        taken = posting.to_webhooks(connection, 2, {first.id: 1})
    assert {delivery.webhook_id for delivery in taken} == {first.id, second.id}
    with transaction(engine) as connection:
        assert posting.to_webhooks(connection, 9, {first.id: posting.AT_ONCE}) == []


def test_a_backlog_of_webhooks_is_not_looked_through_for_outcomes(
    engine: Engine, subscribe: Any, ended: Any, rows: Any
) -> None:
    webhook, _ = subscribe()
    rows(
        "INSERT INTO delivery (kind, webhook_id, reference, due_at)"
        " SELECT 'webhook', :id, '{}', now() - interval '1 h' FROM generate_series(1, 20000)",
        id=webhook.id,
    )
    rows("ANALYZE delivery")
    ended()
    values = {"kinds": ["outcome"], "most": 32, "hold": 20}
    with suppress(_Rollback), engine.begin() as connection:
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {outbox._TAKE.text}")
        plan = connection.execute(explain, values).scalar_one()[0]["Plan"]
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        raise _Rollback
    assert blocks < 100  # the backlog fills several hundred


class _Rollback(Exception):
    """Nothing of this is kept."""


def test_deleting_a_webhook_closes_what_is_open_and_forgets_its_secret(
    engine: Engine, hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    webhook, _ = subscribe(f"{mailbox.url}/x", "run.completed")
    ended()
    with transaction(engine) as connection:
        webhooks.delete(connection, webhook.id, ["acme"])
    [closed] = rows(HOOKS)
    assert closed["closed_at"] is not None
    assert rows("SELECT secret FROM webhook") == [{"secret": ""}]
    # A run that ended at the same moment may still have found it.
    rows(
        "INSERT INTO delivery (kind, webhook_id, reference)"
        " SELECT 'webhook', webhook_id, reference FROM delivery WHERE kind = 'webhook'"
    )
    hooks.sent(1)
    assert mailbox.calls == []
    assert [row for row in rows(HOOKS) if row["closed_at"] is None] == []


def test_a_secret_is_sealed_for_its_row(subscribe: Any, sealer: Sealer, rows: Any) -> None:
    webhook, secret = subscribe()
    [stored] = rows("SELECT * FROM webhook")
    assert secret not in str(stored)
    assert secret[len("whsec_") :] not in str(stored)
    assert sealer.unseal(stored["secret"], f"webhook:{webhook.id}") == secret
    assert len(base64.b64decode(secret[len("whsec_") :])) == 32


def test_a_secret_sealed_with_a_lost_key_is_a_failure_that_is_tried_again(
    hooks: Desk, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    subscribe(f"{mailbox.url}/x")
    rows("UPDATE webhook SET secret = 'lost.AAAA.AAAA'")
    ended()
    assert hooks.sent(1)[0].result == "failed"
    assert mailbox.calls == []
    assert "a key we no longer have" in rows(HOOKS)[0]["last_error"]


def wait_told(engine: Engine, url: str, expires_at: datetime) -> None:
    reference = {"run": WAIT_ID, "event_key": "approved:7", "trigger_id": WAIT_ID, "url": url}
    with transaction(engine) as connection:
        outbox.record(connection, "notify", {**reference, "expires_at": rfc3339(expires_at)})


def test_a_notify_url_is_told_of_the_wait_signed_with_each_of_our_keys(
    engine: Engine, notify: Desk, mailbox: Any, rows: Any
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    wait_told(engine, f"{mailbox.url}/told?x=1", expires_at)
    notify.sent(1)
    [(headers, body)] = mailbox.at("/told?x=1")
    message = json.loads(body)
    assert (message["id"], message["type"]) == (f"msg_{WAIT_ID}", "event.awaited")
    assert message["data"] == {
        "run_id": WAIT_ID,
        "event_key": "approved:7",
        "trigger_id": WAIT_ID,
        "expires_at": rfc3339(expires_at),
    }
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    public = PlatformKeys(KEYS).public()
    signatures = headers["webhook-signature"].split()
    assert len(public) == len(signatures) == 2
    for key, signature in zip(public, signatures, strict=True):
        verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
        verifier.verify(base64.b64decode(signature.removeprefix("v1a,")), signed)
    assert rows("SELECT closed_at FROM delivery WHERE closed_at IS NULL") == []


@pytest.mark.parametrize(("left", "calls"), [(-1, 0), (2, 1)])
def test_a_wait_that_is_over_is_told_to_nobody(
    engine: Engine, notify: Desk, mailbox: Any, rows: Any, left: int, calls: int
) -> None:
    mailbox.replies["/told"] = 500
    wait_told(engine, f"{mailbox.url}/told", datetime.now(UTC) + timedelta(seconds=left))
    assert notify.sent(1)[0].result == "given_up"
    assert len(mailbox.calls) == calls
    assert rows("SELECT 1 FROM delivery WHERE closed_at IS NULL") == []
