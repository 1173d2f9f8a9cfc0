"""A lease is kept by heartbeats; who loses it stops, and is stopped if need be."""

import threading

import pytest
import urllib3

from executor_sdk import LeaseLost
from executor_sdk.api import RunApi
from executor_sdk.lease import Lease
from executor_sdk.testing import RUN, Platform

PATIENCE_SECONDS = 20.0


def claimed(platform: Platform, http: urllib3.PoolManager) -> RunApi:
    api = RunApi(http=http, gateway_url=platform.url, run=RUN, ticket="ticket", alive_seconds=2.0)
    api.claim("me")
    return api


def test_work_that_does_not_notice_the_loss_is_abandoned(
    platform: Platform, http: urllib3.PoolManager
) -> None:
    abandoned = threading.Event()
    platform.faults = {"heartbeat": [401]}
    lease = Lease(
        claimed(platform, http),
        interval_seconds=0.05,
        stopping=threading.Event(),
        abandon=abandoned.set,
        leave_seconds=0.05,
    )
    with lease:
        assert abandoned.wait(PATIENCE_SECONDS)
        with pytest.raises(LeaseLost):
            lease.check()


def test_silence_as_long_as_the_heartbeat_timeout_abandons_the_work(
    platform: Platform, http: urllib3.PoolManager
) -> None:
    abandoned = threading.Event()
    platform.faults = {"heartbeat": [503] * 1000}
    api = claimed(platform, http)
    options = {"interval_seconds": 0.05, "leave_seconds": 0.05}
    with Lease(api, stopping=threading.Event(), abandon=abandoned.set, **options):
        assert abandoned.wait(PATIENCE_SECONDS)


def test_work_that_ends_in_time_is_not_abandoned(platform: Platform, http: urllib3.PoolManager) -> None:
    abandoned = threading.Event()
    platform.faults = {"heartbeat": [401]}
    lease = Lease(
        claimed(platform, http), interval_seconds=60, stopping=threading.Event(), abandon=abandoned.set
    )
    with lease, pytest.raises(LeaseLost):
        lease.refresh()
    assert not abandoned.is_set()
