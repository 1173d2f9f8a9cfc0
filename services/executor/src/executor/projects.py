"""Make of an unpacked bundle the project that earthmover runs, in the mode the work order asks for."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from executor.bundle import PROJECTS, Bundle, bad_bundle
from executor.failures import RunFailed
from executor.rosters import Roster
from executor.work_order import MATCHED, WorkOrder
from executor_sdk.errors import CLIENT

WRAPPER = "student_id_wrapper"
_ID_COLUMN, _MATCHED_ID_COLUMN = "STUDENT_ID_NAME", "edFi_studentUniqueID"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Project:
    """What earthmover is told to run: its config file, and the parameters the mode adds."""

    config: Path
    params: Mapping[str, str]


def prepare(bundle: Bundle, order: WorkOrder, roster: Roster | None) -> Project:
    """Make the bundle ready to run. Raises RunFailed (`unsupported_mode`, `bad_bundle`)."""
    mode = MODES.get(order.archive.mode)
    if mode is None:
        sentence = f"This executor cannot run bundles in the mode {order.archive.mode!r}."
        raise RunFailed("unsupported_mode", sentence, CLIENT)
    return mode(bundle, order, roster)


def _direct(bundle: Bundle, order: WorkOrder, roster: Roster | None) -> Project:
    """Run the bundle's own project; the id column is in its parameters."""
    return Project(config=_config(bundle.folder, "it"), params={})


def _matched(bundle: Bundle, order: WorkOrder, roster: Roster | None) -> Project:
    """Run the shared package that composes the bundle with the matching of its students.

    earthmover looks for packages below the folder of the project it runs, so they are put there: no network,
    no `earthmover deps`.
    """
    if roster is None:
        raise RunFailed("no_roster", "Students are matched with a roster, and there is none.", CLIENT)
    name = order.archive.key.rpartition("/")[2]
    wrapper = bundle.root / "packages" / WRAPPER
    config = _config(wrapper, f"its package {WRAPPER}")
    if not _NAME.fullmatch(name):
        raise bad_bundle("its key is no name of a package")
    others = [each for each in sorted(wrapper.parent.iterdir()) if each.is_dir() and each != wrapper]
    for package, folder in ((name, bundle.folder), *((each.name, each) for each in others)):
        shutil.copytree(folder, wrapper / "packages" / package, copy_function=os.link, dirs_exist_ok=True)
    return Project(config=config, params=_supplied(name, order, roster))


def _supplied(name: str, order: WorkOrder, roster: Roster) -> dict[str, str]:
    """What the shared packages want to know. An id column named for the partner is the only one tried."""
    column = order.params.get(_ID_COLUMN)
    return {
        "ASSESSMENT_BUNDLE": name,
        "ASSESSMENT_BUNDLE_BRANCH": "main",
        "EDFI_ROSTER_SOURCE_TYPE": "file",
        "EDFI_ROSTER_FILE": str(roster.path),
        "EDFI_STUDENT_ID_TYPES": ",".join(roster.id_types),
        "REQUIRED_ID_MATCH_RATE": f"{order.required_match_rate:.6f}",
        _ID_COLUMN: _MATCHED_ID_COLUMN,
        **({"POSSIBLE_STUDENT_ID_COLUMNS": str(column)} if column else {}),
    }


def _config(folder: Path, whose: str) -> Path:
    for name in PROJECTS:
        if (folder / name).is_file():
            return folder / name
    raise bad_bundle(f"{whose} has no {PROJECTS[0]}")


MODES: dict[str, Callable[[Bundle, WorkOrder, Roster | None], Project]] = {
    "direct": _direct,
    MATCHED: _matched,
}
