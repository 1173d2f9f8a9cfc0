"""Try a source of bundles as users have it: `make bundles-table SOURCE=<folder>` writes docs/bundles.md.

Each bundle is packed and looked at by the import's own code and run by the executor's own code, each in its
child, on the first rows it brings as a sample and a roster made up from the ids in them. Nothing is imported
and nothing of the source is kept: the table holds counts and names of columns only.
"""

import argparse
import csv
import io
import itertools
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import urllib3
from prometheus_client import REGISTRY

from common import logs
from executor.cache import Cache
from executor.forge import Forge
from executor.orders import Limits
from executor.programs import Programs
from executor.work import Folders, Work
from executor.work_order import read
from executor_sdk import Run, RunFailed
from executor_sdk.api import Claim, RunApi
from executor_sdk.journal import Journal
from executor_sdk.lease import Lease
from executor_sdk.storage import Storage
from jobs.catalog import bundles, lint

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "bundles.md"
LIMITS = Limits(timeout_seconds=240, memory_mb=2048, file_mb=1024, open_files=256)
ID_TYPE = "uri://ed-fi.org/StudentIdentificationSystemDescriptor#District"
MOST_IDS = 5000
YEARS = ("2024", "2026")
SPELLED_OUT = {("assessments/FastBridge_CBMmath", "TEST_TYPE"): ["Auto", "CAP", "Process"]}  # in no list
HEAD = """# Public bundles

What becomes of the bundles of edanalytics/earthmover_edfi_bundles (Apache-2.0) on this platform, as
`make bundles-table SOURCE=<folder>` found it. Nothing of that repository is part of this one.

Each bundle was packed and checked by the import's code and run by the executor's code on a sample file it
brings, matched with a roster made up from the ids in that file, with at most 240 s and 2 GB. A bundle whose
parameters have a list of values ran once for each, on the sample named after the value if there is one;
`API_YEAR` is {years}. CPU seconds are those of the run's child in a warm executor. *Warnings* counts what
the import says without refusing the bundle. Bundles without `_metadata.yaml` are not imported; they, and what
has not been run to its end or to its limit yet, are not in the table.

**{ran} of {all} runs make records.**

| bundle | mode, warnings | sample, parameters | year | records | unmatched | CPU s | why not |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One bundle on one of its samples."""

    packed: bundles.Packed
    folder: Path
    sample: Path | None
    params: Mapping[str, str]

    @property
    def title(self) -> str:
        """The cells that say what was tried."""
        sample = self.sample.name if self.sample else ""
        mode = f"{self.packed.mode}, {len(self.packed.warnings)}"
        given = ", ".join(each for each in (sample, *self.params.values()) if each)
        return f"{self.folder.name} | {mode} | {cell(given)}"


class OfflineApi(RunApi):
    """An executor API that agrees with everything and keeps nothing."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == "output-sets":
            names = [each["name"] for each in body["files"]]
            return {"uid": body["kind"], "uploadUrls": {name: name for name in names}}
        return {}


class FolderStore(Storage):
    """A store whose URLs are paths."""

    def download(
        self, url: str, target: Path, *, size_bytes: int | None = None, etag: str | None = None
    ) -> None:
        shutil.copyfile(url, target)

    def upload(self, url: str, source: Path, headers: Mapping[str, str]) -> None:
        """Keep nothing."""


def main() -> int:
    """Try every bundle of the source, one after the other, and write the page after each."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("source", type=Path, help="the folder of a checked-out repository of bundles")
    arguments.add_argument("--only", default="", help="only bundles whose folder's name holds this")
    arguments.add_argument("--keep", action="store_true", help="keep the rows the page has; try the others")
    given = arguments.parse_args()
    logs.configure("bundles_table", "WARNING")
    rows = kept() if given.keep else {}
    forge = Forge()
    try:
        for trial in found(given.source, given.only):
            if trial.title not in rows:
                rows[trial.title] = row(trial, forge)
                print(rows[trial.title], flush=True)
                PAGE.write_text(page(rows), encoding="utf-8")
    finally:
        forge.close()
    return 0


