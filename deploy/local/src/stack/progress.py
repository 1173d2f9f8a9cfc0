"""Show how far a start has come: a line a step, with its duration."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    """Is told what happens while a stack comes up."""

    def waiting(self, title: str) -> None: ...
    def done(self, title: str, seconds: float) -> None: ...


class Silent:
    """Tells nobody; for tests."""

    def waiting(self, title: str) -> None:
        """Ignore it."""

    def done(self, title: str, seconds: float) -> None:
        """Ignore it."""


class Terminal:
    """Writes a line a step; on a terminal the step under way stands on the last line."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._is_live = out.isatty()

    def waiting(self, title: str) -> None:
        if self._is_live:
            self._write(f"\r\033[K  … {title}")

    def done(self, title: str, seconds: float) -> None:
        start = "\r\033[K" if self._is_live else ""
        self._write(f"{start}  ✓ {title:<34}{seconds:6.1f} s\n")

    def say(self, text: str = "") -> None:
        """Write a line that is no step."""
        self._write(f"{text}\n")

    def end_line(self) -> None:
        """Leave the step that was under way standing, before something else is written."""
        if self._is_live:
            self._write("\n")

    def table(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Write rows with aligned columns."""
        rows = list(rows)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


@contextmanager
def step(progress: Progress, title: str) -> Iterator[None]:
    """Report something as it begins and when it has worked."""
    progress.waiting(title)
    begun = time.monotonic()
    yield
    progress.done(title, time.monotonic() - begun)
