"""The steps of one run, from its inputs to its sealed output set."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.logs import get_logger
from executor import bundle as bundles
from executor import echo, inputs, metrics, ods, outputs, params
from executor.api import RunApi
from executor.bundle import ECHO, Bundle
from executor.failures import CLIENT, CONNECTION, Ended, RunFailed, explain
from executor.forge import Forge
from executor.inputs import Staged
from executor.journal import Journal
from executor.lease import Lease
from executor.orders import EARTHMOVER, LIGHTBEAM, Limits, Order, marked
from executor.outputs import Output
from executor.transfers import Store
from executor.work_order import WorkOrder

_LINES_KEPT = 200
_BETWEEN_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where one run lies on disk."""

    uploads: Path
    bundle: Path
    inputs: Path
    output: Path
    home: Path

    @staticmethod
    def below(root: Path) -> "Folders":
        folders = Folders(**{name: root / name for name in ("uploads", "bundle", "inputs", "output", "home")})
        for path in (folders.uploads, folders.bundle, folders.inputs, folders.output, folders.home):
            path.mkdir(parents=True)
        return folders


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run completes with."""

    result: Mapping[str, Any]
    output_sets: Sequence[str]


class Work:
    """One run at work. Every step asks the lease whether to go on."""

    def __init__(
        self,
        *,
        order: WorkOrder,
        api: RunApi,
        lease: Lease,
        journal: Journal,
        store: Store,
        forge: Forge,
        folders: Folders,
        cache: Path,
        limits: Limits,
    ) -> None:
        self._order = order
        self._api = api
        self._lease = lease
        self._journal = journal
        self._store = store
        self._forge = forge
        self._folders = folders
        self._cache = cache
        self._limits = limits
        self._told_at = 0.0

    def do(self) -> Result:
        """Do the run. Raises RunFailed, Interrupted, LeaseLost."""
        values = params.checked(self._order.params)
        uploads = self._fetch_inputs()
        bundle = self._fetch_bundle()
        staged = self._stage(uploads, bundle)
        with self._step("transform"):
            if bundle.kind == ECHO:
                self._echo(staged, values)
            else:
                self._earthmover(bundle, staged, values)
            made = outputs.collect(self._folders.output, self._lease.check)
        counts = outputs.require_records(made, bundle.report_resources)
        sent = self._send(bundle) if self._order.ods else None
        uid = self._publish(made, sent_to_ods=sent is not None and sent.is_success)
        result: dict[str, Any] = {"counts": dict(counts)}
        if sent is not None:
            result["ods"] = sent.summary()
        return Result(result=result, output_sets=[uid])

    def _fetch_inputs(self) -> dict[str, Path]:
        with self._step("fetch"):
            self._journal.progress(1, "fetch", f"{len(self._order.inputs)} input files")
            found = {
                each.key: inputs.fetch(each, self._folders.uploads, self._store)
                for each in self._order.inputs
            }
            self._journal.progress(8, "fetch", "input files fetched")
            return found

    def _fetch_bundle(self) -> Bundle:
        with self._step("bundle"):
            archive = bundles.fetch(self._order.archive, self._cache, self._store)
            bundles.unpack(archive, self._folders.bundle)
            bundle = bundles.load(self._folders.bundle, self._order.archive.key)
            bundles.replace_mappings(bundle, self._order.mappings, self._store)
            self._journal.progress(12, "bundle", "bundle fetched")
            return bundle

    def _stage(self, uploads: Mapping[str, Path], bundle: Bundle) -> list[Staged]:
        with self._step("stage"):
            staged = [
                inputs.stage(each, uploads[each.key], self._folders.inputs, bundle, self._lease.check)
                for each in self._order.inputs
            ]
            for each in staged:
                self._journal.say(f"{each.key}: {each.rows} rows, {each.encoding}")
            self._journal.progress(18, "stage", f"{sum(each.rows for each in staged)} rows")
            return staged

    def _echo(self, staged: Sequence[Staged], values: Mapping[str, str]) -> None:
        def told(part: float, message: str) -> None:
            self._journal.progress(20 + 55 * part, "transform", message)

        echo.run(staged, values, self._folders.output, pause=self._lease.check, told=told)

    def _earthmover(self, bundle: Bundle, staged: Sequence[Staged], values: Mapping[str, str]) -> None:
        project = bundles.prepare(bundle, self._order)
        given = (
            {**values}
            | {each.key: str(each.path) for each in staged}
            | self._places(bundle)
            | dict(project.params)
        )
        arguments = ["run", "-k", "-c", str(project.config), "--params", json.dumps(given)]
        self._journal.progress(20, "transform", "earthmover started")
        tail, ended = self._child(EARTHMOVER, arguments)
        if ended.exit_code != 0:
            columns: frozenset[str] = staged[0].columns if staged else frozenset()
            raise _Explained(tail, ended, self._limits.memory_mb, columns)

    def _places(self, bundle: Bundle) -> dict[str, str]:
        folders = self._folders
        return {
            "OUTPUT_DIR": str(folders.output),
            "DATA_DIR": str(folders.output),
            "BUNDLE_DIR": str(bundle.folder),
            "TEMPORARY_DIRECTORY": str(folders.home),
            "STATE_FILE": str(folders.home / "runs.csv"),
        }

    def _send(self, bundle: Bundle) -> ods.Sent:
        store = self._order.ods
        if store is None:
            raise RunFailed("no_ods", "The work order names no ODS.", CLIENT)
        config, results = self._folders.home / "lightbeam.yaml", self._folders.home / "results.json"
        ods.write_config(config, bundle.folder, self._folders.output, store)
        self._journal.progress(77, "send", "sending to the ODS")
        self._lease.refresh()  # design.md §5, 10: nobody else may be sending this run
        with self._step("send"):
            tail, ended = self._child(LIGHTBEAM, ods.arguments(config, results, store))
        sent = ods.read_results(results)
        if sent is None or (ended.exit_code not in (0, ods.FAILED, ods.ALL_SKIPPED)):
            failure = explain(tail, ended, memory_mb=self._limits.memory_mb)
            if failure.code == "bundle_failed":
                sentence = "Sending to the ODS broke off. The run will be tried again."
                raise RunFailed("ods_failed", sentence, CONNECTION)
            raise RunFailed(failure.code, failure.sentence, failure.error_class)
        level = "info" if sent.is_success else "error"
        self._journal.say(f"ODS: {sent.processed} records, {sent.failed} refused", level, **sent.summary())
        return sent

    def _publish(self, made: Sequence[Output], *, sent_to_ods: bool) -> str:
        def told(number: int, name: str) -> None:
            self._journal.progress(85 + 13 * number / len(made), "upload", f"{name} uploaded")

        self._journal.progress(85, "upload", f"{len(made)} files")
        with self._step("upload"):
            return outputs.publish(made, self._api, self._store, sent_to_ods=sent_to_ods, told=told)

    def _child(self, program: str, arguments: Sequence[str]) -> tuple[list[str], Ended]:
        tail: deque[str] = deque(maxlen=_LINES_KEPT)

        def hear(line: str) -> None:
            facts = marked(line)
            if facts is not None:
                self._written(facts)
            elif line:
                tail.append(line)
                self._journal.say(line, level(line), source=program)

        order = Order(
            program=program, arguments=list(arguments), folder=str(self._folders.home), limits=self._limits
        )
        ended = self._forge.run(order, hear=hear, check=self._lease.check)
        metrics.CHILD_CPU.inc(ended.cpu_seconds)
        usage = f"{program}: {ended.cpu_seconds:.1f} CPU seconds, {ended.peak_mb:.0f} MB at most"
        self._journal.say(usage, "debug")
        return list(tail), ended

    def _written(self, facts: Mapping[str, object]) -> None:
        """Report a destination that earthmover has written, with its records."""
        name, done, total = facts.get("destination"), facts.get("done"), facts.get("total")
        if not (isinstance(name, str) and isinstance(done, int) and isinstance(total, int) and total):
            return
        path = self._folders.output / f"{Path(name).name}.jsonl"
        records = _lines(path) if path.is_file() else 0
        self._journal.progress(20 + 55 * min(done / total, 1.0), "transform", f"{name}: {records} records")

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._lease.check()
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        metrics.STEP_SECONDS.labels(name).observe(seconds)
        get_logger().debug("step_done", step=name, seconds=round(seconds, 3))


class _Explained(RunFailed):
    """What a child printed before it failed, made into a sentence."""

    def __init__(self, tail: Sequence[str], ended: Ended, memory_mb: int, columns: frozenset[str]) -> None:
        failure = explain(tail, ended, memory_mb=memory_mb, columns=columns)
        super().__init__(failure.code, failure.sentence, failure.error_class)


def level(line: str) -> str:
    """The level of a line a child printed, for the run's log; stack traces are for debugging only."""
    if " ERROR " in line or " CRITICAL " in line:
        return "error"
    return "warn" if " WARNING " in line else "info" if " INFO " in line else "debug"


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1024 * 1024), b""))
