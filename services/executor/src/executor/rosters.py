"""The roster a bundle's students are matched with: fetched, checked, and cut down to what matching needs.

It is personal data: it lies in the run's own folder, is never uploaded, and no line of it is ever logged. The
child gets ids only; whatever else a line tells of a student is left out.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.bundle import digest
from executor.failures import RunFailed
from executor.work_order import Link
from executor_sdk.errors import CLIENT, TRANSIENT
from executor_sdk.storage import Gone, Storage

MOST_ID_TYPES = 20  # each is joined with each id column of the input
_ID_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,63}")  # becomes part of YAML, Jinja and a query
_RESERVED = frozenset({"studentUniqueId", "edOrgId", "edOrgType"})  # columns the packages make themselves
_LINES_BETWEEN_PAUSES = 1000
_NONE = "Students are matched with a roster, and there is none for this tenant and school year."


@dataclass(frozen=True, kw_only=True)
class Roster:
    """A roster as the bundle will read it, and the id systems found in it, the most frequent first."""

    path: Path
    rows: int
    id_types: tuple[str, ...]


def fetch(link: Link | None, target: Path, store: Storage) -> None:
    """Download the roster; RunFailed when there is none (`no_roster`) or it is another one now."""
    if link is None:
        raise RunFailed("no_roster", _NONE, CLIENT)
    try:
        store.download(link.url, target)
    except Gone as error:
        raise RunFailed("roster_unavailable", "The roster is not in storage.", TRANSIENT) from error
    if link.sha256 and digest(target) != link.sha256:
        raise RunFailed("roster_changed", "The roster is not the one that was uploaded.", CLIENT)


def stage(source: Path, target: Path, pause: Callable[[], None]) -> Roster:
    """Rewrite a roster with nothing but ids in it. Raises RunFailed (`bad_roster`) naming a faulty line."""
    counted: Counter[str] = Counter()
    rows = 0
    with source.open(encoding="utf-8-sig") as lines, target.open("w", encoding="utf-8") as staged:
        for number, association in _associations(lines):
            if number % _LINES_BETWEEN_PAUSES == 0:
                pause()
            counted.update({_system(each) for each in association["studentIdentificationCodes"]})
            staged.write(json.dumps(association) + "\n")
            rows += 1
    if not rows:
        raise _bad("it is empty")
    return Roster(path=target, rows=rows, id_types=_id_types(counted))


def _associations(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _ids_of(json.loads(line))
    except UnicodeDecodeError as error:
        raise _bad("it is not UTF-8") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(f"its line {number} is no student with ids") from error


def _ids_of(record: Mapping[str, Any]) -> dict[str, Any]:
    place = _object(record.get("educationOrganizationReference")) or {}
    student = str(_object(record["studentReference"])["studentUniqueId"])
    if not student:
        raise ValueError("no studentUniqueId")
    return {
        "educationOrganizationReference": {
            "educationOrganizationId": place.get("educationOrganizationId", ""),
            "link": {"rel": (place.get("link") or {}).get("rel", "")},
        },
        "studentReference": {"studentUniqueId": student},
        "studentIdentificationCodes": [
            {
                "studentIdentificationSystemDescriptor": str(each["studentIdentificationSystemDescriptor"]),
                "identificationCode": str(each["identificationCode"]),
            }
            for each in _object(record.get("studentIdentificationCodes")) or []
        ],
    }


def _object(value: Any) -> Any:
    """Read what is JSON inside of JSON, as exports from warehouses have it."""
    return json.loads(value) if isinstance(value, str) else value


def _system(code: Mapping[str, str]) -> str:
    return code["studentIdentificationSystemDescriptor"].rpartition("#")[2]


def _id_types(counted: Counter[str]) -> tuple[str, ...]:
    usable = [name for name in counted if _ID_TYPE.fullmatch(name) and name not in _RESERVED]
    return tuple(sorted(usable, key=lambda name: (-counted[name], name))[:MOST_ID_TYPES])


def _bad(reason: str) -> RunFailed:
    return RunFailed("bad_roster", f"The roster cannot be used: {reason}.", CLIENT)
