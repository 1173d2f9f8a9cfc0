"""A supervised stack of these tests' own; `servers` comes from the repository's conftest."""

from collections.abc import Iterator

import pytest

from stack.testing import LocalStack


@pytest.fixture(scope="session")
def supervised() -> Iterator[LocalStack]:
    """The three servers under a supervisor, without the services."""
    with LocalStack(servers_only=True) as running:
        yield running
