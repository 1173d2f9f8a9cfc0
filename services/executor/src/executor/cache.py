"""The archives of bundles on this machine, under their digests, the longest unused leaving first.

Several executors may share the folder: a file that another has removed or is writing is no error.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A folder that holds at most `most_bytes`, or one archive when that alone is larger."""

    folder: Path
    most_bytes: int

    def place(self, sha256: str) -> Path:
        """Say where an archive is, or would be."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{sha256}.tar.gz"

    def used(self, path: Path) -> None:
        """Note that an archive was used just now, and make room by removing the longest unused ones."""
        with suppress(OSError):
            os.utime(path)
        found = sorted((each for each in map(_look, self.folder.iterdir()) if each), reverse=True)
        held = 0
        for _used_at, size, each in found:
            held += size
            if held > self.most_bytes and each != path:
                held -= size
                each.unlink(missing_ok=True)


def _look(path: Path) -> tuple[int, int, Path] | None:
    with suppress(OSError):
        seen = path.stat()
        return seen.st_mtime_ns, seen.st_size, path
    return None
