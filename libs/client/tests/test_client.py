"""The client against a server that fails in every way a real one does."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from taxiway import Client, NewJob, NotUnderstood, OutOfTime, Refused, TokenRefused, Unreachable
from taxiway.retries import Retries, retry_after_seconds

VERIFIED = {
    "valid": True,
    "message": "fine",
    "clientId": "c",
    "clientName": None,
    "issuer": "i",
    "partners": ["ea"],
    "scopes": ["read:jobs"],
    "expiresAt": "2026-01-01T00:00:00.000Z",
}
SUMMARY = {
    "uid": "j1",
    "partner": "ea",
    "tenant": "ea",
    "bundle": "tests/echo",
    "bundleVersion": 1,
    "schoolYear": "2026",
    "status": "completed",
    "createdAt": "2026-01-01T00:00:00.000Z",
}
RUN = {"uid": "r1", "number": 1, "status": "completed", "attempt": 1, "outputSets": ["s1"]}
JOB: dict[str, Any] = {
    **SUMMARY,
    "params": {},
    "files": [],
    "client": {"issuer": "i", "id": "c", "name": "C"},
    "apiInitiated": True,
    "warnings": [],
    "runs": [RUN],
    "aNewMember": 1,
}
VERIFY = "POST /api/v1/token/verify"
LINKS = "POST /api/v1/output-sets/s1/download-links"


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def client(server: Any, slept: list[float]) -> Client:
    return client_of(server, slept)


def client_of(server: Any, slept: list[float], **more: Any) -> Client:
    retries = Retries(attempts=3, initial_delay_seconds=0.001, sleep=slept.append)
    given = {"gateway": server.url, "issuer": server.url, "client_id": "me", "secret": "s:1", **more}
    return Client.connect(retries=retries, **given)


def bearers(server: Any, request: str) -> list[str]:
    return [each.headers["authorization"].removeprefix("Bearer ") for each in server.requests(request)]


def test_a_token_serves_many_calls(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on(VERIFY, VERIFIED)
    assert client.verify().partners == ("ea",)
    client.verify()
    assert bearers(server, VERIFY) == ["token-1", "token-1"]


def test_a_token_at_its_end_is_replaced_before_a_call_fails(server: Any, client: Client) -> None:
    server.issue_tokens(seconds=0)
    server.on(VERIFY, VERIFIED)
    client.verify()
    client.verify()
    assert bearers(server, VERIFY) == ["token-1", "token-2"]


def test_a_token_refused_early_is_replaced_once(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on(VERIFY, {"detail": "Invalid token"}, status=401)
    server.on(VERIFY, VERIFIED)
    assert client.verify().valid
    assert bearers(server, VERIFY) == ["token-1", "token-2"]


def test_a_second_401_is_the_callers(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on(VERIFY, {"detail": "Invalid token"}, status=401)
    with pytest.raises(Refused, match="Invalid token"):
        client.verify()
    assert len(server.requests(VERIFY)) == 2


def test_credentials_go_the_way_the_issuer_wants(server: Any, slept: list[float]) -> None:
    server.issue_tokens()
    server.on(VERIFY, VERIFIED)
    client_of(server, slept).verify()
    server.replies.clear()
    server.issue_tokens(token_endpoint_auth_methods_supported=["client_secret_post"])
    server.on(VERIFY, VERIFIED)
    client_of(server, slept, audience="here").verify()
    basic, posted = server.requests("POST /token")
    assert b64decode(basic.headers["authorization"].removeprefix("Basic ")) == b"me:s%3A1"  # RFC 6749 §2.3.1
    assert b"s%3A1" not in basic.body
    assert parse_qs(posted.body.decode())["client_secret"] == ["s:1"]
    assert parse_qs(posted.body.decode())["audience"] == ["here"]
    assert "authorization" not in posted.headers


def test_a_wrong_secret_is_explained_and_not_shown(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.replies["POST", "/token"].clear()
    server.on("POST /token", {"error": "invalid_client", "error_description": "Unknown client"}, status=401)
    with pytest.raises(TokenRefused, match="gives me no token: Unknown client") as refused:
        client.verify()
    assert "s:1" not in str(refused.value)


def test_an_issuer_that_says_it_is_another_is_not_believed(server: Any, client: Client) -> None:
    server.issue_tokens(issuer="http://elsewhere")
    with pytest.raises(NotUnderstood, match="another issuer"):
        client.verify()
    assert server.requests("POST /token") == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_call_is_repeated_when_the_server_cannot_now(
    server: Any, client: Client, slept: list[float], status: int
) -> None:
    server.issue_tokens()
    server.on(VERIFY, {"detail": "later"}, status=status, headers={"Retry-After": "2"})
    server.on(VERIFY, VERIFIED)
    assert client.verify().valid
    assert len(slept) == 1
    assert 2 <= slept[0] < 2.01


def test_repeating_ends(server: Any, client: Client, slept: list[float]) -> None:
    server.issue_tokens()
    server.on(VERIFY, b"<html>Bad gateway</html>", status=502)
    with pytest.raises(Refused) as refused:
        client.verify()
    assert (refused.value.problem.status, refused.value.problem.detail) == (502, "502 Bad Gateway")
    assert len(server.requests(VERIFY)) == 3
    assert len(slept) == 2


def test_a_server_that_asks_for_too_much_patience_is_told_to_the_caller(
    server: Any, client: Client, slept: list[float]
) -> None:
    server.issue_tokens()
    server.on(VERIFY, {"detail": "quota"}, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Refused, match="quota"):
        client.verify()
    assert slept == []


def test_retry_after_is_seconds_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_seconds("7") == 7
    assert 50 < (retry_after_seconds(soon) or 0) <= 60
    assert retry_after_seconds("soon") is None


def test_a_refusal_keeps_all_that_the_server_said(server: Any, client: Client) -> None:
    server.issue_tokens()
    problem = {"type": "/problems/x", "detail": "Wrong.", "details": {"year": ["is odd"]}, "requestId": "r-1"}
    server.on(VERIFY, problem, status=400)
    with pytest.raises(Refused) as refused:
        client.verify()
    said = refused.value.problem
    assert (said.status, said.type, said.detail, said.request_id) == (400, "/problems/x", "Wrong.", "r-1")
    assert said.details == {"year": ("is odd",)}
    assert len(server.requests(VERIFY)) == 1


@pytest.mark.parametrize("answer", [b"<html></html>", [], {**VERIFIED, "partners": "ea"}, {"valid": True}])
def test_an_answer_of_another_server_is_named_so(server: Any, client: Client, answer: Any) -> None:
    server.issue_tokens()
    server.on(VERIFY, answer)
    with pytest.raises(NotUnderstood):
        client.verify()


def test_a_server_that_is_away_is_unreachable() -> None:
    retries = Retries(attempts=2, initial_delay_seconds=0)
    nobody = "http://127.0.0.1:1"
    client = Client.connect(gateway=nobody, issuer=nobody, client_id="me", secret="s", retries=retries)
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer: .*refused"):
        client.verify()


def test_a_creation_is_repeated_under_one_key(server: Any, client: Client, tmp_path: Path) -> None:
    server.issue_tokens()
    server.reply("POST /api/v1/jobs", takes=0)  # the connection breaks: was the job made?
    server.on("POST /api/v1/jobs", {"type": "/problems/idempotency-key-in-progress"}, status=409)
    server.on("POST /api/v1/jobs", {"uid": "j1", "uploadUrls": {}}, status=201)
    assert client.create(new_job(tmp_path)).uid == "j1"
    client.create(new_job(tmp_path))
    keys = [each.headers["idempotency-key"] for each in server.requests("POST /api/v1/jobs")]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def new_job(folder: Path) -> NewJob:
    place = {"partner": "ea", "tenant": "ea", "bundle": "tests/echo", "school_year": "2026"}
    return NewJob(**place, files={"INPUT_FILE": folder / "in.csv"}, params={"A": "b"})


def test_lists_are_read_page_by_page(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on("GET /api/v1/jobs", {"items": [SUMMARY], "next": "c1"}, {"items": [SUMMARY], "next": None})
    assert len(list(client.jobs("ea", school_year="2026"))) == 2
    asked = [parse_qs(urlsplit(each.target).query) for each in server.requests("GET /api/v1/jobs")]
    assert asked[1] == {"partner": ["ea"], "schoolYear": ["2026"], "limit": ["500"], "cursor": ["c1"]}
    item = {**SUMMARY, "files": ["a"], "sentToOds": False, "jobUid": "j1"}
    following = {"Link": '</api/v1/output-sets?partner=ea&cursor=c2>; rel="next"'}
    server.on("GET /api/v1/output-sets", [item], headers=following)
    server.on("GET /api/v1/output-sets", [item])
    assert len(list(client.output_sets("ea"))) == 2
    assert "cursor=c2" in server.requests("GET /api/v1/output-sets")[1].target


def test_waiting_outlives_an_outage(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on("GET /api/v1/jobs/j1", {**JOB, "status": "running"})
    server.on("GET /api/v1/jobs/j1", *([{"detail": "away"}] * 7), status=503)
    server.on("GET /api/v1/jobs/j1", JOB)
    shown: list[str] = []
    job = client.wait("j1", poll_seconds=0.001, watch=lambda job: shown.append(job.status))
    assert job.is_final
    assert shown == ["running", "completed"]


def test_waiting_does_not_outlive_a_refusal_or_the_callers_patience(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on("GET /api/v1/jobs/j1", {**JOB, "status": "running"})
    with pytest.raises(OutOfTime, match="is running: j1"):
        client.wait("j1", timeout_seconds=0, poll_seconds=0.001)
    with pytest.raises(Refused):
        client.wait("j2", poll_seconds=0.001)


def test_canceling_what_is_canceled_already_is_fine(server: Any, client: Client) -> None:
    server.issue_tokens()
    server.on("POST /api/v1/jobs/j1/cancel", {"type": "/problems/job-not-running"}, status=409)
    server.on("GET /api/v1/jobs/j1", {**JOB, "status": "canceled"}, {**JOB, "status": "canceled"}, JOB)
    assert client.cancel("j1").status == "canceled"
    with pytest.raises(Refused):
        client.cancel("j1")
