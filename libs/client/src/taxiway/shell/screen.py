"""Show results on standard output and everything else on standard error."""

import json
import time
from collections.abc import Sequence
from typing import Any, TextIO

from taxiway.errors import Problem
from taxiway.jobs import Job
from taxiway.wire import write

REDRAWN_SECONDS = 0.1
BAR = 24


class Screen:
    """With `as_json`, standard output gets one JSON document and progress is not shown."""

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._err = err
        self.as_json = as_json
        self._live = err.isatty() and not as_json
        self._drawn_at = 0.0
        self._said = ""

    def result(self, value: Any, *lines: str) -> None:
        """Show what was asked for: `value` as JSON, or `lines` for people."""
        if self.as_json:
            self._out.write(json.dumps(write(value), ensure_ascii=False, indent=2) + "\n")
        else:
            self._out.writelines(f"{plain(line)}\n" for line in lines)
        self._out.flush()

    def note(self, line: str) -> None:
        """Say something that is not the result."""
        if not self.as_json:
            self._clear()
            self._err.write(f"{plain(line)}\n")

    def moved(self, name: str, done: int, size: int) -> None:
        """Show how far a file is."""
        if done >= size > 0:
            self.note(f"{name}: {amount(size)}")
        elif self._live:
            self._draw(f"{bar(100 * done / size if size else 0)}  {name}  {amount(done)} of {amount(size)}")

    def watch(self, job: Job) -> None:
        """Show where a job is: one living line on a terminal, else a line a change."""
        run = job.last_run
        step, percent = (run.step or "", run.percent or 0) if run else ("", 0)
        attempt = f", attempt {run.attempt}" if run and run.attempt > 1 else ""
        said = f"{job.status}{attempt}{': ' if step else ''}{step}"
        if self._live and not job.is_final:
            self._draw(f"{bar(percent)}  {said}")
        elif said != self._said:
            self.note(said)
            self._said = said

    def wrong(self, sentence: str, problem: Problem | None = None) -> None:
        """Say what went wrong, and everything the server said about it."""
        if self.as_json:
            told = write(problem) if problem else {"detail": sentence}
            self._err.write(json.dumps(told, ensure_ascii=False) + "\n")
            return
        self._clear()
        self._err.writelines(f"{plain(line)}\n" for line in [f"taxiway: {sentence}", *_details(problem)])

    def _draw(self, line: str) -> None:
        if time.monotonic() - self._drawn_at >= REDRAWN_SECONDS:
            self._err.write(f"\r{plain(line)[:110]}\x1b[K")
            self._err.flush()
            self._drawn_at = time.monotonic()

    def _clear(self) -> None:
        if self._live and self._drawn_at:
            self._err.write("\r\x1b[K")
            self._drawn_at = 0.0


def plain(text: str) -> str:
    """Take out what would steer a terminal: the text may come from elsewhere."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def bar(percent: float) -> str:
    """Draw how much is done."""
    done = min(BAR, max(0, round(BAR * percent / 100)))
    return f"[{'#' * done}{'.' * (BAR - done)}] {percent:3.0f} %"


def amount(size_bytes: int) -> str:
    """Write a size for people."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, units = size_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns."""
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    padded = ([word.ljust(width) for word, width in zip(row, widths, strict=True)] for row in [head, *rows])
    return ["  ".join(words).rstrip() for words in padded]


def _details(problem: Problem | None) -> list[str]:
    if problem is None:
        return []
    faults = [(name, message) for name, messages in problem.details.items() for message in messages]
    lines = [f"  {name}: {message}" for name, message in faults if message != problem.detail]
    return lines + ([f"  request id: {problem.request_id}"] if problem.request_id else [])
