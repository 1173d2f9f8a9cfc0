"""Claim, payload, heartbeats and ends through the API: every status of executor-api.md §1 and §2."""

import json
import time
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import Engine, text

from common import principal
from common.principal import Principal
from jobs.engine import family
from jobs.services import Services


def claim_body(**more: Any) -> dict[str, Any]:
    return {"claim_id": str(uuid4()), "executor": "executor-1", **more}


def decoded(services: Services, run_token: str) -> Any:
    with pytest.warns(UserWarning, match="RFC 9864"):
        return jwt.decode(
            run_token, KeySet.import_key_set(cast(Any, services.signer.jwks())), algorithms=["EdDSA"]
        )


def test_a_claim_answers_with_a_token_the_payload_and_the_times(dequeued: Any, services: Services) -> None:
    ticket = dequeued()
    answer = ticket.post("claim", claim_body())
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert (document["lease"], document["attempt"], document["last_checkpoint"]) == (1, 1, None)
    assert document["payload"]["ods"]["client_secret"]
    assert (document["heartbeat_interval_secs"], document["heartbeat_timeout_secs"]) == (3.75, 15)
    token = decoded(services, document["run_token"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["iss"] == "taxiway-runs"
    assert token.claims["aud"] == "executor-api"
    assert (token.claims["sub"], token.claims["lease"]) == (str(ticket.run.id), 1)
    assert token.claims["scope"] == "run:work run:send"
    assert token.claims["exp"] - token.claims["iat"] == 3600 + 300


def test_a_claim_repeated_with_its_id_has_the_same_answer_and_another_one_409(dequeued: Any) -> None:
    ticket, body = dequeued(), claim_body()
    first, again = ticket.post("claim", body), ticket.post("claim", body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.get_json()["payload"] == again.get_json()["payload"]
    assert ticket.post("claim", claim_body()).status_code == 409


def test_a_claim_repeated_under_its_idempotency_key_has_the_same_answer(dequeued: Any) -> None:
    ticket, body, key = dequeued(), claim_body(), {"Idempotency-Key": uuid4().hex}
    answers = [ticket.post("claim", body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.get_json()["lease"] for answer in answers] == [1, 1]


def test_a_claim_with_an_older_lease_is_a_409_and_of_a_final_run_a_410(dequeued: Any, executing: Any) -> None:
    assert dequeued().post("claim", claim_body(), lease=0).status_code == 409
    done = executing()
    assert done.post("complete").status_code == 200
    assert done.post("claim", claim_body(), caller=_ticket(done)).status_code == 410


def _ticket(executor: Any) -> Any:
    holder = Principal(kind="run", subject=str(executor.run.id), run=str(executor.run.id), lease=1)
    return replace(holder, scopes=frozenset({"run:claim"}))


def test_a_ticket_opens_nothing_but_the_claim_and_a_run_token_no_claim(dequeued: Any, executing: Any) -> None:
    ticket = dequeued()
    assert ticket.post("heartbeat").status_code == 403
    assert ticket.get("payload").status_code == 403
    assert executing().post("claim", claim_body()).status_code == 403


def test_a_token_of_another_run_is_a_403_before_anything_else(executing: Any) -> None:
    executor = executing()
    for path in ("heartbeat", "complete", "fail", "log", "progress"):
        answer = executor.post(path, {"error": "x", "message": "x", "percent": 1}, run=uuid4())
        assert (answer.status_code, answer.get_json()["detail"]) == (403, "token does not match run ID")


def test_a_run_that_does_not_exist_is_a_404(executing: Any) -> None:
    executor = executing()
    stranger = replace(executor, run=replace(executor.run, id=uuid4()))
    assert stranger.post("heartbeat").status_code == 404
    assert stranger.get("payload").status_code == 404


def test_a_stale_lease_is_a_401_a_final_run_a_410_and_a_requeued_one_a_409(
    executing: Any, engine: Engine
) -> None:
    executor = executing()
    stale = executor.post("heartbeat", lease=7)
    assert (stale.status_code, stale.get_json()["detail"]) == (401, "run token is stale")
    assert executor.post("fail", {"error": "x", "retryable": True}).get_json()["status"] == "queued"
    assert executor.post("heartbeat").status_code == 409
    assert executor.post("log", {"message": "late"}).status_code == 409
    done = executing()
    assert done.post("complete").status_code == 200
    late = done.post("heartbeat", lease=7)
    assert (late.status_code, late.get_json()["detail"]) == (410, "run has reached a terminal state")


def test_a_heartbeat_tells_of_a_request_to_cancel(executing: Any, engine: Engine) -> None:
    executor = executing()
    answer = executor.post("heartbeat")
    assert (answer.status_code, answer.get_json()["cancel_requested"]) == (200, False)
    assert "run_token" not in answer.get_json()
    with engine.begin() as connection:
        family.request_cancel(connection, executor.run.id)
    assert executor.post("heartbeat").get_json()["cancel_requested"] is True


def test_a_token_near_its_end_is_renewed_with_the_same_scope(executing: Any, services: Services) -> None:
    executor = executing()
    answer = executor.post("heartbeat", expires_at=int(time.time()) + 60).get_json()
    claims = decoded(services, answer["run_token"]).claims
    assert claims["scope"] == "run:work run:send"
    assert claims["exp"] > time.time() + 3000


def test_a_heartbeat_may_bring_progress(executing: Any, stored: Any) -> None:
    executor = executing()
    assert executor.post("heartbeat", {"progress": {"percent": 40, "message": "half"}}).status_code == 200
    assert stored(executor.run.id).progress == {"percent": 40, "message": "half"}


def test_the_payload_is_given_again(executing: Any) -> None:
    answer = executing().get("payload")
    assert (answer.status_code, answer.get_json()["kind"]) == (200, "bundle")


def test_a_completed_run_is_shown_without_secrets_or_empty_fields(executing: Any, stored: Any) -> None:
    executor, sets = executing(), [str(uuid4())]
    result = {"counts": {"rows": 5}, "note": "see http://x/y?X-Amz-Signature=abc"}
    answer = executor.post("complete", {"result": result, "output_sets": sets})
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert (document["status"], document["project_id"], document["attempt"]) == ("completed", "acme", 1)
    assert document["result"] == {"counts": {"rows": 5}, "note": "see http://x/y?[redacted]"}
    assert "error" not in document
    assert "parent_run_id" not in document
    assert document["execution_trace"]["connect_ms"] == 0
    assert stored(executor.run.id).named_sets == sets


def test_an_end_repeated_by_its_lease_is_a_200_and_another_end_a_410(executing: Any) -> None:
    executor = executing()
    first, again = executor.post("complete"), executor.post("complete")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.get_json()["finished_at"] == again.get_json()["finished_at"]
    assert executor.post("fail", {"error": "no"}).status_code == 410
    assert executor.post("complete", lease=9).status_code == 410


def test_a_failure_is_final_unless_it_says_otherwise(executing: Any) -> None:
    status = {
        (): "failed",
        ("client", None): "failed",
        ("server", None): "queued",
        ("server", False): "failed",
        ("client", True): "queued",
    }
    for said, expected in status.items():
        body: dict[str, Any] = {"error": "broken", "code": "E1"}
        if said:
            body |= {"error_class": said[0], "retryable": said[1]}
        executor = executing()
        document = executor.post("fail", body).get_json()
        assert document["status"] == expected
        assert (document["error"], document["error_code"]) == ("broken", "E1")
        again = executor.post("fail", body)
        assert (again.status_code, again.get_json()["status"]) == (200, expected)


def test_a_retry_shows_when_it_is_due_and_the_next_attempt(executing: Any) -> None:
    document = executing().post("fail", {"error": "x", "error_class": "transient"}).get_json()
    assert document["attempt"] == 2
    assert document["next_retry_at"] > document["created_at"]


def test_a_failure_of_the_last_attempt_is_a_dead_letter(executing: Any) -> None:
    document = executing(max_attempts=1).post("fail", {"error": "x", "retryable": True}).get_json()
    assert document["status"] == "dead_letter"


def test_an_error_text_is_redacted_and_bounded(executing: Any) -> None:
    text_ = "cannot log in with ods-secret-value " + "x" * 40_000
    document = executing().post("fail", {"error": text_}).get_json()
    assert document["error"].startswith("cannot log in with [redacted] xxx")
    assert len(document["error"]) == 16_384


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("fail", {}, 422),
        ("fail", {"error": 5}, 400),
        ("fail", {"error": "x", "retryable": "yes"}, 400),
        ("fail", {"error": "x", "unknown": 1}, 200),
        ("complete", {"output_sets": "x"}, 400),
        ("complete", {"output_sets": [str(uuid4())] * 1001}, 400),
        ("complete", {"result": None, "output_sets": None}, 200),
        ("progress", {}, 422),
        ("progress", {"percent": 101}, 422),
        ("progress", {"percent": -0.1}, 422),
        ("progress", {"percent": "5"}, 400),
        ("progress", {"percent": True}, 400),
        ("progress", {"percent": 100.0, "eta_secs": 3}, 201),
        ("log", {}, 422),
        ("log", {"message": 5}, 400),
        ("log", {"message": "x", "level": "loud"}, 422),
        ("log", {"entries": [{}]}, 422),
        ("log", {"entries": [{"message": "x"}] * 501}, 400),
        ("log", {"message": "nul \0 in it", "data": {"a\0": ["\0"]}}, 201),
        ("log", {"message": "half \ud800 pair"}, 201),
    ],
)
def test_faulty_bodies_have_the_status_of_the_specification(
    executing: Any, path: str, body: Any, status: int
) -> None:
    answer = executing().post(path, body)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("body", [b"{", b'{"percent": NaN}', b"[]", b'"x"', b"[" * 100_000])
def test_malformed_json_is_a_400(executing: Any, body: bytes) -> None:
    answer = executing().post("progress", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_numbers_that_json_does_not_have_are_a_400(executing: Any, number: bytes) -> None:
    body = b'{"message": "x", "result": %b, "data": [%b]}' % (number, number)
    headers = {"Content-Type": "application/json"}
    executor = executing()
    assert executor.post("log", data=body, headers=headers).status_code == 400
    assert executor.post("complete", data=body, headers=headers).status_code == 400


def test_a_body_over_one_mebibyte_is_a_413(executing: Any) -> None:
    assert executing().post("complete", {"result": "x" * (1024 * 1024)}).status_code == 413


def test_a_refused_call_leaves_nothing(executing: Any, engine: Engine) -> None:
    executor = executing()
    assert executor.post("complete").status_code == 200
    executor.post("log", {"message": "too late"})
    executor.post("progress", {"percent": 1})
    statement = text("SELECT count(*) FROM run_event WHERE run_id = :id AND type <> 'status'")
    with engine.begin() as connection:
        assert connection.execute(statement, {"id": executor.run.id}).scalar_one() == 0


def test_the_run_keys_are_for_services_only(sdk_door: Any, executing: Any, services: Services) -> None:
    answer = sdk_door.call(principal.service("gateway"), "GET", "/internal/run-keys")
    assert answer.status_code == 200
    assert json.loads(answer.text) == services.signer.jwks()
    [key] = answer.get_json()["keys"]
    assert "d" not in key
    assert sdk_door.get("/internal/run-keys").status_code == 403
