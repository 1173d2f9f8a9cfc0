"""A run watched from the outside while the stack works on it, and while its test does."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import urllib3
from driving import Client, Refused
from streaming import Event, watched

from stack.testing import LocalStack

Started = Mapping[str, str]


def until_the_end(stack: LocalStack, client: Client, path: str) -> list[Event]:
    with watched(stack, client, path) as stream:
        return list(stream)


def test_a_run_is_followed_from_its_start_to_its_publication(system: LocalStack, ea: Client) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    run = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start")["runUid"]
    told = until_the_end(system, ea, f"/v1/runs/{run}/stream")
    assert [int(each["id"]) for each in told[:-1]] == list(range(1, len(told)))
    ways = [json.loads(each["data"])["data"]["to"] for each in told if each["event"] == "status"]
    assert ways == ["queued", "dequeued", "executing", "completed"]
    assert told[-1]["event"] == "end"
    assert json.loads(told[-1]["data"]) == {"run_id": run, "status": "completed"}


def test_a_line_arrives_while_the_run_goes_on_and_no_other_partner_hears_it(
    system: LocalStack, ea: Client, acme: Client
) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    started = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
    path = f"/v1/runs/{started['runUid']}/logs/stream"
    with watched(system, ea, path) as stream:
        log(system, started, "first")
        first = next(stream)
        assert json.loads(first["data"])["message"] == "first"
    log(system, started, "while away")
    with watched(system, ea, path, last_id=first["id"]) as stream:
        assert json.loads(next(stream)["data"])["message"] == "while away"
        ea.call("POST", f"/api/v1/jobs/{made['uid']}/cancel")
        tell(system, started, "fail", {"error": "canceled"})
        assert [json.loads(each["data"])["status"] for each in stream] == ["canceled"]
    with pytest.raises(Refused) as refused:
        until_the_end(system, acme, path)
    assert refused.value.status == 404


def log(stack: LocalStack, started: Started, message: str) -> None:
    tell(stack, started, "log", {"message": message})


def tell(stack: LocalStack, started: Started, path: str, body: Any) -> None:
    """Call the executor API as the run does."""
    headers = {"Authorization": f"Bearer {started['runToken']}", "Content-Type": "application/json"}
    url = f"{stack.gateway_url}/sdk/v1/runs/{started['runUid']}/{path}"
    answer = urllib3.request("POST", url, body=json.dumps(body).encode(), headers=headers, retries=False)
    assert answer.status in (200, 201), answer.data
