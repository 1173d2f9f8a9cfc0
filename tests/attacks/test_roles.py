"""Management by every lesser role, and by an administrator whose token is narrowed or revoked."""

import time
from collections.abc import Iterator

import pytest
from attacking import Lane
from doors import MANAGED, Call, call_of, require_problem, send
from driving import Client, Refused
from operations import Operation, operations

from stack.testing import LocalStack

OPERATIONS = [each for each in operations() if each.template.startswith(MANAGED)]
READS = ("/api/v1/admin", "/api/v1/clusters", "/v1/k8s/clusters")
EDITS = "/api/v1/admin"
APPLICATIONS = ("/api/v1/apps", "/api/v1/service-accounts", "/api/v1/authorization", "/v1/k8s/apps")


@pytest.fixture(scope="module")
def tokens(system: LocalStack, administrator: Client) -> Iterator[dict[str, str]]:
    """A token of each lesser role."""
    made = {}
    for role in ("Researcher", "Viewer", "Editor"):
        body = {"name": f"lesser-{role.lower()}", "roles": [role]}
        made[role] = administrator.call("POST", "/v1/k8s/apps", body)
    yield {
        role: Client(system.gateway_url, system.issuer_url, app["clientId"], app["secret"], "").token
        for role, app in made.items()
    }
    for app in made.values():
        administrator.call("DELETE", f"/v1/k8s/apps/{app['clientId']}")


def may(role: str, operation: Operation) -> bool:
    """What the roles are said to allow (identity.md §2)."""
    if operation.template.startswith(APPLICATIONS):
        return False
    if role == "Viewer":
        return operation.method == "GET" and operation.template.startswith(READS)
    return role == "Editor" and operation.template.startswith(READS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_lesser_role_manages_no_more_than_it_may(
    system: LocalStack, tokens: dict[str, str], operation: Operation
) -> None:
    for role, token in tokens.items():
        if not may(role, operation):
            answer = send(system.gateway_url, call_of(operation), {"Authorization": f"Bearer {token}"})
            assert require_problem(answer, 403)["type"] in (
                "/problems/missing-role",
                "/problems/insufficient-scopes",
            )


def test_nobody_raises_itself(system: LocalStack, tokens: dict[str, str]) -> None:
    rule = b'{"subjectId": "lesser-editor", "roleId": 3, "scopeType": "everything"}'
    raising = Call(
        service="gateway", method="POST", target="/api/v1/authorization/access-rules", content=rule
    )
    key = Call(
        service="gateway",
        method="POST",
        target="/api/v1/keys",
        content=b'{"name": "up", "scopes": ["admin"]}',
    )
    for token in tokens.values():
        for call in (raising, key):
            require_problem(send(system.gateway_url, call, {"Authorization": f"Bearer {token}"}), 400, 403)


def test_a_disabled_client_is_out_in_every_lane_and_gets_no_token(
    system: LocalStack, lane: Lane, administrator: Client
) -> None:
    body = {"name": f"out-{lane.name}", "roles": ["Researcher"], "permittedPartners": ["ea"]}
    app = administrator.call("POST", "/v1/k8s/apps", body)
    login = (system.gateway_url, system.issuer_url, app["clientId"], app["secret"], "ea")
    token = Client(*login).token
    assert lane.verify(token).status == 200
    administrator.call("PUT", f"/v1/k8s/apps/{app['clientId']}", {"enabled": False})
    deadline = time.monotonic() + 10
    while lane.verify(token).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(Refused):
        Client(*login)
    administrator.call("DELETE", f"/v1/k8s/apps/{app['clientId']}")
