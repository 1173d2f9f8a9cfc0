"""Read the logs of the stack."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

TAIL_BYTES = 16_384
FOLLOW_SECONDS = 0.3


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log; empty when there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def follow(paths: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield (name, line) as lines are written, without end; survives rotation and files that come later."""
    followed = {name: Followed(path) for name, path in paths.items()}
    while True:
        fresh = [(name, line) for name, log in followed.items() for line in log.fresh_lines()]
        yield from fresh
        if not fresh:
            time.sleep(FOLLOW_SECONDS)


class Followed:
    """One log read from its end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        if path.exists():
            self._file = path.open("rb")
            self._file.seek(0, 2)

    def fresh_lines(self) -> list[str]:
        """Return the whole lines written since the last call."""
        self._reopen_when_rotated()
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _reopen_when_rotated(self) -> None:
        if not self._path.exists():
            return
        size = self._path.stat().st_size
        if self._file is None or size < self._file.tell():
            if self._file is not None:
                self._file.close()
            self._file = self._path.open("rb")
