"""End what a dead test run left: a small process that waits for its parent's end of a pipe to close.

However the parent ends, SIGKILL included, the kernel closes the pipe. Then every process the parent named is
ended and the temporary folder removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from stack.launch import this_python

GRACE_SECONDS = 20
REMOVALS = 30


class Guard:
    """Our end of the pipe. `watch` names a process to end, `close` ends the guard without harm to anyone."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            this_python("stack.guard", str(folder)), stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, pid: int, number: signal.Signals = signal.SIGKILL) -> Self:
        """Name a process that must not outlive us, and the signal that ends it."""
        self._say(f"{pid} {started_at(pid)} {number.value}\n")
        return self

    def remove(self, paths: Iterable[Path]) -> None:
        """Name files outside the folder that are to go with it."""
        for path in paths:
            self._say(f"{path}\n")

    def close(self) -> None:
        """Remove the folder and end; call it after all watched processes have ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(GRACE_SECONDS * 2)

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def started_at(pid: int) -> str:
    """Return when a living process began, in the kernel's ticks, or an empty text.

    With the pid it names one process for ever. A zombie has ended: only its parent has not looked yet.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]


def main(arguments: Sequence[str]) -> None:
    """Wait for the end of the parent, then end the named processes and remove the folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    lines = sys.stdin.read().splitlines()
    alive = [_watched(line) for line in lines if not line.startswith("/")]
    for pid, start, number in alive:
        _send(pid, start, number)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(started_at(pid) == start for pid, start, _ in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, start, _ in alive:
        _send(pid, start, signal.SIGKILL)
    for path in [line for line in lines if line.startswith("/")]:
        Path(path).unlink(missing_ok=True)
    _remove_folder(arguments[0])


def _watched(line: str) -> tuple[int, str, int]:
    pid, start, number = line.split(" ")
    return int(pid), start, int(number)


def _remove_folder(folder: str) -> None:
    for _ in range(REMOVALS):  # children of a killed server may still write for a moment
        shutil.rmtree(folder, ignore_errors=True)
        if not Path(folder).exists():
            return
        time.sleep(0.1)


def _send(pid: int, start: str, number: int) -> None:
    if started_at(pid) == start:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    main(sys.argv[1:])
