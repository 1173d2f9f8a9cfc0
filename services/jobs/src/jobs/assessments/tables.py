"""An assessment job as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

_NOT_IN_OBJECT_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_OBJECT_NAME_LENGTH = 120


@dataclass(frozen=True, kw_only=True)
class Creator:
    """The client that asked for a job."""

    kind: str
    issuer: str
    client_id: str
    client_name: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job and its assessment. `metadata` is the bundle's, as it was when the job was created.

    `files_of` is the job its files were uploaded for: itself, or the job of the run it was spawned by.
    """

    uid: UUID
    partner: str
    tenant: str
    school_year: str
    bundle: str
    bundle_version_id: int
    bundle_version: int
    metadata: Mapping[str, Any]
    warnings: list[str]
    mode: str
    student_id_name: str | None
    params: Mapping[str, Any]
    files: Mapping[str, str]
    files_of: UUID
    ods_id: int | None
    sends_to_ods: bool
    match_rate: float
    creator: Creator
    created_at: datetime

    def object_key(self, key: str) -> str:
        """Name the object an input is uploaded to. The client's file name is only a hint in it."""
        place = f"inputs/{self.partner}/{self.tenant}/{self.school_year}/{self.files_of}"
        name = _NOT_IN_OBJECT_NAMES.sub("_", self.files[key])[-_OBJECT_NAME_LENGTH:].lstrip(".")
        return f"{place}/{key}/{name or 'file'}"
