"""Start runs of every kind while whatever carries them is killed and frozen, then count what became of them.

Counts from the API alone, and from what a webhook receiver was told. Exits 1 when a run was lost, doubled or
is stuck, or came to an end it must not have.
"""

import argparse
import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from drill.api import Api
from drill.counts import Counts, count, unsettled
from drill.havoc import EXECUTORS, Havoc
from drill.receiver import Receiver
from drill.scenes import Company
from stack.errors import StackError
from stack.testing import LocalStack

HERE = Path(__file__).parent
SETTLE_SECONDS = 240.0
STEP_SECONDS = 5.0
TIMEOUTS = {
    "HEARTBEAT_TIMEOUT_SECONDS": "2",
    "COMPARE_INTERVAL_SECONDS": "0.5",
    "TICK_SECONDS": "0.2",
    "RUN_TIMEOUT_SECONDS": "120",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="drill", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long faults are made")
    parser.add_argument("--runs", type=int, default=200, help="how many runs are started meanwhile")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    options = parser.parse_args()
    random.seed(options.seed)
    say(f"seed {options.seed}: {options.runs} runs, {options.seconds:g} s of faults; starting a stack …")
    stack = LocalStack(
        environment=TIMEOUTS,
        process_environment={"executor": {"PYTHONPATH": str(HERE.parent)}},
        bundles=(Path("tests/bundles"), HERE / "bundles"),
        partners=HERE / "partners.yaml",
        clients=HERE / "clients.yaml",
        executors=len(EXECUTORS),
        executor_module="drill.executor",
    )
    try:
        with stack:
            return exit_status(stack, options.runs, options.seconds)
    except StackError as error:
        sys.exit(f"The stack did not come up: {error}")


def exit_status(stack: LocalStack, runs: int, seconds: float) -> int:
    """Drill a stack and print what came of it; 1 when something is wrong."""
    api, receiver = Api(stack.gateway_url, stack.issuer_url), Receiver()
    receiver.register(api)
    havoc, company = Havoc(stack, say), Company(api, runs, seconds)
    havoc.start()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(STEP_SECONDS)
        passed = time.monotonic() - began
        say(f"  {passed:4.0f} s  {len(company.started)} started, {len(receiver.ends())} ended")
    havoc.stop()
    say("quiet; waiting for everything to end …")
    company.wait()
    left = settle(api, receiver)
    counts = count(api, company.started, left, receiver.ends())
    counts.wrong += [*receiver.faults, *company.faults, *api.broken]
    receiver.close()
    show(counts, havoc.done)
    show_told(company, receiver)
    show_verdict(counts)
    if not counts.is_clean and (kept := os.environ.get("DRILL_LOGS")):
        shutil.copytree(stack.folder("logs"), kept, dirs_exist_ok=True)
    return 0 if counts.is_clean else 1


def settle(api: Api, receiver: Receiver) -> list[str]:
    """Wait until everything is over; return what is not when patience ends."""
    until = time.monotonic() + SETTLE_SECONDS
    while left := unsettled(api, receiver.ends()):
        if time.monotonic() > until:
            break
        say(f"  {len(left)} not over, the first: {left[0]}")
        time.sleep(STEP_SECONDS)
    return left


def show(counts: Counts, faults: Counter[str]) -> None:
    """Print what was done, and how the runs of each kind ended."""
    say(f"\n{sum(faults.values())} faults")
    for fault, times in sorted(faults.items()):
        say(f"  {times:4} {fault}")
    say(f"\n{sum(counts.statuses.values())} runs")
    for kind, statuses in sorted(counts.kinds.items()):
        say(f"  {kind:16} " + "  ".join(f"{status} {number}" for status, number in sorted(statuses.items())))


def show_told(company: Company, receiver: Receiver) -> None:
    """Print what those outside were told."""
    watched = [each.watched for each in company.started if each.watched]
    connections = sum(each.connections for each in watched)
    say(f"\nwebhooks: {len(receiver.bodies)} messages, {receiver.repeated} came again")
    say(f"streams: {len(watched)} runs watched, over {connections} connections")


def show_verdict(counts: Counts) -> None:
    """Print the counts, and what is not as it must be."""
    finished = sum(counts.statuses.values()) - len(counts.stuck)
    say(
        f"\nfinished {finished}  lost {len(counts.lost)}  doubled {len(counts.doubled)}"
        f"  stuck {len(counts.stuck)}  wrong {len(counts.wrong)}"
    )
    for name in ("lost", "doubled", "stuck", "wrong"):
        for each in getattr(counts, name):
            say(f"  {name}: {each}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
