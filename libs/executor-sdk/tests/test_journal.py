"""Log lines go in batches, in their order, and never hold up the work."""

import threading
from collections.abc import Iterator

import pytest
import urllib3

from executor_sdk import LeaseLost
from executor_sdk.api import RunApi
from executor_sdk.journal import BATCH, WAITING, Journal
from executor_sdk.lease import Lease
from executor_sdk.testing import RUN, Platform


@pytest.fixture
def api(platform: Platform, http: urllib3.PoolManager) -> RunApi:
    made = RunApi(http=http, gateway_url=platform.url, run=RUN, ticket="ticket", alive_seconds=4.0)
    made.claim("me")
    return made


@pytest.fixture
def lease(api: RunApi) -> Iterator[Lease]:
    with Lease(api, interval_seconds=60, stopping=threading.Event()) as made:
        yield made


def said(platform: Platform) -> list[str]:
    return [entry["message"] for body in platform.bodies("log") for entry in body["entries"]]


def test_lines_arrive_in_order_in_batches_the_api_takes(
    api: RunApi, lease: Lease, platform: Platform
) -> None:
    lines = [f"line {number}" for number in range(3 * BATCH)]
    with Journal(api, lease) as journal:
        for line in lines:
            journal.say(line)
    assert said(platform) == lines
    sizes = [len(body["entries"]) for body in platform.bodies("log")]
    assert max(sizes) <= BATCH
    assert len(sizes) < 20


def test_a_batch_is_smaller_than_the_largest_body(api: RunApi, lease: Lease, platform: Platform) -> None:
    with Journal(api, lease) as journal:
        for _ in range(BATCH - 2):
            journal.say("x" * 4000)
    assert len(said(platform)) == BATCH - 2
    assert len(platform.bodies("log")) > 1


def test_the_oldest_lines_are_left_out_when_the_server_is_slow(
    api: RunApi, lease: Lease, platform: Platform
) -> None:
    journal = Journal(api, lease)
    for number in range(WAITING + 3):
        journal.say(str(number))
    journal.flush()
    assert said(platform)[0] == "3"
    assert "3 lines were left out" in said(platform)


def test_data_becomes_json_and_secrets_are_taken_out(api: RunApi, lease: Lease, platform: Platform) -> None:
    journal = Journal(api, lease, secrets=["s3cret"])
    journal.say("it is s3cret", "warn", at=lease, many="x" * 100_000)
    journal.say("fine", at={"a": 1})
    journal.flush()
    [first, second] = platform.bodies("log")[0]["entries"]
    assert first == {"message": "it is [redacted]", "level": "warn", "data": first["data"]}
    assert list(first["data"]) == ["left_out_bytes"]
    assert second["data"] == {"at": {"a": 1}}


def test_a_refused_line_does_not_fail_the_run_and_a_lost_lease_is_noted(
    api: RunApi, lease: Lease, platform: Platform
) -> None:
    journal = Journal(api, lease)
    platform.faults = {"log": [422, 410]}
    journal.say("refused")
    journal.flush()
    lease.check()
    journal.say("lost")
    journal.flush()
    with pytest.raises(LeaseLost):
        lease.check()
