"""The catalog is managed through the gateway by who has the role, and a change is in force at once."""

import pytest
from driving import Client, Refused

from stack.testing import LocalStack

PLACE = "/api/v1/admin/partners/managed"


@pytest.fixture(scope="module")
def administrator(system: LocalStack) -> Client:
    return Client(system.gateway_url, system.issuer_url, "taxiway-admin", "admin-secret-123", "")


def test_an_administrator_manages_a_partner(administrator: Client) -> None:
    administrator.call("PUT", PLACE, {"name": "Managed", "tenants": [{"code": "t"}]})
    administrator.call("PUT", f"{PLACE}/school-years/2026", {"needsRoster": False})
    administrator.call("PUT", f"{PLACE}/bundles/tests/echo", {})
    ods = {"url": "http://127.0.0.1:9", "clientId": "c", "clientSecret": "never-shown"}
    administrator.call("PUT", f"{PLACE}/tenants/t/ods/2026", ods)
    shown = administrator.call("GET", PLACE)
    assert (shown["name"], shown["bundles"][0]["bundle"]) == ("Managed", "tests/echo")
    assert "never-shown" not in str(shown)
    checked = administrator.call("POST", f"{PLACE}/tenants/t/ods/2026/check")
    assert [step["message"] for step in checked["steps"]] == ["it cannot be reached"] * 2
    assert administrator.send("DELETE", PLACE).status == 204
    with pytest.raises(Refused, match="404"):
        administrator.call("GET", PLACE)


def test_an_administrator_provisions_a_whole_document(administrator: Client) -> None:
    document = {"partners": [{"code": "declared", "tenants": [{"code": "t"}]}]}
    planned = administrator.call("POST", "/api/v1/admin/provision?dryRun=true", document)
    assert planned["applied"] is False
    assert administrator.call("POST", "/api/v1/admin/provision", document)["changes"] == planned["changes"]
    [act] = administrator.call("GET", "/api/v1/admin/audit?limit=1")["items"]
    assert (act["actor"], act["action"], act["subject"]) == (
        "client:taxiway-admin",
        "tenant.added",
        "declared/t",
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_client_without_a_role_manages_nothing(ea: Client, method: str) -> None:
    answer = ea.send(method, "/api/v1/admin/partners/ea")
    assert answer.status == 403
