"""P8: the same work with a thousand, a hundred thousand and a million runs stored."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from bench import p3_creation, p4_runs, p7_listing, stored
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Target, compared, in_turn
from bench.flow import Flow
from bench.place import Place
from bench.stacks import Measured as Stack
from bench.stacks import measured_stack

SIZES = (1_000, 100_000, 1_000_000)
RUNS = 100
FLAT = Target(number=0.8)
PAGE = f"&limit={min(SIZES)}"
Work = Callable[[Stack], Callable[[], Measured]]


def measure(conditions: Conditions, sizes: tuple[int, ...] = SIZES) -> tuple[list[Result], Said]:
    """Measure the row: one stack a size, all at once, so that each round sees the same machine."""
    with ExitStack() as open_ones, Place() as place:
        stacks = {size: open_ones.enter_context(measured_stack()) for size in sizes}
        for size, stack in stacks.items():
            Flow(stack).create(1)
            stored.runs(stack, size)
            stored.output_sets(stack, size)
        results = []
        for name, unit, work in works(place, conditions):
            results += grown(
                name, unit, {str(size): work(stack) for size, stack in stacks.items()}, conditions
            )
    return results, Said(versions={}, skipped=[])


def works(place: Place, conditions: Conditions) -> list[tuple[str, str, Work]]:
    """List what is done at each size: the work of P3, P4 and P7."""

    def create(stack: Stack) -> Callable[[], Measured]:
        return partial(p3_creation.through_gateway, stack, place, conditions.seconds)

    def run(stack: Stack) -> Callable[[], Measured]:
        return partial(p4_runs.ours, stack, Flow(stack), RUNS)

    def list_page(stack: Stack) -> Callable[[], Measured]:
        return partial(p7_listing.listed, stack, PAGE)

    return [
        ("P3's work, jobs created", "jobs/s", create),
        ("P4's work, no-op runs", "runs/s", run),
        ("P7's work, a page of 1,000 output sets", "sets/s", list_page),
    ]


def grown(
    name: str, unit: str, runs: Mapping[str, Callable[[], Measured]], conditions: Conditions
) -> list[Result]:
    """Compare each larger size with the smallest."""
    for run in runs.values():
        run()
    rounds = in_turn(runs, conditions.pairs)
    smallest, *larger = runs
    return [
        compared(
            "P8",
            f"{name}, with {int(size):,} runs stored",
            rounds,
            ours=size,
            theirs=smallest,
            peer=f"itself with {int(smallest):,}",
            target=FLAT,
            unit=unit,
        )
        for size in larger
    ]
