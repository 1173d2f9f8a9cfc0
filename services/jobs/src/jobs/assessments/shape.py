"""Read the body of POST /jobs: its shape only, every fault at once (external-api.md §3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

MAX_ENTRIES = 200
MAX_NAME_LENGTH = 256
_TEXTS = ("partner", "tenant", "bundle", "schoolYear")
_YEAR = re.compile(r"[0-9]{4}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL keeps neither NUL nor half a surrogate pair

BAD_YEAR = 'School year must be a 4-digit end year, e.g. "2026" for the 2025-2026 school year'
EMPTY_FILE_NAME = "File names must not be empty"


class ShapeFaults(Exception):
    """The body is not a job; `details` maps each faulty field to its messages."""

    def __init__(self, details: Mapping[str, list[str]]) -> None:
        self.details = details
        super().__init__("; ".join(message for messages in details.values() for message in messages))


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What a client asks for. `files` maps an input's key to the client's file name; nulls are left out.

    `files_of`: the job they were uploaded for, where it is another one.
    """

    partner: str
    tenant: str
    bundle: str
    school_year: str
    files: Mapping[str, str]
    params: Mapping[str, Any]
    files_of: UUID | None = None


def read_job(body: object) -> JobRequest:
    """Turn a JSON value into a JobRequest, or raise ShapeFaults; unknown top-level keys are ignored."""
    if not isinstance(body, dict):
        raise ShapeFaults({"body": ["The body must be a JSON object"]})
    checks = {name: _text_faults(name, body.get(name)) for name in _TEXTS}
    checks["files"] = _files_faults(body.get("files"))
    checks["params"] = _params_faults(body.get("params"))
    details = {field: messages for field, messages in checks.items() if messages}
    if details:
        raise ShapeFaults(details)
    return JobRequest(
        partner=body["partner"],
        tenant=body["tenant"],
        bundle=body["bundle"],
        school_year=body["schoolYear"],
        files={key: name.strip() for key, name in body["files"].items() if name is not None},
        params={key: value for key, value in (body.get("params") or {}).items() if value is not None},
    )


def _text_faults(name: str, value: object) -> list[str]:
    if value is None or value == "":
        return [f"{name} should not be empty"]
    if not isinstance(value, str):
        return [f"{name} must be a string"]
    if name == "schoolYear" and not _YEAR.fullmatch(value):
        return [BAD_YEAR]
    return _bounds(name, value)


def _files_faults(value: object) -> list[str]:
    if value is None:
        return ["files should not be empty"]
    if not isinstance(value, dict):
        return ["files must be an object"]
    if any(name is not None and not (isinstance(name, str) and name.strip()) for name in value.values()):
        return [EMPTY_FILE_NAME]
    return _entry_faults("files", value)


def _params_faults(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, dict):
        return ["params must be an object"]
    return _entry_faults("params", value)


def _entry_faults(field: str, entries: dict[str, Any]) -> list[str]:
    if len(entries) > MAX_ENTRIES:
        return [f"{field} must have at most {MAX_ENTRIES} entries"]
    for key, value in entries.items():
        faults = _bounds(f"each key of {field}", key)
        if isinstance(value, str) and not is_storable(value):
            faults = [f"{field} must not hold NUL characters or lone surrogates"]
        if faults:
            return faults
    return []


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can keep a text."""
    return not _UNSTORABLE.search(text)


def _bounds(what: str, text: str) -> list[str]:
    if not is_storable(text):
        return [f"{what} must not hold NUL characters or lone surrogates"]
    if len(text) > MAX_NAME_LENGTH:
        return [f"{what} must have at most {MAX_NAME_LENGTH} characters"]
    return []
