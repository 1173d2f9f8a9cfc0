"""Create an assessment job, find it, start it."""

import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from common.database import fetch
from common.objects import ObjectStore, StoredObject
from jobs.assessments import rules
from jobs.assessments.options import StartOptions
from jobs.assessments.rules import Facts
from jobs.assessments.shape import JobRequest
from jobs.assessments.tables import Creator, Job
from jobs.catalog import bundles, metadata, partners
from jobs.catalog.tables import EnabledBundle, Place
from jobs.engine.line import NewRun, submit
from jobs.engine.tables import Run

LOOK_UPS_AT_ONCE = 8

_COLUMNS = """
    j.uid, j.partner, j.bundle_version_id, j.spec, j.created_at,
    j.created_by_kind, j.created_by_issuer, j.created_by_client_id, j.created_by_client_name,
    a.tenant, a.school_year, a.params, a.files, a.mode, a.student_id_name, a.ods_id,
    a.sends_to_ods, a.match_rate::float AS match_rate
"""
JOB = f"SELECT {_COLUMNS} FROM job j JOIN assessment a ON a.job_uid = j.uid"  # noqa: S608 (our own constant)
_NEW = text(f"""
    WITH j AS (
        INSERT INTO job (uid, partner, kind, bundle_version_id, spec, created_by_kind, created_by_issuer,
                         created_by_client_id, created_by_client_name)
        VALUES (:uid, :partner, :kind, :bundle_version_id, CAST(:spec AS jsonb), :created_by_kind,
                :created_by_issuer, :created_by_client_id, :created_by_client_name)
        RETURNING *
    ), a AS (
        INSERT INTO assessment (job_uid, tenant, school_year, params, files, mode, student_id_name, ods_id,
                                sends_to_ods, match_rate)
        SELECT j.uid, :tenant, :school_year, CAST(:params AS json), CAST(:files AS json), :mode,
               :student_id_name, :ods_id, :sends_to_ods, :match_rate
        FROM j
        RETURNING *
    )
    SELECT {_COLUMNS} FROM j JOIN a ON a.job_uid = j.uid
""")  # noqa: S608
_FIND = text(f"{JOB} WHERE j.uid = :uid")


class JobNotFound(Exception):
    """There is no such job, or its partner is not the caller's to see."""

    def __init__(self, uid: UUID) -> None:
        super().__init__(f"Job not found: {uid}")


class FilesNotFound(Exception):
    """Declared files are not in storage, or empty; `missing` maps their keys to what is wrong."""

    def __init__(self, expected: Collection[str], missing: Mapping[str, str]) -> None:
        self.missing = missing
        super().__init__(f"Some expected files were not found. Expected files: {', '.join(expected)}")


class CallerCannotSend(Exception):
    """The job sends to an ODS: only our own executors are given its credentials."""

    def __init__(self, uid: UUID) -> None:
        super().__init__(f"Job sends to an ODS and cannot be run by its caller: {uid}")


class JobStarted(Exception):
    """The job was started: its files are what they are."""

    def __init__(self, uid: UUID) -> None:
        super().__init__(f"Job was already started: {uid}")


class JobNotRunning(Exception):
    """There is no live run to stop."""

    def __init__(self, uid: UUID) -> None:
        super().__init__(f"Job is not in progress: {uid}")


def check(connection: Connection, request: JobRequest) -> Callable[[Creator], Job]:
    """Check rules 3 to 13 against the catalog; return what would store the job. Raises rules.Refused."""
    place = partners.place_of(connection, request.partner, request.tenant, request.school_year)
    enabled = _find_enabled(connection, request)
    rules.check_catalog(request, _facts(place, enabled))
    if enabled is None:
        raise ValueError("check_catalog lets no request without a bundle pass")
    params = rules.check_input(request, enabled.version.metadata)
    return lambda creator: _store(connection, request, place, enabled, params, creator)


def _find_enabled(connection: Connection, request: JobRequest) -> EnabledBundle | None:
    if not metadata.KEY.fullmatch(request.bundle):
        return None
    return bundles.find_enabled(connection, request.partner, request.bundle)


def _facts(place: Place, enabled: EnabledBundle | None) -> Facts:
    return Facts(
        has_tenant=place.has_tenant,
        metadata=enabled.version.metadata if enabled else None,
        mode=enabled.mode if enabled else "",
        knows_year=place.knows_year,
        is_year_enabled=place.is_year_enabled,
        sends_to_ods=place.sends_to_ods,
        has_ods=place.ods_id is not None,
        needs_roster=place.needs_roster,
        has_roster=place.roster_id is not None,
    )


