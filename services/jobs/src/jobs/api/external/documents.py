"""How jobs look to clients: camelCase, times in UTC."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from common.clock import rfc3339
from common.objects import StoredObject
from jobs.assessments.status import job_status
from jobs.assessments.tables import Job
from jobs.engine.states import Status
from jobs.engine.tables import Run


def job_summary(job: Job, status: str) -> dict[str, Any]:
    """Show a job in a list."""
    return {
        "uid": str(job.uid),
        "partner": job.partner,
        "tenant": job.tenant,
        "bundle": job.bundle,
        "bundleVersion": job.bundle_version,
        "schoolYear": job.school_year,
        "status": status,
        "createdAt": rfc3339(job.created_at),
    }


def job_detail(job: Job, runs: Sequence[Run], found: Mapping[str, StoredObject | None]) -> dict[str, Any]:
    """Show a job with everything. `found` is what storage has of its files, asked before the first run."""
    client = {"issuer": job.creator.issuer, "id": job.creator.client_id, "name": job.creator.client_name}
    return {
        **job_summary(job, job_status(runs)),
        "params": dict(job.params),
        "files": [_file(key, name, _size(key, runs, found)) for key, name in job.files.items()],
        "client": client,
        "apiInitiated": True,
        "warnings": job.warnings,
        "runs": [run_document(run) for run in runs],
    }


def _file(key: str, name: str, size_bytes: int | None) -> dict[str, Any]:
    return {"key": key, "name": name, "uploaded": bool(size_bytes), "sizeBytes": size_bytes}


def _size(key: str, runs: Sequence[Run], found: Mapping[str, StoredObject | None]) -> int | None:
    if runs:
        size = runs[-1].inputs.get(key, {}).get("size_bytes")
        return int(size) if size is not None else None
    stored = found.get(key)
    return stored.size_bytes if stored else None


def run_document(run: Run) -> dict[str, Any]:
    """Show a run as a part of its job."""
    progress, result = run.progress or {}, run.result if isinstance(run.result, dict) else {}
    return {
        "uid": str(run.id),
        "number": run.number,
        "status": run.status,
        "attempt": run.attempt,
        "step": progress.get("step"),
        "percent": 100.0 if run.status is Status.COMPLETED else progress.get("percent"),
        "startedAt": _instant(run.started_at),
        "finishedAt": _instant(run.finished_at),
        "error": _error(run),
        "counts": result.get("counts") or {},
        "unmatched": _unmatched(run, result.get("unmatched")),
        "outputSets": [each["uid"] for each in run.output_sets or [] if each["kind"] == "result"],
    }


def _instant(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _error(run: Run) -> dict[str, str] | None:
    if run.error is None and run.error_code is None:
        return None
    return {"code": run.error_code or run.error_class or run.status, "message": run.error or ""}


def _unmatched(run: Run, unmatched: Any) -> dict[str, Any] | None:
    """Show what matched nobody. A run that failed told no numbers: the report it published has them."""
    counted = unmatched if isinstance(unmatched, dict) and unmatched.get("count") else {}
    reports = [each["uid"] for each in run.output_sets or [] if each["kind"] == "report"]
    if not counted and (run.status is Status.COMPLETED or not reports):
        return None
    url = f"/api/v1/output-sets/{reports[0]}/download-links" if reports else None
    return {"count": counted.get("count"), "rate": counted.get("rate"), "downloadUrl": url}
