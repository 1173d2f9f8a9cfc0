"""Where a stack keeps its state: everything under one folder that can be deleted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

DEFAULT_FOLDER = ".taxiway"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders and files of one stack."""

    root: Path

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def server(self, name: str) -> Path:
        return self.root / name

    def work(self, executor: str) -> Path:
        return self.root / "work" / executor


def layout_from(environment: Mapping[str, str], repository: Path) -> Layout:
    """Choose the state folder: TAXIWAY_STATE, or one beside the code."""
    chosen = environment.get("TAXIWAY_STATE") or str(repository / DEFAULT_FOLDER)
    return Layout(root=Path(chosen).expanduser().absolute())


def make_folders(layout: Layout) -> None:
    """Make the state folder, readable by its owner only.

    Others may walk through it: PostgreSQL may have to run as another user.

    Raises StackError when it cannot be made or written.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        layout.root.chmod(0o711)
        for folder in (
            layout.secrets,
            layout.logs,
            layout.temporary,
            layout.supervisor,
            layout.root / "work",
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(layout, error.strerror or "it cannot be made") from error
    if not os.access(layout.root, os.W_OK | os.X_OK):
        raise _unusable(layout, "it is not writable")
    if set(str(layout.root)) & set("\"'\\\n"):
        raise _unusable(layout, "its name has quotes or backslashes")


def _unusable(layout: Layout, why: str) -> StackError:
    return StackError(
        f"The state folder {layout.root} cannot be used ({why}): set TAXIWAY_STATE to another one."
    )
