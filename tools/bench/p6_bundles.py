"""P6: a job on a public bundle, by our executor and by the command line people run today."""

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path

import bundles_table
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Round, Target, compared, in_turn
from bench.peers import Missing
from executor.forge import Forge
from jobs.catalog import bundles, lint

PEER = "earthmover compile, then run --results-file"
MANY_ROWS, STUDENTS, LONGEST_SECONDS = 10_000, 2_000, 1800
NOTE = (
    "Ours is the executor's own code from the work order to its uploads, in a warm executor; storage and"
    " server are left out. The peer is the same earthmover from the command line with the same parameters."
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bundle, the sample it brings, and how it runs."""

    what: str
    bundle: str
    sample: str
    mode: str
    params: Mapping[str, str]
    target: Target
    rows: int = 0
    """How many rows the sample is stretched to; 0 leaves it as it is."""


ID_COLUMNS = "POSSIBLE_STUDENT_ID_COLUMNS"
SAT = {"TEST_TYPE": "SAT", "API_YEAR": "2024"}
CASES = (
    Case(
        what="PSAT_SAT, 5 rows, direct",
        bundle="PSAT_SAT",
        sample="sample_anonymized_file_sat.csv",
        mode="direct",
        params={**SAT, "STUDENT_ID_NAME": "STATE_STUDENT_ID"},
        target=Target(number=0.25, at_most=True),
    ),
    Case(
        what="PSAT_SAT, 5 rows, matched",
        bundle="PSAT_SAT",
        sample="sample_anonymized_file_sat.csv",
        mode="matched",
        params=SAT,
        target=Target(number=0.15, at_most=True),
    ),
    Case(
        what="i-Ready, 10,000 rows, matched",
        bundle="i-Ready",
        sample="sample_anonymized_file_ela.csv",
        mode="matched",
        params={"API_YEAR": "2024"},
        target=Target(number=0.4, at_most=True),
        rows=MANY_ROWS,
    ),
)


class OutputsDiffer(Exception):
    """Both made records, and not the same."""


def measure(conditions: Conditions, cases: tuple[Case, ...] = CASES) -> tuple[list[Result], Said]:
    """Measure every case. Raises Missing without a source, OutputsDiffer."""
    if conditions.source is None:
        raise Missing("a checkout of the public bundles is needed: make bench ROW=P6 SOURCE=<folder>")
    forge, results = Forge(), []
    try:
        with tempfile.TemporaryDirectory(prefix="taxiway-bench-") as folder:
            for case in cases:
                results += one(case, conditions, forge, Path(folder))
    finally:
        forge.close()
    return results, Said(versions={"earthmover": version("earthmover")}, skipped=[])


def one(case: Case, conditions: Conditions, forge: Forge, folder: Path) -> list[Result]:
    """Measure a case: CPU and wall."""
    trial = trial_of(case, conditions.source or Path(), folder)
    roster = bundles_table.roster_for(trial, trial.sample or folder)
    runs = {
        "ours": partial(ours, trial, forge, folder / "ours"),
        "peer": partial(command_line, trial, roster, case, folder / "peer"),
    }
    rounds: list[Round] = []
    for _ in range(conditions.pairs):
        rounds += in_turn(runs, 1)
        require_same(folder / "ours" / "run" / "output", folder / "peer" / "output")
    line = partial(compared, "P6", rounds=rounds, ours="ours", theirs="peer", peer=PEER, target=case.target)
    return [
        line(work=f"{case.what}: CPU", quantity="cpu_seconds", unit="CPU s", note=NOTE),
        line(work=f"{case.what}: wall", quantity="seconds", unit="s", note=NOTE),
    ]


def trial_of(case: Case, source: Path, folder: Path) -> bundles_table.Trial:
    """Pack the bundle as the import does, in the mode of the case."""
    bundle = source / "assessments" / case.bundle
    packed = replace(bundles.pack(bundle / "_metadata.yaml", source), mode=case.mode)
    sample = bundle / "data" / case.sample
    if case.rows:
        names = str(lint.parameter_defaults((bundle / lint.PROJECT).read_text("utf-8"))[ID_COLUMNS])
        sample = stretched(sample, folder / "many.csv", case.rows, names.split(","))
    return bundles_table.Trial(packed=packed, folder=bundle, sample=sample, params=case.params)


def stretched(sample: Path, target: Path, rows: int, id_columns: list[str]) -> Path:
    """Repeat a sample's rows for so many students, each with ids of its own."""
    with sample.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns, own = list(reader.fieldnames or ()), list(reader)
    ids = [name for name in columns if name in {each.strip() for each in id_columns}]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for number, row in enumerate(islice(cycle(own), rows)):
            suffix = f"{number % STUDENTS:05}"
            writer.writerow({**row, **{name: row[name] + suffix for name in ids if row[name]}})
    return target


def ours(trial: bundles_table.Trial, forge: Forge, folder: Path) -> Measured:
    """Run the executor's code; its records stay below the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    children, own, began = bundles_table.cpu_seconds(), time.process_time(), time.monotonic()
    bundles_table.run(trial, forge, folder)
    seconds = time.monotonic() - began
    cpu = bundles_table.cpu_seconds() - children + time.process_time() - own
    return {"cpu_seconds": cpu, "seconds": seconds}


def command_line(trial: bundles_table.Trial, roster: str, case: Case, folder: Path) -> Measured:
    """Run what people run today, in a folder that holds what `earthmover deps` would have fetched."""
    shutil.rmtree(folder, ignore_errors=True)
    config, added = projected(trial, roster, case, folder)
    given = {
        "OUTPUT_DIR": str(folder / "output"),
        "STATE_FILE": str(folder / "runs.csv"),
        "INPUT_FILE": str(trial.sample),
        **case.params,
        **added,
    }
    words = ("-c", str(config), "-p", json.dumps(given))
    with spent() as spending:
        for verb, more in (("compile", ()), ("run", ("-f", "--results-file", str(folder / "results.json")))):
            earthmover(verb, *more, *words, cwd=config.parent)
    return dict(spending)


def projected(
    trial: bundles_table.Trial, roster: str, case: Case, folder: Path
) -> tuple[Path, dict[str, str]]:
    """Lay the project out; return its configuration and the parameters it needs besides."""
    (folder / "output").mkdir(parents=True)
    if case.mode == "direct":
        shutil.copytree(trial.folder, folder / "project")
        return folder / "project" / lint.PROJECT, {}
    source = trial.folder.parents[1] / "packages"
    wrapper = shutil.copytree(source / "student_id_wrapper", folder / "project")
    shutil.copytree(trial.folder, wrapper / "packages" / trial.folder.name)
    shutil.copytree(source / "student_ids", wrapper / "packages" / "student_ids")
    (folder / "roster.jsonl").write_text(roster, encoding="utf-8")
    return wrapper / lint.PROJECT, {
        "ASSESSMENT_BUNDLE": trial.folder.name,
        "EDFI_ROSTER_SOURCE_TYPE": "file",
        "EDFI_ROSTER_FILE": str(folder / "roster.jsonl"),
        "EDFI_STUDENT_ID_TYPES": "District",
    }


def earthmover(*words: str, cwd: Path) -> None:
    program = Path(sys.executable).with_name("earthmover")
    environment = {**os.environ, "TMPDIR": str(cwd.parent)}
    done = subprocess.run(
        (program, *words),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Missing(f"earthmover {words[0]} failed: {(done.stderr or done.stdout)[-500:]}")


@contextmanager
def spent() -> Iterator[dict[str, float]]:
    """Measure what the commands run meanwhile cost."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    spending: dict[str, float] = {}
    yield spending
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spending["seconds"] = time.monotonic() - began
    spending["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def require_same(ours: Path, theirs: Path) -> None:
    """Compare the records of both, whatever their order. Raises OutputsDiffer naming the files."""
    made = [records(folder) for folder in (ours, theirs)]
    names = sorted(made[0].keys() | made[1].keys())
    differing = [name for name in names if made[0].get(name) != made[1].get(name)]
    if differing or not names:
        raise OutputsDiffer(f"not the same records: {', '.join(differing) or 'none at all'}")


def records(folder: Path) -> dict[str, list[str]]:
    return {path.name: sorted(path.read_text("utf-8").splitlines()) for path in folder.glob("*.jsonl")}
