"""A row's own folder and processes. Both go when the row ends, however it ends."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import Self

from stack.checkout import repository_root
from stack.guard import Guard
from stack.launch import Launch, Server

SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
ROOT = repository_root()


class Place:
    """Starts servers pinned to a core and stops them in the reverse order."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taxiway-bench-"))
        self.folder.chmod(0o755)  # nginx's worker may be another user
        self._guard = Guard(self.folder)
        self._servers: list[Server] = []

    def start(
        self,
        name: str,
        command: Iterable[str | Path],
        ready: Callable[[], bool],
        *,
        core: int = SERVER_CORE,
        environment: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> Server:
        """Start a server on a core and wait for it. Raises NotReady with the end of its log."""
        launch = Launch(
            name=name,
            command=("taskset", "-c", str(core), *map(str, command)),
            folder=ROOT,
            stop_signal=SIGTERM,
            is_ready=ready,
            environment=environment or {},
        )
        server = Server(launch, self.folder / f"{name}.log", on_start=self._guard.watch)
        self._servers.append(server)
        return server.start().wait_ready(seconds)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the folder, for others to read too."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in reversed(self._servers):
            server.stop()
        self._guard.close()


def tree(pids: Iterable[int]) -> list[int]:
    """List processes and everything below them."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += [int(child) for child in _read(task).split()]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Say what processes and everything below them have used, children that ended included (proc(5))."""
    return sum(_cpu_ticks(pid) for pid in tree(pids)) / TICKS


def memory_mb(pids: Iterable[int]) -> float:
    """Say how much memory processes and everything below them hold, shared pages counted in part."""
    rows = [
        line.split() for pid in tree(pids) for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    ]
    return sum(int(row[1]) for row in rows if row[0] == "Pss:") / 1024


def open_files(pids: Iterable[int]) -> int:
    """Count what processes and everything below them have open, connections included (proc(5))."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(pids))


@contextmanager
def peak_mb(pids: Iterable[int]) -> Iterator[Callable[[], float]]:
    """Watch the most memory that any one process below `pids` holds meanwhile (proc(5), clear_refs)."""
    watched = tree(pids)
    for pid in watched:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
    most: list[float] = []
    yield lambda: most[0]
    most.append(max(_peak_kb(pid) for pid in watched) / 1024)


def pin(pids: Iterable[int], core: int) -> None:
    """Bind running processes, all their threads and everything below them to a core."""
    for pid in tree(pids):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def _peak_kb(pid: int) -> int:
    rows = [line.split() for line in _read(Path(f"/proc/{pid}/status")).splitlines()]
    return next((int(row[1]) for row in rows if row[0] == "VmHWM:"), 0)


def _cpu_ticks(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2].split()
    return sum(map(int, fields[11:15]))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""  # it has ended
