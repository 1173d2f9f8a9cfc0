"""A partner's receiver hears of a job's end, through the whole stack."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import urllib3
from driving import Client
from receiving import Heard, receiving

from stack.testing import LocalStack


@pytest.fixture
def receiver() -> Iterator[tuple[str, Heard]]:
    """A URL, and what was sent there."""
    with receiving() as receiver:
        yield receiver


def test_a_receiver_hears_of_a_completed_job_and_its_output_set(
    ea: Client, receiver: tuple[str, Heard]
) -> None:
    url, heard = receiver
    events = ["run.completed", "output_set.published"]
    webhook = ea.call("POST", "/v1/webhooks", {"partner": "ea", "url": url, "events": events})
    uid = ea.submit("tests/echo", b"one\n")
    job = ea.wait_completed(uid)
    told = wait_for_both(heard, uid, webhook["secret"])
    assert told["run.completed"]["run_id"] == job["runs"][0]["uid"]
    assert told["output_set.published"]["output_set"]["uid"] in job["runs"][0]["outputSets"]
    assert ea.send("DELETE", f"/v1/webhooks/{webhook['id']}").status == 204


def wait_for_both(heard: Heard, job: str, secret: str) -> dict[str, Any]:
    """Give what was told of the job by type; other jobs of the partner may end meanwhile."""
    end, told = time.monotonic() + 60, dict[str, Any]()
    while len(told) < 2:
        assert time.monotonic() < end
        threading.Event().wait(0.05)
        messages = [json.loads(verified(secret, *each)) for each in heard]
        told = {each["type"]: each["data"] for each in messages if each["data"]["job_id"] == job}
    return told


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Verify as Standard Webhooks describes."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    return body


def test_anybody_may_read_the_public_keys(system: LocalStack) -> None:
    answer = urllib3.request("GET", f"{system.gateway_url}/v1/webhook-keys")
    assert (answer.status, [key[:5] for key in answer.json()["keys"]]) == (200, ["whpk_"])
