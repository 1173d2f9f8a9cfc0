"""The values of the API: what goes in and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

FINAL = ("completed", "failed", "canceled")


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to create. `files` maps the bundle's file keys to the files to upload."""

    partner: str
    tenant: str
    bundle: str
    school_year: str
    files: Mapping[str, Path]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Created:
    """A created job, and where to upload each of its files."""

    uid: str
    upload_urls: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run of a started or canceled job."""

    job_uid: str
    run_uid: str
    status: str


@dataclass(frozen=True, kw_only=True)
class RunError:
    """Why a run failed."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """Students of the input that the roster does not know; of a run that failed for it, only the report."""

    count: int | None = None
    rate: float | None = None
    download_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a job."""

    uid: str
    number: int
    status: str
    attempt: int
    step: str | None = None
    percent: float | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: RunError | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    unmatched: Unmatched | None = None
    output_sets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobFile:
    """An input file of a job."""

    key: str
    name: str
    uploaded: bool
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobClient:
    """The client application that created a job."""

    issuer: str
    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """A job in a list."""

    uid: str
    partner: str
    tenant: str
    bundle: str
    bundle_version: int
    school_year: str
    status: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Job(JobSummary):
    """A job with everything."""

    params: Mapping[str, Any]
    files: tuple[JobFile, ...]
    client: JobClient
    api_initiated: bool
    warnings: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()

    @property
    def is_final(self) -> bool:
        """Say whether its last run has ended and its outputs, if any, are listed."""
        return self.status in FINAL

    @property
    def last_run(self) -> Run | None:
        return self.runs[-1] if self.runs else None


@dataclass(frozen=True, kw_only=True)
class OutputSet:
    """The files one run made, published together."""

    uid: str
    files: tuple[str, ...]
    sent_to_ods: bool
    created_at: datetime
    job_uid: str
    partner: str
    tenant: str
    school_year: str
    bundle: str


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that was downloaded."""

    set_uid: str
    name: str
    path: str
    size_bytes: int
