"""Running stacks, driven from outside. `system` is shared by the session; fault tests start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import Client, client_of

from stack.testing import LocalStack

BUNDLES = (Path("bundles"), Path("tests/bundles"))
PARTNERS = Path("tests/partners.yaml")


@pytest.fixture(scope="session")
def system() -> Iterator[LocalStack]:
    """The whole stack on free ports, as `make up` starts it, with the test bundle enabled."""
    with LocalStack(bundles=BUNDLES, partners=PARTNERS) as stack:
        yield stack


@pytest.fixture(scope="session")
def fault_stack() -> Iterator[LocalStack]:
    """A stack whose every timeout is short, for killing its parts."""
    environment = {
        "HEARTBEAT_TIMEOUT_SECONDS": "2",
        "COMPARE_INTERVAL_SECONDS": "0.5",
        "TICK_SECONDS": "0.2",
    }
    with LocalStack(bundles=BUNDLES, partners=PARTNERS, environment=environment) as stack:
        yield stack


@pytest.fixture(scope="session")
def ea(system: LocalStack) -> Client:
    return client_of(system, "ea")


@pytest.fixture(scope="session")
def acme(system: LocalStack) -> Client:
    return client_of(system, "acme")