def kept() -> dict[str, str]:
    """Read the rows of the page as it is, by their first three cells; what ran out of time is tried again."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| bundle")]
    return {" | ".join(each[2:].split(" | ")[:3]): each for each in rows if "timed_out" not in each}


def found(source: Path, only: str) -> Iterator["Trial"]:
    """Give every bundle with each of its parameters' values; one that cannot be imported is only said."""
    names = ("_metadata.yaml", "_metadata.yml")
    for path in sorted(path for name in names for path in source.rglob(name) if only in path.parent.name):
        try:
            packed = bundles.pack(path, source)
        except bundles.BundleFaulty as error:
            print(f"{path.parent.name} cannot be imported: {error}", flush=True)
            continue
        samples = samples_of(path.parent, packed.metadata)
        for params in combinations(packed):
            sample = fitting(samples, list(params.values()))
            yield Trial(packed=packed, folder=path.parent, sample=sample, params=params)


def combinations(packed: bundles.Packed) -> list[dict[str, str]]:
    """List the parameters to try: every value of those that have a list."""
    choices = [
        [(each["env_var"], str(value)) for value in values_of(packed.key, each)]
        for each in packed.metadata.get("input_params") or []
        if each.get("is_required") and each["env_var"] != "API_YEAR"
    ]
    return [dict(chosen) for chosen in itertools.product(*choices)]


def values_of(key: str, param: Mapping[str, Any]) -> Sequence[Any]:
    """List a parameter's values; one without a list has none that could be guessed."""
    return param.get("allowed_values") or SPELLED_OUT.get((key, param["env_var"]), [""])


