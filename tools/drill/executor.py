"""The drill's executor: the built-in one, and a handler of its own that waits, spawns and continues."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import logs
from common.settings import load
from executor import metrics
from executor.config import Settings
from executor.forge import Forge
from executor.runs import Runner
from executor_sdk import Run

STEPS = "tests/steps"
CONTINUED = 2
EVENTS = 2


class DrillRunner(Runner):
    """Shares one line with its like, so each of them can do every run."""

    def _work(self, run: Run) -> dict[str, Any]:
        return take_steps(run) if run.bundle == STEPS else super()._work(run)


def take_steps(run: Run) -> dict[str, Any]:
    """Do what the job's params say, and leave an output set that says the same as the result."""
    result = {"wait": _wait, "family": _family, "continue": _continue}[run.params["STEPS"]](run)
    with TemporaryDirectory() as folder, run.output_set("result") as files:
        made = Path(folder, "steps.jsonl")
        made.write_text(json.dumps(result) + "\n", encoding="utf-8")
        files.add(made)
    return result


def _wait(run: Run) -> dict[str, Any]:
    return {"received": [run.wait_for_event(run.params["EVENT_KEY"]) for _ in range(EVENTS)]}


def _family(run: Run) -> dict[str, Any]:
    echo = {"STEPS": None, "EVENT_KEY": None, "ECHO_SECONDS": "0.5"}
    asked = [("tests/echo", echo), (STEPS, {"STEPS": "wait"})]
    ended = [
        run.spawn(bundle=bundle, payload={"params": params}, await_completion=True)
        for bundle, params in asked
    ]
    return {"children": [{"id": each["id"], "status": each["status"]} for each in ended]}


def _continue(run: Run) -> dict[str, Any]:
    left = (run.input or {}).get("left", CONTINUED)
    if left and "continued" not in run.state:
        run.state["continued"] = run.continue_as({"left": left - 1})["id"]
    return {"left": left}


def main() -> int:
    """Serve the line until SIGTERM."""
    settings = load(Settings, os.environ)
    logs.configure("executor", settings.log_level)
    forge = Forge()
    runner = DrillRunner(settings=settings, forge=forge)
    runner.sweep()
    metrics.serve(settings.metrics_port)
    try:
        runner.serve()
    finally:
        forge.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
