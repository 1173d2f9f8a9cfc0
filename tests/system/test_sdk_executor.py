"""An executor of one's own on the SDK, at the real endpoints."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from driving import Client
from executing import serving

from executor_sdk import Run
from stack.testing import LocalStack

ECHO = "tests/echo"
KEY = "sdk:approval"


@pytest.fixture
def stack(system: LocalStack) -> Iterator[LocalStack]:
    """The stack without its executor: it would take our runs."""
    with system.stopped("executor"):
        yield system


def work(run: Run) -> Any:
    """Wait for an event, have a child count the lines, go on in another run, and publish what came of it."""
    with TemporaryDirectory() as folder:
        lines = run.fetch_input("INPUT_FILE", f"{folder}/input.csv").read_text().splitlines()
        if run.input == {"count": True}:
            return {"lines": len(lines)}
        if run.input == {"last": True}:
            return {"continued": True}
        run.log("\x1b[1mbegun\x1b[0m")
        approval = run.wait_for_event(KEY, timeout_seconds=60)
        child = run.spawn(bundle=ECHO, payload={"count": True}, await_completion=True)
        if "next" not in run.state:
            run.state["next"] = run.continue_as({"last": True})["id"]
        run.save_checkpoint({"done": True})
        run.output("approved_by", approval["by"], schema={"type": "string"})
        run.annotate(stage="last")
        run.progress(90, "nearly")
        made = Path(folder, "made.jsonl")
        made.write_text(json.dumps(child["result"]) + "\n")
        with run.output_set("result") as files:
            files.add(made)
        return {"approval": approval, "child": child, "next": run.state["next"]}


def test_an_executor_on_the_sdk_waits_spawns_and_continues(stack: LocalStack, ea: Client) -> None:
    made = ea.create(ECHO, {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\ntwo\n")
    with serving(stack, work):
        run = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start")["runUid"]
        ea.wait(made["uid"], lambda job: job["status"] == "waiting")
        ea.call("POST", f"/v1/events/{KEY}/send", {"payload": {"by": "Ada"}})
        job = ea.wait_completed(made["uid"])
    result = ea.call("GET", f"/v1/runs/{run}")["result"]
    assert result["approval"] == {"by": "Ada"}
    [child] = ea.call("GET", f"/v1/runs/{run}/children")["items"]
    assert result["child"] == {
        "id": child["id"],
        "status": "completed",
        "result": {"lines": 2},
        "error": None,
    }
    continued = ea.call("GET", f"/v1/runs/{result['next']}")
    assert (continued["continuation_of"], continued["result"]) == (run, {"continued": True})
    assert {each["uid"] for each in job["runs"]} == {run, result["next"]}
    [published] = ea.published(made["uid"])
    assert list(published.digests) == ["made.jsonl"]
    [output] = ea.call("GET", f"/v1/runs/{run}/outputs")["items"]
    assert (output["output_key"], output["value"]) == ("approved_by", "Ada")
