"""Quotas and failed logins through a real gateway of two workers and a real Redis."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import routes
from gateway.routes import Route

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
TARGETS = ("jobs", "jobs-watch", "outputs", "issuer", "gateway")
ROUTES = Path(__file__).resolve().parents[4] / "deploy" / "gateway" / "routes.yaml"
GUARDED = [route for route in routes.load(ROUTES, TARGETS).routes if not route.is_open]
pytestmark = pytest.mark.usefixtures("well_inside_a_window")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def limited(new_wire: Any, servers: Any) -> Any:
    """A gateway behind a proxy on this machine: ten requests an hour, five failures."""
    return new_wire(
        REDIS_URL=servers.redis_url("gateway"),
        WEB_WORKERS="2",
        REQUESTS_PER_HOUR="10",
        RUN_REQUESTS_PER_HOUR="1000",
        FAILED_AUTH_LIMIT="5",
        TRUSTED_PROXIES="127.0.0.0/8",
    )


@pytest.fixture
def address() -> str:
    """An address nobody has used yet."""
    return f"203.0.113.{next(_numbers)}"


@pytest.fixture
def ask(limited: Any, address: str) -> Callable[..., Any]:
    """Ask the gateway from an address of our own, each time over a connection of its own."""

    def call(token: str | None, path: str = "/api/v1/jobs", method: str = "GET", **headers: str) -> Any:
        told = {"X-Forwarded-For": address, "Connection": "close"}
        told |= {"Authorization": f"Bearer {token}"} if token else {}
        return limited.http.request(
            method, limited.gateway.url + path, headers=told | headers, timeout=10, retries=False
        )

    return call


@pytest.fixture
def new_token(limited: Any) -> Callable[[], str]:
    return lambda: str(limited.client_token(sub=f"client-{next(_numbers)}"))


def quota_of(answer: Any) -> list[int]:
    return [int(answer.headers[name]) for name in HEADERS]


def test_two_workers_share_one_count(ask: Any, new_token: Any) -> None:
    token = new_token()
    answers = [ask(token) for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 10
    assert sorted(quota_of(answer)[1] for answer in answers) == list(range(10))
    limit, _, reset = quota_of(answers[0])
    assert limit == 10
    assert reset % 3600 == 0
    assert 0 <= reset - time.time() <= 3600


def test_a_spent_quota_is_a_429_that_says_when_to_come_back(ask: Any, new_token: Any, limited: Any) -> None:
    token = new_token()
    for _ in range(10):
        ask(token)
    limited.upstream.seen.clear()
    answer = ask(token)
    problem = answer.json()
    assert (answer.status, problem["type"], problem["error"]) == (
        429,
        "/problems/rate-limit-exceeded",
        "rate_limit_exceeded",
    )
    assert int(answer.headers["Retry-After"]) == problem["retry_after"]
    assert 1 <= problem["retry_after"] <= 3600
    assert quota_of(answer)[1] == 0
    assert limited.upstream.seen == []


def test_a_crowd_gets_no_more_than_the_quota(ask: Any, new_token: Any) -> None:
    token = new_token()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.extend(ask(token).status for _ in range(5)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 10 + [429] * 20


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.path)
def test_every_authenticated_answer_carries_the_quota(
    ask: Any, new_token: Any, limited: Any, route: Route
) -> None:
    path = route.path.replace("/**", "").replace("*", "x")
    tokens = {"client": new_token(), "run": limited.run_token}
    for kind, token in tokens.items():
        answer = ask(token, path, route.methods[-1], **{"Content-Length": "0"})
        assert answer.status == 403 or kind in route.admits
        assert quota_of(answer)[0] == (10 if kind == "client" else 1000), (route, kind)


def test_answers_of_services_carry_it_whatever_their_status(ask: Any, new_token: Any, limited: Any) -> None:
    for status in (204, 404, 409, 500):
        limited.upstream.pages["/api/v1/jobs/odd"] = (status, {}, b"")
        answer = ask(new_token(), "/api/v1/jobs/odd")
        assert (answer.status, quota_of(answer)[1]) == (status, 9)


def test_answers_to_nobody_carry_none(ask: Any, new_token: Any) -> None:
    answers = [ask(None), ask("x.y.z"), ask(None, "/healthz"), ask(new_token(), "/nowhere/at/all")]
    assert [answer.status for answer in answers] == [401, 401, 200, 404]
    assert not [name for answer in answers for name in HEADERS if name in answer.headers]


def test_bad_tokens_bar_their_address_and_no_other(ask: Any) -> None:
    answers = [ask(f"a.b.{number}") for number in range(20)]
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 15
    problem = answers[-1].json()
    assert problem["type"] == "/problems/rate-limit-exceeded"
    assert int(answers[-1].headers["Retry-After"]) == problem["retry_after"] <= 600
    assert ask("a.b.c", **{"X-Forwarded-For": "198.51.100.7"}).status == 401


def test_a_barred_address_tries_neither_logins_nor_new_tokens_but_stays_who_it_was(
    new_wire: Any, servers: Any
) -> None:
    servers.flush_redis()
    lone = new_wire(REDIS_URL=servers.redis_url("gateway"), FAILED_AUTH_LIMIT="5")
    known, new = lone.client_token(sub="known"), lone.client_token(sub="new")

    def status(token: str, method: str = "GET", path: str = "/api/v1/jobs") -> int:
        return int(lone.ask(method, path, headers={"Authorization": f"Bearer {token}"}).status)

    assert status(known) == 200
    assert [status("bad", "GET") for _ in range(6)] == [401] * 5 + [429]
    assert status(new) == 429
    assert status("", "POST", "/oauth/token") == 429
    assert status(lone.run_token, "POST", "/sdk/v1/runs/r/heartbeat") == 200  # no executor is throttled
    assert status("") == 401  # it tries nothing
    assert status(known) == 200
    assert status("", "GET", "/realms/x/protocol/openid-connect/certs") == 200


@pytest.fixture
def failing_login(limited: Any) -> Iterator[None]:
    body = b'{"error":"invalid_client","error_description":"no"}'
    limited.login.pages["/oauth/token"] = (401, {"Content-Type": "application/json"}, body)
    yield
    limited.login.pages.pop("/oauth/token")


@pytest.mark.usefixtures("failing_login")
def test_failed_logins_bar_their_address(ask: Any) -> None:
    statuses = [ask(None, "/oauth/token", "POST").status for _ in range(20)]
    assert statuses[:5] == [401] * 5
    assert statuses.count(401) <= 7  # a worker learns of the bar by its next failure
    assert set(statuses) == {401, 429}


def test_good_logins_and_other_faults_count_for_nothing(ask: Any, limited: Any) -> None:
    for status in (200, 400):
        limited.login.pages["/oauth/token"] = (status, {}, b"{}")
        assert {ask(None, "/oauth/token", "POST").status for _ in range(12)} == {status}
    limited.login.pages.pop("/oauth/token")


def test_without_trusted_proxies_the_peer_counts_whatever_it_says(new_wire: Any, servers: Any) -> None:
    servers.flush_redis()
    wire = new_wire(REDIS_URL=servers.redis_url("gateway"), FAILED_AUTH_LIMIT="5")
    headers = {"Authorization": "Bearer x"}
    told = [headers | {"X-Forwarded-For": f"192.0.2.{number}"} for number in range(12)]
    statuses = [wire.ask("GET", "/api/v1/jobs", headers=each).status for each in told]
    assert statuses == [401] * 5 + [429] * 7


def test_redis_dies_and_comes_back_and_requests_go_on(ask: Any, new_token: Any, servers: Any) -> None:
    token = new_token()
    assert quota_of(ask(token))[1] == 9
    servers.valkey.kill()
    try:
        answers = [ask(token) for _ in range(30)]
        assert {answer.status for answer in answers} == {200}
        assert {quota_of(answer)[1] for answer in answers} == {10}
        assert ask("bad").status == 401  # authentication never fails open
    finally:
        servers.valkey.restart()
    deadline = time.monotonic() + 30
    while quota_of(ask(token))[1] == 10:
        assert time.monotonic() < deadline
        time.sleep(0.1)
