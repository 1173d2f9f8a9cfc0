"""What an executor gets with its claim."""

from typing import Any
from uuid import UUID

import urllib3

from common.database import transaction
from jobs.engine import line
from jobs.engine.leases import WorkOrder
from jobs.services import Services


def order_of(services: Services, run: str) -> WorkOrder:
    with transaction(services.engine) as connection:
        found = line.find(connection, UUID(run))
        assert found is not None
        return services.work_order(connection, found)


def fetched(url: str) -> bytes:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, timeout=10).data


def test_the_work_order_has_everything_and_its_urls_work(
    door: Any, uploaded: Any, services: Services
) -> None:
    job = uploaded(params={"TEST_TYPE": "SAT", "NOTE": True})
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    order = order_of(services, run)
    payload = order.payload
    assert order.can_send is False
    assert payload["kind"] == "bundle"
    assert payload["job"] == {"uid": job, "partner": "ea", "tenant": "ea", "school_year": "2026"}
    assert (payload["bundle"]["key"], payload["bundle"]["version"], payload["bundle"]["mode"]) == (
        "assessments/SAT",
        1,
        "direct",
    )
    assert fetched(payload["bundle"]["url"])[:2] == b"\x1f\x8b"
    assert fetched(payload["inputs"]["INPUT_FILE"]["url"]) == b"id,score\n1,2\n"
    assert sorted(payload["inputs"]["INPUT_FILE"]) == ["etag", "file_name", "size_bytes", "url"]
    assert payload["params"] == {"TEST_TYPE": "SAT", "NOTE": "true", "API_YEAR": "2026"}
    assert payload["limits"] == {"timeout_secs": 600, "memory_mb": 512}
    assert (payload["ods"], payload["roster"], payload["descriptor_mappings"]) == (None, None, {})
    assert payload["required_id_match_rate"] == 0.5
    assert payload["input"] == {}
    assert payload["urls_expire_at"].endswith("Z")


def test_an_echo_bundles_work_order_is_a_bundles_too(door: Any, uploaded: Any, services: Services) -> None:
    job = uploaded(bundle="tests/echo")
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    payload = order_of(services, run).payload
    assert (payload["kind"], payload["bundle"]["key"]) == ("bundle", "tests/echo")


def test_a_job_that_sends_gives_the_opened_secret_to_our_executor(
    door: Any, uploaded: Any, services: Services, rows: Any
) -> None:
    job = uploaded(schoolYear="2027")
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    order = order_of(services, run)
    assert order.can_send is True
    assert order.payload["ods"] == {
        "url": "http://ods",
        "api_year": "2027",
        "token_url": "http://ods/oauth/token",
        "client_id": "ods-client",
        "client_secret": "ods-secret-value",
    }
    kept = rows("SELECT r.*, o.* FROM run r, ods o WHERE r.id = :run", run=run)
    assert "ods-secret-value" not in str(kept)


def test_a_roster_and_an_enablements_id_column_reach_the_executor(
    door: Any, uploaded: Any, services: Services, rows: Any
) -> None:
    rows(
        "INSERT INTO roster (partner, tenant, school_year, object_key, sha256, size_bytes)"
        " VALUES ('ea', 'ea', '2026', 'rosters/x.jsonl', 'abc', 2)"
    )
    services.store.write("rosters/x.jsonl", b"{}")
    job = uploaded(bundle="assessments/Matched")
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    payload = order_of(services, run).payload
    assert payload["bundle"]["mode"] == "matched"
    assert payload["roster"]["sha256"] == "abc"
    assert fetched(payload["roster"]["url"]) == b"{}"
    rows("UPDATE bundle_enablement SET student_id_name = 'LocalID' WHERE bundle_key = 'assessments/Matched'")
    job = uploaded(bundle="assessments/Matched")
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    payload = order_of(services, run).payload
    assert (payload["bundle"]["mode"], payload["params"]["STUDENT_ID_NAME"]) == ("direct", "LocalID")
