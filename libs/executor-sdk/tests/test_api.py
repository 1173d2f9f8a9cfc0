"""The client of the executor API: when it asks again, and when it gives up."""

import itertools
import json
import threading
import time
from typing import Any

import pytest
import urllib3

from executor_sdk import LeaseLost, Refused
from executor_sdk.api import RunApi
from executor_sdk.testing import RUN


def api(platform: Any, http: urllib3.PoolManager, **more: Any) -> RunApi:
    given = {"gateway_url": platform.url, "run": RUN, "ticket": "ticket", "alive_seconds": 30.0} | more
    return RunApi(http=http, **given)


def test_a_claim_is_repeated_with_the_same_claim_id(platform: Any, http: urllib3.PoolManager) -> None:
    platform.faults = {"claim": [502, None]}
    claim = api(platform, http).claim("me")
    [body] = platform.bodies("claim")
    assert body["executor"] == "me"
    assert len(platform.keys) == 2
    assert platform.keys[0] == platform.keys[1]
    assert claim.heartbeat_interval_seconds == 5.0


def test_heartbeats_come_at_least_three_times_a_timeout(platform: Any, http: urllib3.PoolManager) -> None:
    platform.heartbeat_interval = 900.0
    assert api(platform, http, alive_seconds=6.0).claim("me").heartbeat_interval_seconds == 2.0


@pytest.mark.parametrize("status", [401, 403, 404, 409, 410])
def test_an_answer_that_the_run_is_not_ours_ends_it(
    platform: Any, http: urllib3.PoolManager, status: int
) -> None:
    platform.faults = {"claim": [status]}
    with pytest.raises(LeaseLost):
        api(platform, http).claim("me")


def test_a_faulty_request_is_not_repeated(platform: Any, http: urllib3.PoolManager) -> None:
    client = api(platform, http)
    client.claim("me")
    platform.faults = {"progress": [422]}
    with pytest.raises(Refused) as refused:
        client.post("progress", {"percent": 1})
    assert refused.value.status == 422
    assert [name for name, _key in platform.keys].count("progress") == 1


def test_nothing_is_repeated_after_the_lease_can_have_died(platform: Any, http: urllib3.PoolManager) -> None:
    ticks = itertools.count(step=10.0)
    platform.faults = {"claim": [503] * 100}
    with pytest.raises(LeaseLost, match="no answer for 30 s"):
        api(platform, http, clock=lambda: next(ticks)).claim("me")
    assert len(platform.keys) < 6


def test_a_server_that_is_away_is_asked_again(http: urllib3.PoolManager, platform: Any) -> None:
    platform.close()
    ticks = itertools.count(step=10.0)
    with pytest.raises(LeaseLost):
        api(platform, http, clock=lambda: next(ticks)).claim("me")


def test_closing_ends_the_repeating(platform: Any, http: urllib3.PoolManager) -> None:
    client = api(platform, http)
    client.close()
    platform.faults = {"claim": [503]}
    with pytest.raises(LeaseLost, match="given up"):
        client.claim("me")


def test_retry_after_is_waited_for(platform: Any, http: urllib3.PoolManager) -> None:
    client = api(platform, http)
    platform.faults = {"claim": [(429, {"Retry-After": "1"}, b"{}")]}
    began = time.monotonic()
    client.claim("me")
    assert time.monotonic() - began >= 1


def test_a_request_that_keeps_failing_is_given_up_though_heartbeats_are_answered(
    platform: Any, http: urllib3.PoolManager
) -> None:
    client = api(platform, http, alive_seconds=1.0)
    client.claim("me")
    platform.faults = {"usage": [429] * 1000}
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            client.heartbeat()

    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(Refused) as refused:
        client.post("usage", {})
    ended.set()
    beating.join()
    assert refused.value.status == 429


def test_the_same_key_goes_with_every_try_and_another_with_the_next_call(
    platform: Any, http: urllib3.PoolManager
) -> None:
    client = api(platform, http)
    client.claim("me")
    platform.faults = {"usage": [503, None]}
    client.post("usage", {})
    client.post("usage", {})
    first, again, second = [key for name, key in platform.keys if name == "usage"]
    assert first == again != second


def test_a_renewed_token_is_used_from_then_on(platform: Any, http: urllib3.PoolManager) -> None:
    client = api(platform, http)
    client.claim("me")
    platform.faults = {"heartbeat": [(200, {}, b'{"cancel_requested": true, "run_token": "newer"}')]}
    assert client.heartbeat() is True
    with pytest.raises(LeaseLost, match="stale"):
        client.post("usage", {})


@pytest.mark.parametrize("problem", ["job-not-found", "event-key-taken", "invalid-partner"])
def test_a_refused_request_is_not_a_lost_lease(
    platform: Any, http: urllib3.PoolManager, problem: str
) -> None:
    client = api(platform, http)
    client.claim("me")
    body = json.dumps({"type": f"/problems/{problem}", "detail": "no"}).encode()
    platform.faults = {"spawn": [(409, {}, body)]}
    with pytest.raises(Refused) as refused:
        client.post("spawn", {})
    assert refused.value.problem == problem