def samples_of(folder: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """List the sample files a bundle brings of the type its first input has.

    Those that its README gives to that input come first, then the plainest name.
    """
    first = (metadata.get("input_files") or [{}])[0]
    types = [str(each).lower() for each in (first.get("file_type") or [])]
    shown = set(shown_in_readme(folder, str(first.get("env_var"))))
    data = folder / "data"
    found = [path for path in data.iterdir() if path.is_file()] if data.is_dir() else []
    named = [path for path in found if re.search("sample|anonymized", path.name, re.IGNORECASE)]
    of_type = [path for path in named if path.suffix[1:].lower() in types]
    return sorted(
        of_type,
        key=lambda path: (path not in shown, types.index(path.suffix[1:].lower()), len(path.name), path.name),
    )


def shown_in_readme(folder: Path, key: str) -> list[Path]:
    """List the files of a bundle that its README gives to an input."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    named = re.findall(rf'"{re.escape(key)}"\s*:\s*"(?:\./)?(data/[^"]+)"', text)
    return [path for path in (folder / name for name in named) if path.is_file()]


def fitting(samples: Sequence[Path], values: Sequence[str]) -> Path | None:
    """Choose the sample that is named after a parameter's value, else the plainest."""
    for value in values:
        for sample in samples:
            if plain(value) and plain(value) in plain(sample.stem):
                return sample
    return samples[0] if samples else None


def plain(text: str) -> str:
    """Reduce a name to what two spellings of it share."""
    return re.sub(r"[^a-z0-9]", "", text.lower().removeprefix("psat/"))


def row(trial: Trial, forge: Forge) -> str:
    """Run a trial, in the earliest of the years that its bundle takes, and write its row."""
    why = "brings no sample file"
    is_dated = any(each["env_var"] == "API_YEAR" for each in trial.packed.metadata.get("input_params") or [])
    for year in YEARS[: len(YEARS) if is_dated else 1] if trial.sample else ():
        before = cpu_seconds()
        try:
            result = attempt(trial, year, forge)
        except RunFailed as error:
            why = why if year != YEARS[0] else f"{error.failure.code}: {error.failure.sentence}"
            if error.failure.code == "timed_out":
                break
            continue
        records = ", ".join(f"{name} {count}" for name, count in result["counts"].items())
        unmatched = (result.get("unmatched") or {}).get("count", 0)
        return f"| {trial.title} | {year} | {records} | {unmatched} | {cpu_seconds() - before:.1f} | |"
    return f"| {trial.title} | | | | | {cell(why)} |"


def attempt(trial: Trial, year: str, forge: Forge) -> Mapping[str, Any]:
    """Run one trial in a folder of its own."""
    dated = replace(trial, params={**trial.params, "API_YEAR": year})
    with tempfile.TemporaryDirectory(prefix="taxiway-trial-") as folder:
        return run(dated, forge, Path(folder))


def cpu_seconds() -> float:
    """Say what children have used so far."""
    return REGISTRY.get_sample_value("taxiway_executor_child_cpu_seconds_total") or 0.0


def run(trial: Trial, forge: Forge, folder: Path) -> Mapping[str, Any]:
    """Do what the executor does with a work order; only the server and storage are left out."""
    sample = trial.sample or folder
    archive, roster = folder / "bundle.tar.gz", folder / "roster.jsonl"
    archive.write_bytes(trial.packed.archive)
    roster.write_text(roster_for(trial, sample), encoding="utf-8")
    files = trial.packed.metadata["input_files"]
    key = files[0]["env_var"]
    packed = trial.packed
    bundle = {"key": packed.key, "sha256": packed.sha256, "url": str(archive), "mode": packed.mode}
    payload = {
        "bundle": bundle,
        "inputs": {key: {"url": str(sample), "file_name": sample.name}},
        "params": trial.params,
        "roster": {"url": str(roster)},
    }
    http = urllib3.PoolManager()
    api = OfflineApi(http=http, gateway_url="", run="trial", ticket="", alive_seconds=60)
    lease = Lease(api, interval_seconds=60, stopping=threading.Event())
    claim = Claim(
        payload=payload, heartbeat_interval_seconds=60, lease=1, attempt=1, last_checkpoint=None, event=None
    )
    folders = Folders.below(folder / "run")
    with Journal(api, lease) as journal:
        claimed = Run(run_id="trial", claim=claim, api=api, lease=lease, journal=journal, http=http)
        claimed.storage = FolderStore(http, lease.check)
        programs = Programs(forge=forge, run=claimed, limits=LIMITS, home=folders.home, output=folders.output)
        cache = Cache(folder=folder / "cache", most_bytes=1)
        return Work(order=read(payload), run=claimed, programs=programs, folders=folders, cache=cache).do()


def roster_for(trial: Trial, sample: Path) -> str:
    """Make up a student for every id in the sample's id columns, or for every value if it has none."""
    project = (trial.folder / lint.PROJECT).read_text(encoding="utf-8")
    named = str(lint.parameter_defaults(project).get("POSSIBLE_STUDENT_ID_COLUMNS", ""))
    wanted = {plain(name) for name in named.split(",")}
    text = sample.read_bytes().decode("utf-8-sig", "replace")
    separator = max(",\t|", key=text.partition("\n")[0].count)
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    # Some samples have titles above the names of their columns.
    heads = [[at for at, name in enumerate(row) if name and plain(name) in wanted] for row in rows[:10]]
    places = max(heads, key=len, default=[])
    values = (row[place] for row in rows for place in places or range(len(row)) if place < len(row))
    ids = dict.fromkeys(value.strip() for value in values if value.strip())
    return "".join(map(student, range(MOST_IDS), ids))


def student(number: int, code: str) -> str:
    """Write a student as a line of a roster."""
    own = {"studentIdentificationSystemDescriptor": ID_TYPE, "identificationCode": code.removesuffix(".0")}
    place = {"educationOrganizationId": 1, "link": {"rel": "LocalEducationAgency"}}
    record = {
        "educationOrganizationReference": place,
        "studentReference": {"studentUniqueId": str(900000000 + number)},
        "studentIdentificationCodes": [own],
    }
    return json.dumps(record) + "\n"


def page(rows: Mapping[str, str]) -> str:
    """Write the whole page."""
    ran = sum(each.endswith("| |") for each in rows.values())
    head = HEAD.format(years=" or else ".join(YEARS), ran=ran, all=len(rows))
    return head + "".join(f"{rows[title]}\n" for title in sorted(rows, key=str.lower))


def cell(text: str) -> str:
    """Keep a text from ending its cell."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    raise SystemExit(main())
