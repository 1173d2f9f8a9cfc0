"""An output set in the making: files are announced together, uploaded by presigned URLs, then sealed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from executor_sdk.api import RunApi
from executor_sdk.storage import Storage

RESULT, REPORT = "result", "report"  # what a set is for
Told = Callable[[int, str], None]
"""Hears how many files are uploaded, and the name of the last."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a set: where it lies here, and what the server checks it by."""

    path: Path
    name: str
    size_bytes: int
    sha256: str

    @property
    def announcement(self) -> dict[str, Any]:
        return {"name": self.name, "size_bytes": self.size_bytes, "sha256": self.sha256}


class OutputSet:
    """A context that uploads and seals at its end; nothing is made when it has no file or the body fails."""

    def __init__(
        self,
        api: RunApi,
        storage: Storage,
        sealed: Callable[[str], None],
        *,
        name: str,
        kind: str = RESULT,
        sent_to_ods: bool = False,
        told: Told = lambda _number, _name: None,
    ) -> None:
        self._api = api
        self._storage = storage
        self._sealed = sealed
        self._announced = {"name": name, "kind": kind, "sentToOds": sent_to_ods}
        self._told = told
        self._files: list[File] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is None and self._files:
            self._publish()

    def add(self, path: Path | str, *, name: str = "", size_bytes: int = -1, sha256: str = "") -> None:
        """Add a file that is written to its end; one whose size and digest are known is not read for them."""
        place = Path(path)
        file = File(
            path=place,
            name=name or place.name,
            size_bytes=size_bytes if size_bytes >= 0 else place.stat().st_size,
            sha256=sha256 or _digest(place),
        )
        self._files.append(file)

    def _publish(self) -> None:
        files = [file.announcement for file in self._files]
        opened = self._api.post("output-sets", {**self._announced, "files": files})
        uid, headers = opened["uid"], opened.get("uploadHeaders") or {}
        for number, file in enumerate(self._files, start=1):
            self._storage.upload(opened["uploadUrls"][file.name], file.path, headers.get(file.name, {}))
            self._told(number, file.name)
        self._api.post(f"output-sets/{uid}/seal", {})
        self._sealed(uid)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
