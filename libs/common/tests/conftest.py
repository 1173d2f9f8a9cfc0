"""What the tests of common share: a database, a bucket."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from sqlalchemy import Engine, text

from common import database
from common.idempotency import TABLE
from common.objects import S3Settings, S3Store
from stack.testing import Servers


@pytest.fixture(scope="session")
def engine(servers: Servers) -> Iterator[Engine]:
    """A database of our own that holds the table of idempotency keys."""
    url = servers.database_url("jobs_owner", servers.clone_database("common_tests"))
    engine = database.connect(url, "common-tests")
    with engine.begin() as connection:
        connection.execute(text(TABLE))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def store(servers: Servers) -> S3Store:
    return S3Store(S3Settings(**asdict(servers.s3("outputs"))))
