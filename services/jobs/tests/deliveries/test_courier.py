"""A real courier and a real receiver: what a run's end sets going, and what a kill does not lose."""

import base64
import hashlib
import hmac
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs import courier

SET = {"uid": "a", "kind": "result", "name": "n", "published_at": "2026-01-01T00:00:00.000Z"}
OPEN_OUTCOMES = "SELECT 1 FROM delivery WHERE kind = 'outcome' AND closed_at IS NULL"
OPEN = "SELECT 1 FROM delivery WHERE closed_at IS NULL"


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.05)


@pytest.fixture
def start(courier_environment: Any, outputs: Any) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Start a courier; whatever is left of it at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run() -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "jobs.courier"]
        environment = courier_environment(outputs[0])
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()


def expected_signature(secret: str, headers: Any, body: str) -> str:
    """Sign by hand what Standard Webhooks says is signed."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    key = base64.b64decode(secret[len("whsec_") :])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_a_thread_that_breaks_ends_the_courier() -> None:
    class Broken:
        woken = threading.Event()

        def deliver(self) -> int:
            raise RuntimeError("a fault of ours")

    stop = threading.Event()
    with pytest.raises(RuntimeError, match="a fault of ours"):
        courier.post(Broken(), stop, 0.1)  # type: ignore[arg-type]
    assert stop.is_set()


def test_the_end_of_a_run_and_its_output_set_reach_a_receiver(
    start: Any, outputs: Any, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    outputs[1].reply = (200, json.dumps({"sets": [SET]}).encode())
    _, secret = subscribe(f"{mailbox.url}/hook?token=in-the-url")
    process = start()
    run = ended(("a",))
    until(lambda: len(mailbox.calls) >= 2 and not rows(OPEN))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    told = {}
    for _, headers, body in mailbox.calls:
        assert headers["webhook-signature"] == expected_signature(secret, headers, body)
        message = json.loads(body)
        assert message["id"] == headers["webhook-id"]
        told[message["type"]] = message["data"]
    assert set(told) == {"run.completed", "output_set.published"}
    assert {data["run_id"] for data in told.values()} == {str(run.id)}
    assert told["output_set.published"]["output_set"] == SET
    assert secret.removeprefix("whsec_") not in output
    assert "in-the-url" not in output


def test_outcomes_go_out_while_receivers_are_stuck_and_a_killed_courier_sends_again(
    start: Any, subscribe: Any, ended: Any, mailbox: Any, rows: Any
) -> None:
    mailbox.slow.add("/stuck")
    subscribe(f"{mailbox.url}/stuck", "run.completed")
    process = start()
    for _ in range(6):
        ended()
    until(lambda: mailbox.at("/stuck") and not rows(OPEN_OUTCOMES))
    first = {headers["webhook-id"] for headers, _ in mailbox.at("/stuck")}
    process.kill()
    process.communicate()
    mailbox.slow.clear()
    mailbox.release.set()
    mailbox.calls.clear()
    rows("UPDATE delivery SET due_at = now() WHERE closed_at IS NULL")
    start()
    until(lambda: not rows(OPEN))
    again = {headers["webhook-id"] for headers, _ in mailbox.at("/stuck")}
    assert len(again) == 6
    assert first <= again