def _store(
    connection: Connection,
    request: JobRequest,
    place: Place,
    enabled: EnabledBundle,
    params: dict[str, Any],
    creator: Creator,
) -> Job:
    assessment = {
        "tenant": request.tenant,
        "school_year": request.school_year,
        "params": json.dumps(params),
        "files": json.dumps(dict(request.files)),
        "mode": enabled.mode,
        "student_id_name": enabled.student_id_name,
        "ods_id": place.ods_id if place.sends_to_ods else None,
        "sends_to_ods": place.sends_to_ods,
        "match_rate": place.match_rate,
    }
    [row] = fetch(connection, _NEW, {**_job_values(request, enabled, creator), **assessment})
    return job_of(row)


def _job_values(request: JobRequest, enabled: EnabledBundle, creator: Creator) -> dict[str, Any]:
    uid, version = ids.new_uid(), enabled.version
    labels = {"tenant": request.tenant, "schoolYear": request.school_year, "bundle": version.key}
    snapshot = {"version": version.number, "metadata": version.metadata, "warnings": list(version.warnings)}
    spec = {"labels": labels, "bundle": snapshot, "files_of": str(request.files_of or uid)}
    return {
        "uid": uid,
        "partner": request.partner,
        "kind": version.kind,
        "bundle_version_id": version.id,
        "spec": json.dumps(spec),
        "created_by_kind": creator.kind,
        "created_by_issuer": creator.issuer,
        "created_by_client_id": creator.client_id,
        "created_by_client_name": creator.client_name,
    }


def get(connection: Connection, uid: UUID) -> Job:
    """Read a job; raises JobNotFound."""
    rows = fetch(connection, _FIND, {"uid": uid})
    if not rows:
        raise JobNotFound(uid)
    return job_of(rows[0])


def get_visible(connection: Connection, uid: UUID, visible_partners: Collection[str]) -> Job:
    """Read a job whose partner the caller may see; raises JobNotFound."""
    job = get(connection, uid)
    if job.partner not in visible_partners:
        raise JobNotFound(uid)
    return job


def job_of(row: Any) -> Job:
    """Read a row that was selected with JOB."""
    labels, snapshot = row["spec"]["labels"], row["spec"]["bundle"]
    return Job(
        uid=row["uid"],
        partner=row["partner"],
        tenant=row["tenant"],
        school_year=row["school_year"],
        bundle=labels["bundle"],
        bundle_version_id=row["bundle_version_id"],
        bundle_version=snapshot["version"],
        metadata=snapshot["metadata"],
        warnings=snapshot["warnings"],
        mode=row["mode"],
        student_id_name=row["student_id_name"],
        params=row["params"],
        files=row["files"],
        files_of=UUID(row["spec"].get("files_of", str(row["uid"]))),
        ods_id=row["ods_id"],
        sends_to_ods=row["sends_to_ods"],
        match_rate=row["match_rate"],
        creator=Creator(
            kind=row["created_by_kind"],
            issuer=row["created_by_issuer"],
            client_id=row["created_by_client_id"],
            client_name=row["created_by_client_name"],
        ),
        created_at=row["created_at"],
    )


def look_up_files(store: ObjectStore, job: Job) -> dict[str, StoredObject | None]:
    """Ask storage for every declared file at once. No transaction may be open; raises StorageUnavailable."""
    if not job.files:
        return {}
    with ThreadPoolExecutor(max_workers=min(LOOK_UPS_AT_ONCE, len(job.files))) as threads:
        found = threads.map(lambda key: store.look_up(job.object_key(key)), job.files)
        return dict(zip(job.files, found, strict=True))


def inputs_of(job: Job, found: Mapping[str, StoredObject | None]) -> dict[str, dict[str, Any]]:
    """Write down what a run will read, with the ETag that tells a later change; raises FilesNotFound."""
    missing = {
        key: "is empty" if stored else "was not found"
        for key, stored in found.items()
        if not _is_there(stored)
    }
    if missing:
        raise FilesNotFound(
            job.files.values(), {key: f"{job.files[key]} {fault}" for key, fault in missing.items()}
        )
    return {
        key: {"key": each.key, "file_name": job.files[key], "size_bytes": each.size_bytes, "etag": each.etag}
        for key, each in found.items()
        if each is not None
    }


def _is_there(stored: StoredObject | None) -> bool:
    return stored is not None and stored.size_bytes > 0


def start(
    connection: Connection,
    job: Job,
    inputs: dict[str, Any],
    *,
    created_by: str,
    timeout_seconds: int,
    options: StartOptions,
) -> Run:
    """Put a run of the job in line, or into its caller's hands; raises engine.line.JobInProgress."""
    new = NewRun(
        job_id=job.uid,
        partner=job.partner,
        payload={},
        inputs=inputs,
        timeout_seconds=timeout_seconds,
        created_by=created_by,
        **asdict(options),
    )
    return submit(connection, new)
