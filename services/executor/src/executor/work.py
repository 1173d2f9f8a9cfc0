"""The steps of one run, from its inputs to its sealed output set."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.logs import get_logger
from executor import bundle as bundles
from executor import echo, inputs, matches, metrics, ods, outputs, params, projects, rosters
from executor.bundle import ECHO, Bundle
from executor.cache import Cache
from executor.failures import RunFailed
from executor.inputs import Staged
from executor.orders import EARTHMOVER, LIGHTBEAM
from executor.outputs import Output
from executor.programs import Broken, Programs
from executor.rosters import Roster
from executor.work_order import MATCHED, WorkOrder
from executor_sdk import Run
from executor_sdk.errors import CLIENT, CONNECTION
from executor_sdk.output_sets import REPORT, RESULT


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where one run lies on disk."""

    uploads: Path
    bundle: Path
    inputs: Path
    roster: Path
    output: Path
    home: Path

    @staticmethod
    def below(root: Path) -> "Folders":
        names = ("uploads", "bundle", "inputs", "roster", "output", "home")
        folders = {name: root / name for name in names}
        for path in folders.values():
            path.mkdir(parents=True)
        return Folders(**folders)


class Work:
    """One run at work. Every step asks whether to go on."""

    def __init__(
        self,
        *,
        order: WorkOrder,
        run: Run,
        programs: Programs,
        folders: Folders,
        cache: Cache,
    ) -> None:
        self._order = order
        self._run = run
        self._programs = programs
        self._folders = folders
        self._cache = cache

    def do(self) -> dict[str, Any]:
        """Do the run and return its result. Raises RunFailed, Interrupted."""
        values = params.checked(self._order.params)
        uploads = self._fetch_inputs()
        bundle = self._fetch_bundle()
        roster = self._fetch_roster(bundle) if self._is_matched(bundle) else None
        staged = self._stage(uploads, bundle)
        with self._step("transform"):
            self._transform(bundle, roster, staged, values)
        result = self._matched() if roster else {}
        made = outputs.collect(self._folders.output, self._run.check_cancelled)
        counts = outputs.require_records(made, bundle.report_resources)
        sent = self._send(bundle) if self._order.ods else None
        self._publish(made, sent_to_ods=sent is not None and sent.is_success)
        if sent is not None:
            result["ods"] = sent.summary()
        return {"counts": dict(counts), **result}

    def _is_matched(self, bundle: Bundle) -> bool:
        return self._order.archive.mode == MATCHED and bundle.kind != ECHO

    def _fetch_inputs(self) -> dict[str, Path]:
        with self._step("fetch"):
            self._run.progress(1, f"{len(self._order.inputs)} input files", step="fetch")
            found = {
                each.key: self._run.fetch_input(each.key, self._folders.uploads / f"{each.key}.upload")
                for each in self._order.inputs
            }
            self._run.progress(8, "input files fetched", step="fetch")
            return found

    def _fetch_bundle(self) -> Bundle:
        with self._step("bundle"):
            archive = bundles.fetch(self._order.archive, self._cache, self._run.storage)
            bundles.unpack(archive, self._folders.bundle)
            bundle = bundles.load(self._folders.bundle, self._order.archive.key)
            replaced = bundles.replace_mappings(bundle, self._order.mappings, self._run.storage)
            if replaced:
                self._run.log(f"The partner's own descriptor mappings: {', '.join(replaced)}")
            self._run.progress(12, "bundle fetched", step="bundle")
            return bundle

    def _fetch_roster(self, bundle: Bundle) -> Roster:
        """Get the roster from the ODS the run sends to, else from storage; what came is not kept."""
        came, staged = self._folders.roster / "came.jsonl", self._folders.roster / "roster.jsonl"
        with self._step("roster"):
            if self._order.ods:
                came = ods.fetch_roster(self._order.ods, self._programs, self._folders.roster, bundle.folder)
            else:
                rosters.fetch(self._order.roster, came, self._run.storage)
            roster = rosters.stage(came, staged, self._run.check_cancelled)
            came.unlink()
        types = ", ".join(roster.id_types) or "none but the unique id"
        self._run.progress(15, f"roster of {roster.rows} students, id types: {types}", step="roster")
        return roster

    def _stage(self, uploads: Mapping[str, Path], bundle: Bundle) -> list[Staged]:
        with self._step("stage"):
            staged = [
                inputs.stage(each, uploads[each.key], self._folders.inputs, bundle, self._run.check_cancelled)
                for each in self._order.inputs
            ]
            for each in staged:
                self._run.log(f"{each.key}: {each.rows} rows, {each.encoding}")
            self._run.progress(18, f"{sum(each.rows for each in staged)} rows", step="stage")
            return staged

    def _transform(
        self, bundle: Bundle, roster: Roster | None, staged: Sequence[Staged], values: Mapping[str, str]
    ) -> None:
        if bundle.kind == ECHO:
            self._echo(staged, values)
            return
        try:
            self._earthmover(bundle, roster, staged, values)
        except Broken:
            if roster and matches.were_counted(self._folders.output):
                self._matched()  # nothing matched is the better reason: the rest had nothing to work on
            raise

    def _echo(self, staged: Sequence[Staged], values: Mapping[str, str]) -> None:
        def told(part: float, message: str) -> None:
            self._run.progress(20 + 55 * part, message, step="transform")

        echo.run(staged, values, self._folders.output, pause=self._run.check_cancelled, told=told)

    def _earthmover(
        self, bundle: Bundle, roster: Roster | None, staged: Sequence[Staged], values: Mapping[str, str]
    ) -> None:
        project = projects.prepare(bundle, self._order, roster)
        given = (
            dict.fromkeys(bundle.input_keys, "")  # an optional source without a file is an empty one
            | {**values}
            | {each.key: str(each.path) for each in staged}
            | self._places(bundle)
            | dict(project.params)
        )
        arguments = ["run", "-k", "-c", str(project.config), "--params", json.dumps(given)]
        self._run.progress(20, "earthmover started", step="transform")
        tail, ended = self._programs.run(EARTHMOVER, arguments)
        if ended.exit_code != 0:
            columns: frozenset[str] = staged[0].columns if staged else frozenset()
            raise self._programs.broken(tail, ended, columns)

    def _places(self, bundle: Bundle) -> dict[str, str]:
        folders = self._folders
        return {
            "OUTPUT_DIR": str(folders.output),
            "DATA_DIR": str(folders.output),
            "BUNDLE_DIR": str(bundle.folder),
            "TEMPORARY_DIRECTORY": str(folders.home),
            "STATE_FILE": str(folders.home / "runs.csv"),
        }

    def _matched(self) -> dict[str, Any]:
        """Publish what is to be said of the matching, then judge it: the report is there on failure too."""
        found = matches.read(self._folders.output)
        files = [outputs.measure(path, self._run.check_cancelled) for path in found.files]
        outputs.publish(files, self._run, kind=REPORT)
        found.require(self._order.required_match_rate)
        unmatched = found.summary()
        return {"unmatched": unmatched} if unmatched else {}

    def _send(self, bundle: Bundle) -> ods.Sent:
        store = self._order.ods
        if store is None:
            raise RunFailed("no_ods", "The work order names no ODS.", CLIENT)
        config, results = self._folders.home / "lightbeam.yaml", self._folders.home / "results.json"
        ods.write_config(config, bundle.folder, self._folders.output, store)
        self._run.progress(77, "sending to the ODS", step="send")
        self._run.confirm_lease()  # design.md §5, 10: nobody else may be sending this run
        with self._step("send"):
            tail, ended = self._programs.run(LIGHTBEAM, ods.arguments(config, results, store))
        sent = ods.read_results(results)
        if sent is None or (ended.exit_code not in (0, ods.FAILED, ods.ALL_SKIPPED)):
            broken = self._programs.broken(tail, ended)
            if broken.failure.code == "bundle_failed":
                sentence = "Sending to the ODS broke off. The run will be tried again."
                raise RunFailed("ods_failed", sentence, CONNECTION)
            raise broken
        level = "info" if sent.is_success else "error"
        self._run.log(f"ODS: {sent.processed} records, {sent.failed} refused", level, **sent.summary())
        return sent

    def _publish(self, made: Sequence[Output], *, sent_to_ods: bool) -> None:
        def told(number: int, name: str) -> None:
            self._run.progress(85 + 13 * number / len(made), f"{name} uploaded", step="upload")

        self._run.progress(85, f"{len(made)} files", step="upload")
        with self._step("upload"):
            outputs.publish(made, self._run, kind=RESULT, sent_to_ods=sent_to_ods, told=told)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._run.check_cancelled()
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        metrics.STEP_SECONDS.labels(name).observe(seconds)
        get_logger().debug("step_done", step=name, seconds=round(seconds, 3))
