"""API keys through a real gateway of two workers: made over the wire, used, counted, ended."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from common import database, principal

SCOPE = "create:jobs read:jobs read:jobs:output-files partner:ea"


@pytest.fixture(scope="module")
def keyed(new_wire: Any, servers: Any) -> Any:
    servers.flush_redis()
    return new_wire(REDIS_URL=servers.redis_url("gateway"), WEB_WORKERS="2", REQUESTS_PER_HOUR="5000")


@pytest.fixture
def call(keyed: Any) -> Callable[..., Any]:
    """Call over a connection of its own each time, so that both workers are met."""

    def send(token: str, method: str = "GET", path: str = "/api/v1/jobs", body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        url = keyed.gateway.url + path
        return keyed.http.request(method, url, json=body, headers=headers, timeout=20, retries=False)

    return send


@pytest.fixture
def maker(keyed: Any) -> str:
    return str(keyed.client_token(sub="maker", client_id="maker", scope=SCOPE))


@pytest.fixture
def make(call: Any, maker: str) -> Callable[..., Any]:
    def create(**body: Any) -> Any:
        answer = call(maker, "POST", "/api/v1/keys", {"name": "wire", "scopes": ["read"], **body})
        assert answer.status == 201, answer.data
        return answer.json()["data"]

    return create


def test_a_key_reaches_services_as_its_principal_and_never_as_itself(
    keyed: Any, call: Any, make: Any
) -> None:
    made = make(scopes=["read", "write"])
    assert call(made["token"], "POST", "/api/v1/jobs", {}).status == 200
    method, target, headers, _ = keyed.upstream.seen[-1]
    caller = principal.verify(headers, method, target, keyed.key, int(time.time()))
    assert (caller.kind, caller.client_id) == ("api-key", f"key-{made['api_key']['id']}")
    assert (caller.client_name, caller.partners) == ("wire", frozenset({"ea"}))
    assert made["token"] not in str(keyed.upstream.seen)


def test_an_end_is_heeded_by_every_worker_soon(call: Any, make: Any, maker: str) -> None:
    for end in (("PUT", {"active": False}), ("DELETE", None)):
        made = make()
        assert {call(made["token"]).status for _ in range(8)} == {200}
        assert call(maker, end[0], f"/api/v1/keys/{made['api_key']['id']}", end[1]).status == 200
        deadline = time.monotonic() + 30
        while {call(made["token"]).status for _ in range(8)} != {401}:
            assert time.monotonic() < deadline


@pytest.mark.usefixtures("well_inside_a_window")
def test_workers_count_a_keys_requests_together(call: Any, make: Any, maker: str) -> None:
    made = make(requests_per_hour=12)
    statuses = [call(made["token"]).status for _ in range(16)]
    assert statuses == [200] * 12 + [429] * 4
    usage = call(maker, "GET", f"/api/v1/keys/{made['api_key']['id']}/usage").json()["data"]
    assert (usage["used_requests"], usage["remaining_requests"], usage["total_requests"]) == (12, 0, 12)


def test_a_request_writes_nothing_into_the_database(call: Any, make: Any, gateway_engine: Engine) -> None:
    made = make()
    call(made["token"])
    query = text("SELECT xmin::text, total_requests FROM gateway.api_key WHERE id = :id")

    def row() -> Any:
        with database.transaction(gateway_engine) as connection:
            return connection.execute(query, {"id": made["api_key"]["id"]}).one()

    before = row()
    for _ in range(20):
        call(made["token"])
    after = row()
    # Unless the minute was full in between, which writes the total down.
    assert after == before or after.total_requests > 0


def test_keys_go_on_without_redis(call: Any, make: Any, maker: str, servers: Any) -> None:
    made = make()
    servers.valkey.kill()
    try:
        answers = [call(made["token"]) for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"5000"}
        assert call(made["token"][:-1] + "!").status == 401
        assert call(maker, "GET", "/api/v1/keys").status == 200
    finally:
        servers.valkey.restart()
