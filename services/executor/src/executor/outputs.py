"""Count, describe and upload what a run made."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from executor.failures import RunFailed
from executor_sdk import Run
from executor_sdk.output_sets import Told

PIECE = 1024 * 1024
_NOTHING = "The run made no records at all. Check that it is the right file and has rows."


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that was made: one resource, a record a line."""

    path: Path
    records: int
    size_bytes: int
    sha256: str

    @property
    def resource(self) -> str:
        return self.path.stem


def collect(folder: Path, pause: Callable[[], None]) -> list[Output]:
    """Measure every JSONL file that is not empty, by name."""
    files = sorted(path for path in folder.glob("*.jsonl") if path.is_file() and not path.is_symlink())
    return [output for output in (measure(path, pause) for path in files) if output.records]


def measure(path: Path, pause: Callable[[], None]) -> Output:
    """Count the lines and bytes of a file and take its digest, in one reading."""
    sha256, size, lines, ends = hashlib.sha256(), 0, 0, True
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            pause()
            sha256.update(piece)
            size, lines, ends = size + len(piece), lines + piece.count(b"\n"), piece.endswith(b"\n")
    return Output(path=path, records=lines + (not ends), size_bytes=size, sha256=sha256.hexdigest())


def require_records(outputs: Sequence[Output], report_resources: Sequence[str]) -> Mapping[str, int]:
    """Return the counts by resource, or raise RunFailed (`no_records`): nothing made is no success."""
    counts = {output.resource: output.records for output in outputs}
    if not counts:
        raise RunFailed("no_records", _NOTHING)
    missing = [name for name in report_resources if not counts.get(name)]
    if missing:
        sentence = f"The run made no {', '.join(missing)}. Check that it is the right file and has rows."
        raise RunFailed("no_records", sentence)
    return counts


def publish(
    outputs: Sequence[Output],
    run: Run,
    *,
    kind: str,
    sent_to_ods: bool = False,
    told: Told = lambda _number, _name: None,
) -> None:
    """Upload the files as one set and seal it; `told` hears how many are there."""
    with run.output_set(kind, kind=kind, sent_to_ods=sent_to_ods, told=told) as files:
        for output in outputs:
            files.add(output.path, size_bytes=output.size_bytes, sha256=output.sha256)
