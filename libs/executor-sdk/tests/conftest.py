"""A platform to run handlers against, and an executor whose turns are given by the test."""

from collections.abc import Iterator

import pytest
import urllib3

from executor_sdk import Executor
from executor_sdk.testing import Platform


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = Platform(payload={"bundle": {"key": "assessments/X"}, "job": {"partner": "p"}})
    yield server
    server.close()


@pytest.fixture
def executor(platform: Platform) -> Iterator[Executor]:
    made = Executor(
        gateway_url=platform.url, redis_url="redis://127.0.0.1:1", name="me", heartbeat_timeout_seconds=4.0
    )
    yield made
    made.close()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool
