"""What every test may ask for: real servers, started once for the whole session.

Tests that use them are marked `servers`, so that `make check` can run the others alone.
"""

from collections.abc import Iterator

import pytest

from stack.testing import Servers

SLOW_FIXTURES = {"servers", "system", "fault_stack"}


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL, Valkey and SeaweedFS on free ports in a temporary folder."""
    with Servers.start() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
