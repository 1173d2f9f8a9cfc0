"""A gateway that believes our own issuer and four foreign ones, before the session's stack."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gateways import another_gateway
from issuers import ForeignIssuer, Key

from stack.testing import LocalStack

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """`steady` has a key of each algorithm; the others rotate, come late, and hang."""

    steady: ForeignIssuer
    rotating: ForeignIssuer
    late: ForeignIssuer
    hanging: ForeignIssuer


@pytest.fixture(scope="session")
def foreign() -> Iterator[Foreign]:
    issuers = Foreign(
        steady=ForeignIssuer(*(Key(alg) for alg in ALGORITHMS)).start(),
        rotating=ForeignIssuer(Key("ES256", "first")).start(),
        late=ForeignIssuer(Key("ES256")),
        hanging=ForeignIssuer(Key("ES256")).hang().start(),
    )
    yield issuers
    for issuer in (issuers.steady, issuers.rotating, issuers.late, issuers.hanging):
        issuer.stop()


@pytest.fixture(scope="session")
def gateway(system: LocalStack, foreign: Foreign, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    own = f"{system.issuer_url}/realms/example"
    issuers = (own, foreign.steady.url, foreign.rotating.url, foreign.late.url, foreign.hanging.url)
    folder = tmp_path_factory.mktemp("gateway")
    with another_gateway(system, folder, OAUTH2_ISSUER=" ".join(issuers)) as url:
        yield url


@pytest.fixture(scope="session")
def disabled(system: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that is told of no issuer."""
    with another_gateway(system, tmp_path_factory.mktemp("disabled"), OAUTH2_ISSUER="") as url:
        yield url
