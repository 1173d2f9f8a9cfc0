"""Gateways of both lanes before the session's stack; they believe an issuer whose tokens tests make."""

from collections.abc import Iterator

import pytest
from attacking import Lane
from driving import Client
from gateways import another_gateway
from issuers import ForeignIssuer, Key

from stack.testing import LocalStack

LANES = {"plain": "common.greenlets.Worker", "forward": "gateway.relay.worker.RelayWorker"}
SILENCE_SECONDS = 1


@pytest.fixture(scope="session")
def idp() -> Iterator[ForeignIssuer]:
    """An identity provider that the gateways believe; attackers know its public keys."""
    issuer = ForeignIssuer(Key("RS256"), Key("ES256")).start()
    yield issuer
    issuer.stop()


@pytest.fixture(scope="session", params=LANES)
def lane(
    request: pytest.FixtureRequest,
    system: LocalStack,
    idp: ForeignIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lane]:
    environment = {
        "OAUTH2_ISSUER": f"{system.issuer_url}/realms/example {idp.url}",
        "WEB_WORKER_CLASS": LANES[request.param],
        "CLIENT_SILENCE_SECONDS": str(SILENCE_SECONDS),
    }
    with another_gateway(system, tmp_path_factory.mktemp(request.param), **environment) as url:
        yield Lane(name=request.param, url=url)


@pytest.fixture(scope="session")
def administrator(system: LocalStack) -> Client:
    return Client(system.gateway_url, system.issuer_url, "taxiway-admin", "admin-secret-123", "")
