"""Give the inputs our own names, and write them as UTF-8."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from executor import encoding
from executor.bundle import Bundle
from executor.work_order import Input

TEXT = frozenset({"csv", "tsv", "txt", "json", "jsonl", "ndjson", "xml", "html"})
_LONGEST_HEADER = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Staged:
    """An input as the bundle will read it. `rows` and `columns` are those of a text file, else 0 and none."""

    key: str
    path: Path
    encoding: str
    rows: int
    columns: frozenset[str]


def stage(each: Input, uploaded: Path, folder: Path, bundle: Bundle, pause: Callable[[], None]) -> Staged:
    """Put an input where the bundle reads it: text is rewritten as UTF-8, the rest is taken as it is."""
    kind = extension(each.file_name, bundle.file_types(each.key))
    target = folder / f"{each.key}.{kind}"
    if kind not in TEXT:
        uploaded.replace(target)
        return Staged(key=each.key, path=target, encoding="binary", rows=0, columns=frozenset())
    text = encoding.rewrite(uploaded, target, each.key, pause)
    uploaded.unlink()
    columns = _columns(target, "\t" if kind == "tsv" else ",") if kind in ("csv", "tsv") else frozenset()
    return Staged(key=each.key, path=target, encoding=text.encoding, rows=text.rows, columns=columns)


def extension(file_name: str, declared: list[str]) -> str:
    """Choose the extension: the client's if the bundle declares it, else the first declared, else csv."""
    given = file_name.rpartition(".")[2].lower() if "." in file_name else ""
    if given in declared:
        return given
    return declared[0] if declared and declared[0].isalnum() else "csv"


def _columns(path: Path, separator: str) -> frozenset[str]:
    with path.open(encoding="utf-8", newline="") as file:
        line = file.readline(_LONGEST_HEADER)
    return frozenset(next(csv.reader([line], delimiter=separator), []))
