"""How many rows of the input were matched with a student of the roster, read from what the packages wrote."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.failures import RunFailed

RATES, UNMATCHED = "student_id_match_rates.csv", "input_no_student_id_match.csv"
_LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How well one column of the input goes with one id type of the roster; `rate` is from 0 to 1."""

    rate: float
    column: str
    id_type: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The best rate, how many rows matched nobody, and the files a person can look at."""

    best: Rate | None
    unmatched: int
    files: tuple[Path, ...]

    def require(self, rate: float) -> None:
        """Raise RunFailed (`insufficient_matches`) when the best rate is below `rate`."""
        if self.best is None:
            sentence = (
                f"No student of the input was found in the roster; {rate:.0%} are required."
                " Check that the roster is that of this tenant and year, and that it has these ids."
            )
            raise RunFailed("insufficient_matches", sentence)
        if self.best.rate < rate:
            sentence = (
                f"{self.best.rate:.1%} of the rows were matched with students of the roster;"
                f" {rate:.0%} are required. The best match was the column {self.best.column}"
                f" with the id type {self.best.id_type}."
            )
            raise RunFailed("insufficient_matches", sentence)

    def summary(self) -> Mapping[str, Any] | None:
        """Say how many rows, and what part of all, stay unmatched; None when none does."""
        if not self.unmatched:
            return None
        rows = self.best.rows if self.best else 0
        return {"count": self.unmatched, "rate": round(self.unmatched / max(rows, self.unmatched), 4)}


def were_counted(folder: Path) -> bool:
    """Tell whether matching came to an end, whatever failed later."""
    return (folder / RATES).is_file()


def read(folder: Path) -> Matches:
    """Read the packages' two files; a missing one means that nothing was matched, or nothing left."""
    rates, unmatched = folder / RATES, folder / UNMATCHED
    best = max(_rates(rates), key=lambda each: (each.rate, each.column, each.id_type), default=None)
    count = _rows(unmatched)
    files = [path for path, rows in ((rates, _rows(rates)), (unmatched, count)) if rows]
    return Matches(best=best, unmatched=count, files=tuple(files))


def _rates(path: Path) -> list[Rate]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [rate for row in csv.DictReader(file) if (rate := _rate(row)) is not None]


def _rate(row: Mapping[str, str | None]) -> Rate | None:
    try:
        return Rate(
            rate=float(row["match_rate"] or 0),
            column=(row["source_column_name"] or "")[:_LONGEST_NAME],
            id_type=(row["edfi_column_name"] or "")[:_LONGEST_NAME],
            rows=int(float(row["num_rows"] or 0)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _rows(path: Path) -> int:
    """Count the rows below the header; the packages write one a line."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return max(sum(1 for line in file if line.strip()) - 1, 0)
