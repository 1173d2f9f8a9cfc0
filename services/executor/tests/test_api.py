"""The client of the executor API: when it asks again, and when it gives up."""

import itertools
from typing import Any

import pytest
import urllib3

from executor.api import LeaseLost, Refused, RunApi

RUN = "018f0000-0000-7000-8000-000000000001"


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
        client.progress(1, "fetch", "")
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
