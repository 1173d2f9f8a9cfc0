"""SOAK: a stack at work for a while: what fails, and what grows."""

import time
from dataclasses import dataclass, field

from bench.conditions import Conditions, Said
from bench.figures import Result, Target, percentile, ratio, spread
from bench.flow import Flow
from bench.place import memory_mb, open_files
from bench.stacks import Measured, measured_stack

PROCESSES = ("gateway", "jobs", "dispatcher", "courier", "outputs", "issuer")
RUNS = 100
MOST = Target(number=1.1, at_most=True)


@dataclass(kw_only=True)
class Stretch:
    """A part of a soak: how runs went in it, and what the processes held at its end."""

    starts_ms: list[float] = field(default_factory=list)
    memory_mb: dict[str, float] = field(default_factory=dict)
    files: int = 0


def measure(conditions: Conditions) -> tuple[list[Result], Said]:
    """Lead runs through a stack without a pause; compare its first fifth with its last."""
    seconds = conditions.minutes * 60
    with measured_stack() as stack:
        flow = Flow(stack)
        early, between, late = (stretch(stack, flow, part * seconds) for part in (1 / 5, 3 / 5, 1 / 5))
    passed = sum(len(part.starts_ms) for part in (early, between, late))
    note = f"{passed:,} runs in {conditions.minutes:g} minutes, every one published."
    results = [
        grown(f"memory of {name}", "MB", early.memory_mb[name], late.memory_mb[name], note)
        for name in PROCESSES
    ]
    first, last = (percentile(part.starts_ms, 0.5) for part in (early, late))
    return [
        *results,
        grown("open files and connections of all", "files", early.files, late.files, note),
        grown("start to claim under load, p50", "ms", first, last, note),
    ], Said(versions={}, skipped=[])


def stretch(stack: Measured, flow: Flow, seconds: float) -> Stretch:
    """Lead runs through the stack for so long."""
    until, made = time.monotonic() + seconds, Stretch()
    while time.monotonic() < until:
        made.starts_ms += flow.run(flow.create(RUNS)).starts_ms
    made.memory_mb = {name: memory_mb(stack.pids(name)) for name in PROCESSES}
    made.files = open_files(stack.pids(*PROCESSES))
    return made


def grown(what: str, unit: str, early: float, late: float, note: str) -> Result:
    return Result(
        row="SOAK",
        work=f"{what}: the last fifth of a soak",
        peer="its first fifth",
        unit=unit,
        ours=spread([late]),
        theirs=spread([early]),
        ratio=ratio([late], [early]),
        target=MOST,
        pairs=1,
        note=note,
    )
