"""`make bench`: measure rows one after the other; each is written to docs/ as soon as it stands."""

import argparse
import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import (
    p1_gateway,
    p2_streams,
    p3_creation,
    p4_runs,
    p5_journal,
    p6_bundles,
    p7_listing,
    p8_growth,
    page,
    soak,
)
from bench.conditions import Conditions, Said
from bench.figures import Result
from bench.load import Refused
from bench.p6_bundles import OutputsDiffer
from bench.peers import Missing
from bench.place import ROOT
from executor.failures import RunFailed
from stack.errors import StackError

DOCS = ROOT / "docs"
SOAK = "SOAK"
NOT_MEASURED = (Missing, OutputsDiffer, Refused, RunFailed, StackError, TimeoutError)
ROWS: Mapping[str, Callable[[Conditions], tuple[list[Result], Said]]] = {
    "P1": p1_gateway.measure,
    "P2": p2_streams.measure,
    "P3": p3_creation.measure,
    "P4": p4_runs.measure,
    "P5": p5_journal.measure,
    "P6": p6_bundles.measure,
    "P7": p7_listing.measure,
    "P8": p8_growth.measure,
    SOAK: soak.measure,
}


def main() -> int:
    """Measure what was asked for; 1 when a row could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--row", choices=[*ROWS], help="one row; without it all but SOAK")
    parser.add_argument("--pairs", type=int, default=5, help="how often each contender is measured")
    parser.add_argument("--seconds", type=float, default=5, help="how long a stretch of load is")
    parser.add_argument("--minutes", type=float, default=10, help="how long a soak lasts")
    parser.add_argument("--source", type=Path, help="a checkout of the public bundles, for P6")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page is written")
    given = parser.parse_args()
    conditions = Conditions(
        pairs=given.pairs, seconds=given.seconds, source=given.source, minutes=given.minutes
    )
    rows = [given.row] if given.row else [row for row in ROWS if row != SOAK]
    return max([attempt(row, conditions, given.docs) for row in rows])


def attempt(row: str, conditions: Conditions, docs: Path) -> int:
    """Measure one row and write it down."""
    load, cores = os.getloadavg()[0], os.sched_getaffinity(0)
    try:
        results, said = ROWS[row](conditions)
    except NOT_MEASURED as error:
        print(f"{row}  not measured: {error}", flush=True)
        return 1
    finally:
        os.sched_setaffinity(0, cores)  # a row may have kept to the load's core
    for result in results:
        print(page.said(result), flush=True)
    facts = {
        "command": "make soak" if row == SOAK else f"make bench ROW={row}",
        "versions": said.versions,
        "skipped": said.skipped,
        "measured_on": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "load": round(load, 1),
    }
    page.write(docs, [{**page.document(result), **facts} for result in results])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
