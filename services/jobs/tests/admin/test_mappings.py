"""Descriptor mappings over HTTP: only names the bundle lists, handed to executors."""

from typing import Any

import pytest

CSV = b"code,descriptor\n5,Fifth grade\n"


@pytest.fixture
def address(partner: str) -> str:
    return f"/partners/{partner}/tenants/t/bundles/assessments/Direct/descriptor-mappings"


def put(ask: Any, address: str, name: str = "gradeLevelDescriptors.csv", content: bytes = CSV) -> Any:
    return ask("PUT", f"{address}/{name}", data=content, content_type="text/csv")


def test_a_mapping_reaches_the_executor_and_goes_again(
    ask: Any, partner: str, address: str, create: Any, started: Any, payload_of: Any
) -> None:
    assert ask("GET", address).get_json() == [{"name": "gradeLevelDescriptors.csv", "sha256": None}]
    made = put(ask, address)
    assert made.status_code == 200
    assert ask("GET", address, role="Viewer").get_json() == [made.get_json()]
    run = started(partner, create(partner))
    mapped = payload_of(run)["descriptor_mappings"]
    assert mapped["gradeLevelDescriptors.csv"]["sha256"] == made.get_json()["sha256"]
    assert ask("DELETE", f"{address}/gradeLevelDescriptors.csv").status_code == 204
    assert payload_of(run)["descriptor_mappings"] == {}
    assert ask("DELETE", f"{address}/gradeLevelDescriptors.csv").status_code == 404


def test_a_name_the_bundle_does_not_list_is_refused(ask: Any, address: str) -> None:
    answer = put(ask, address, "other.csv")
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/mapping-not-listed")
    assert answer.get_json()["detail"].endswith("it lists gradeLevelDescriptors.csv")


@pytest.mark.parametrize(
    "content", [b"", b"code,descriptor\n", b"one\n2\n", b"a,b\n1\n", b"\xff\xfe", b'a,b\n"1,2\n']
)
def test_what_is_no_csv_is_refused(ask: Any, address: str, content: bytes) -> None:
    answer = put(ask, address, content=content)
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/mapping-faulty")


def test_a_mapping_belongs_to_a_tenant_and_a_bundle(ask: Any, partner: str) -> None:
    for place in ("tenants/nobody/bundles/assessments/Direct", "tenants/t/bundles/assessments/%00"):
        assert put(ask, f"/partners/{partner}/{place}/descriptor-mappings").status_code == 404
