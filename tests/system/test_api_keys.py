"""An API key does what its maker's token does, as long as it is good."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driving import Client


@pytest.fixture
def make(ea: Client) -> Iterator[Callable[..., Any]]:
    """Make keys that end with the test."""
    made: list[int] = []

    def create(**body: Any) -> Any:
        data = ea.call("POST", "/api/v1/keys", {"name": "nightly", "scopes": ["read", "write"], **body})
        made.append(data["data"]["api_key"]["id"])
        return data["data"]

    yield create
    for key_id in made:
        ea.send("DELETE", f"/api/v1/keys/{key_id}")


def holder(ea: Client, token: str) -> Client:
    """A client that has nothing but the key."""
    made = copy.copy(ea)
    made.token = token
    return made


def test_a_job_runs_from_creation_to_download_with_a_key_and_bears_its_name(
    ea: Client, make: Callable[..., Any]
) -> None:
    key = make()
    client = holder(ea, key["token"])
    uid = client.submit("tests/echo", b"one\n")
    job = client.wait_completed(uid)
    assert job["client"] == {
        "issuer": "taxiway-keys",
        "id": f"key-{key['api_key']['id']}",
        "name": "nightly",
    }
    assert client.published(uid)


def test_a_key_that_reads_creates_nothing_and_one_of_another_partner_sees_nothing(
    ea: Client, acme: Client, make: Callable[..., Any]
) -> None:
    uid = ea.submit("tests/echo", b"one\n")
    reader = holder(ea, make(scopes=["read"])["token"])
    assert reader.job(uid)["uid"] == uid
    assert reader.send("POST", "/api/v1/jobs", {}).status == 403
    theirs = acme.call("POST", "/api/v1/keys", {"name": "theirs", "scopes": ["read", "write"]})["data"]
    assert holder(acme, theirs["token"]).send("GET", f"/api/v1/jobs/{uid}").status == 404
    acme.call("DELETE", f"/api/v1/keys/{theirs['api_key']['id']}")


def test_a_key_switched_off_is_soon_refused_everywhere(ea: Client, make: Callable[..., Any]) -> None:
    key = make()
    client = holder(ea, key["token"])
    assert client.send("GET", "/api/v1/jobs?partner=ea").status == 200
    ea.call("PUT", f"/api/v1/keys/{key['api_key']['id']}", {"active": False})
    deadline = time.monotonic() + 30
    while client.send("GET", "/api/v1/jobs?partner=ea").status != 401:
        assert time.monotonic() < deadline
