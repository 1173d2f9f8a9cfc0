"""Run earthmover and lightbeam in children on behalf of one run, and pass on what they say."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from executor import metrics
from executor.failures import Ended, RunFailed, explain
from executor.forge import Forge
from executor.orders import Limits, Order, marked
from executor_sdk import Run

_LINES_KEPT = 200


class Broken(RunFailed):
    """A child failed; what it printed is made into a sentence."""

    def __init__(self, tail: Sequence[str], ended: Ended, memory_mb: int, columns: frozenset[str]) -> None:
        failure = explain(tail, ended, memory_mb=memory_mb, columns=columns)
        super().__init__(failure.code, failure.sentence, failure.error_class)


class Programs:
    """Starts the children of one run, one after the other, in `home`."""

    def __init__(self, *, forge: Forge, run: Run, limits: Limits, home: Path, output: Path) -> None:
        self._forge = forge
        self._run = run
        self._limits = limits
        self._home = home
        self._output = output

    def run(
        self, program: str, arguments: Sequence[str], heard: Callable[[str], None] | None = None
    ) -> tuple[list[str], Ended]:
        """Run a program to its end; return its last lines and how it ended. `heard` may raise to end it."""
        tail: deque[str] = deque(maxlen=_LINES_KEPT)

        def hear(line: str) -> None:
            facts = marked(line)
            if facts is not None:
                self._written(facts)
            elif line:
                tail.append(line)
                self._run.log(line, level(line), source=program)
                if heard:
                    heard(line)

        order = Order(program=program, arguments=list(arguments), folder=str(self._home), limits=self._limits)
        ended = self._forge.run(order, hear=hear, check=self._run.check_cancelled)
        metrics.CHILD_CPU.inc(ended.cpu_seconds)
        usage = f"{program}: {ended.cpu_seconds:.1f} CPU seconds, {ended.peak_mb:.0f} MB at most"
        self._run.log(usage, "debug")
        return list(tail), ended

    def broken(self, tail: Sequence[str], ended: Ended, columns: frozenset[str] = frozenset()) -> Broken:
        """Make an error of how a child ended."""
        return Broken(tail, ended, self._limits.memory_mb, columns)

    def _written(self, facts: Mapping[str, object]) -> None:
        """Report a destination that earthmover has written, with its records."""
        name, done, total = facts.get("destination"), facts.get("done"), facts.get("total")
        if not (isinstance(name, str) and isinstance(done, int) and isinstance(total, int) and total):
            return
        path = self._output / f"{Path(name).name}.jsonl"
        message = f"{name}: {_lines(path)} records" if path.is_file() else name
        self._run.progress(20 + 55 * min(done / total, 1.0), message, step="transform")


def level(line: str) -> str:
    """The level of a line a child printed, for the run's log; stack traces are for debugging only."""
    if " ERROR " in line or " CRITICAL " in line:
        return "error"
    return "warn" if " WARNING " in line else "info" if " INFO " in line else "debug"


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1024 * 1024), b""))
