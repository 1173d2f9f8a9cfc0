"""SOAK: a stack at work for a while: what fails, and what grows."""

import time

from bench.conditions import Conditions, Said
from bench.figures import Result, Target, ratio, spread
from bench.flow import Flow
from bench.place import memory_mb
from bench.stacks import measured_stack

PROCESSES = ("gateway", "jobs", "dispatcher", "courier", "outputs", "issuer")
RUNS = 100
MOST = Target(number=1.1, at_most=True)


def measure(conditions: Conditions) -> tuple[list[Result], Said]:
    """Lead runs through a stack without a pause; weigh its processes early and at the end."""
    with measured_stack() as stack:
        flow, passed = Flow(stack), 0
        began, seconds = time.monotonic(), conditions.minutes * 60
        weights: list[dict[str, float]] = []
        for until in (began + seconds / 5, began + seconds):
            while time.monotonic() < until:
                flow.run(flow.create(RUNS))
                passed += RUNS
            weights.append({name: memory_mb(stack.pids(name)) for name in PROCESSES})
    early, late = weights
    note = f"{passed:,} runs in {conditions.minutes:g} minutes, every one published."
    return [grown(name, early[name], late[name], note) for name in PROCESSES], Said(versions={}, skipped=[])


def grown(name: str, early: float, late: float, note: str) -> Result:
    return Result(
        row="SOAK",
        work=f"memory of {name} at the end of a soak",
        peer="itself after a fifth of it",
        unit="MB",
        ours=spread([late]),
        theirs=spread([early]),
        ratio=ratio([late], [early]),
        target=MOST,
        pairs=1,
        note=note,
    )
