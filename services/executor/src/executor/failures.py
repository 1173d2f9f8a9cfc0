"""Why a run fails: a code, a sentence a person can act on, and a class the server retries by. Pure.

`explain()` reads what earthmover or lightbeam printed. The sentence never holds a stack trace or a path of
this machine; the technical lines are in the run's log.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import executor_sdk
from executor_sdk import Failure
from executor_sdk.errors import AUTH, CLIENT, CONNECTION, INVALID_INPUT, OOM, TIMEOUT, TRANSIENT, UNKNOWN

_NEAR_THE_LIMIT = 0.9


class RunFailed(executor_sdk.RunFailed):
    """The run cannot succeed; `failure` says why."""

    def __init__(self, code: str, sentence: str, error_class: str = INVALID_INPUT) -> None:
        super().__init__(sentence, code=code, error_class=error_class)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended: its exit code, or the signal that killed it, and whose signal that was."""

    exit_code: int | None
    signal: int | None
    timed_out: bool = False
    kernel_out_of_memory: bool = False
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A pattern in the output and what it means; `{name}` in the sentence is a group of the pattern."""

    code: str
    pattern: re.Pattern[str]
    sentence: str
    error_class: str = INVALID_INPUT


def _symptom(code: str, pattern: str, sentence: str, error_class: str = INVALID_INPUT) -> Symptom:
    return Symptom(
        code=code, pattern=re.compile(pattern, re.IGNORECASE), sentence=sentence, error_class=error_class
    )


SYMPTOMS = (
    _symptom(
        "out_of_memory",
        r"MemoryError|Unable to allocate|out of memory|std::bad_alloc|Cannot allocate memory",
        "The file needs more memory than a run may use. Split it and send the parts.",
        OOM,
    ),
    _symptom(
        "output_too_large",
        r"File too large",
        "An output file grew too large. Split the input.",
    ),
    _symptom(
        "disk_full",
        r"No space left on device",
        "The executor's disk is full. The run will be tried again.",
        TRANSIENT,
    ),
    _symptom(
        "missing_parameter",
        r"\$\{(?P<name>[A-Za-z_]\w*)\}",
        "The bundle uses the parameter {name}, which has no value.",
        CLIENT,
    ),
    _symptom("empty_file", r"No columns to parse from file|EmptyDataError", "The input file is empty."),
    _symptom(
        "unreadable_csv",
        r"Expected (?P<expected>\d+) fields in line (?P<line>\d+), saw (?P<saw>\d+)",
        "Line {line} of the input file has {saw} fields where {expected} were expected.",
    ),
    _symptom(
        "unreadable_csv",
        r"EOF inside string starting at row (?P<line>\d+)",
        "A quotation mark opened near line {line} of the input file is never closed.",
    ),
    _symptom(
        "unreadable_csv", r"Error tokenizing data", "The input file is not a CSV file that can be read."
    ),
    _symptom(
        "bad_encoding",
        r"codec can't decode byte|UnicodeDecodeError|invalid (start|continuation) byte",
        "The input file holds characters that are not text. Save it as UTF-8 and send it again.",
    ),
    _symptom(
        "missing_column",
        r"columns? specified are not present in the dataset: \[?[\"']?(?P<name>[^\"'\]]+)",
        "The input file has no column {name}. Check that it is the file this bundle expects.",
    ),
    _symptom(
        "missing_column",
        r"column [`'\"]?(?P<name>[^`'\"\n]+?)[`'\"]? not present in the dataset",
        "The input file has no column {name}. Check that it is the file this bundle expects.",
    ),
    _symptom(
        "missing_column",
        r"not found in dataset and not marked as optional[^\[]*\[(?P<name>[^\]]+)\]",
        "The input file has no column {name}. Check that it is the file this bundle expects.",
    ),
    _symptom(
        "missing_column",
        r"(?:Error rendering Jinja|rendering Jinja|KeyError).*?'(?P<name>[^']+)' is undefined",
        "The input file has no column {name}. Check that it is the file this bundle expects.",
    ),
    _symptom(
        "wrong_file",
        r"specified (?P<expected>\d+) `columns` but has (?P<columns>\d+) columns",
        "The input file has {columns} columns where {expected} were expected.",
    ),
    _symptom(
        "failed_expectation",
        r"failed expectation `(?P<name>[^`]+)` \((?P<rows>\d+) rows fail\)",
        "{rows} rows of the input file do not meet what the bundle expects: {name}.",
    ),
    _symptom(
        "template_error", r"Jinja", "A template of the bundle cannot be rendered with this file.", CLIENT
    ),
    _symptom(
        "missing_file",
        r"(?:source file|file|colspec file) [`']?(?P<name>[^`'\s]+)[`']? (?:not found|cannot be opened)",
        "The bundle reads the file {name}, which does not exist.",
        CLIENT,
    ),
    _symptom(
        "bundle_error",
        r"YAML could not be parsed|must define `|invalid source",
        "The bundle is faulty.",
        CLIENT,
    ),
    _symptom(
        "ods_refused",
        r"OAuth token could not be obtained",
        "The ODS refused the client id and secret it is configured with.",
        AUTH,
    ),
    _symptom(
        "ods_unreachable",
        r"could not connect to|could not reach|Unable to load|could not parse response from|ConnectionError",
        "The ODS could not be reached. The run will be tried again.",
        CONNECTION,
    ),
)


def explain(
    lines: Sequence[str], ended: Ended, *, memory_mb: int, columns: frozenset[str] = frozenset()
) -> Failure:
    """Say why a child failed, from its last lines and the way it ended."""
    by_end = _by_end(ended, memory_mb)
    if by_end is not None:
        return by_end
    text = "\n".join(lines)
    for symptom in SYMPTOMS:
        found = symptom.pattern.search(text)
        if found:
            return _described(symptom, found, columns)
    if ended.peak_mb > _NEAR_THE_LIMIT * memory_mb:
        return _described(SYMPTOMS[0], None, columns)
    sentence = "The bundle failed for a reason the executor does not know. The run's log has the details."
    return Failure(code="bundle_failed", sentence=sentence, error_class=CLIENT)


def _by_end(ended: Ended, memory_mb: int) -> Failure | None:
    if ended.timed_out:
        sentence = "The run took longer than it may and was stopped."
        return Failure(code="timed_out", sentence=sentence, error_class=TIMEOUT)
    if ended.kernel_out_of_memory:
        return _described(SYMPTOMS[0], None, frozenset())
    if ended.signal is not None:
        if ended.peak_mb > _NEAR_THE_LIMIT * memory_mb:
            return _described(SYMPTOMS[0], None, frozenset())
        sentence = "The program that makes the records broke off. The run will be tried again."
        return Failure(code="crashed", sentence=sentence, error_class=UNKNOWN)
    return None


def _described(symptom: Symptom, found: re.Match[str] | None, columns: frozenset[str]) -> Failure:
    groups = {name: _short(value) for name, value in (found.groupdict() if found else {}).items()}
    if symptom.code == "missing_column" and len(columns) == 1:
        sentence = "The input file has one column only: it has no header, or no commas between its values."
        return Failure(code="wrong_file", sentence=sentence, error_class=INVALID_INPUT)
    return Failure(
        code=symptom.code, sentence=symptom.sentence.format_map(groups), error_class=symptom.error_class
    )


def _short(value: str | None) -> str:
    """Keep a name readable: of a path only the last part, and no more than fits a sentence."""
    last = (
        (value or "").rstrip("/").rpartition("/")[2] if (value or "").startswith(("/", "./")) else value or ""
    )
    return last[:120]
