"""The work order of a run: what an executor gets when it claims (executor-api.md §1).

URLs and secrets are made at that moment and stored nowhere.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from common.clock import Clock, rfc3339
from common.objects import URL_SECONDS, ObjectStore
from common.sealing import Sealer
from jobs.assessments import jobs, rules
from jobs.assessments.tables import Job
from jobs.catalog import bundles, lint, ods, partners
from jobs.catalog.tables import BundleVersion, StoredFile
from jobs.engine.leases import WorkOrder
from jobs.engine.tables import Run


@dataclass(frozen=True, kw_only=True)
class WorkOrders:
    """Makes work orders; `memory_mb` is what a run may use."""

    store: ObjectStore
    sealer: Sealer
    clock: Clock
    memory_mb: int

    def __call__(self, connection: Connection, run: Run) -> WorkOrder:
        """Make the work order of a run as of now. Local work only, so it may stand inside a transaction."""
        job = jobs.get(connection, run.job_id)
        version = bundles.version_of(connection, job.bundle_version_id)
        sends_to = None if run.caller else self._ods(connection, job)
        payload = {
            "kind": bundles.BUNDLE,  # an echo bundle is one too: its archive says so to the executor
            "job": _job(job),
            "bundle": self._bundle(version, job.mode),
            "inputs": {key: self._input(each) for key, each in run.inputs.items()},
            "params": _params(job),
            "descriptor_mappings": self._mappings(connection, job),
            "roster": None if run.caller else self._roster(connection, job),
            "required_id_match_rate": job.match_rate,
            "ods": sends_to,
            "limits": {"timeout_secs": run.timeout_seconds, "memory_mb": self.memory_mb},
            "urls_expire_at": rfc3339(self.clock.now() + timedelta(seconds=URL_SECONDS)),
            "input": run.payload,
        }
        return WorkOrder(payload=payload, can_send=sends_to is not None)

    def _bundle(self, version: BundleVersion, mode: str) -> dict[str, Any]:
        return {
            "key": version.key,
            "version": version.number,
            "sha256": version.sha256,
            "url": self.store.presign_get(bundles.archive_key(version.sha256)),
            "mode": mode,
        }

    def _input(self, stored: dict[str, Any]) -> dict[str, Any]:
        url = self.store.presign_get(stored["key"])
        return {"url": url, **{name: stored[name] for name in ("file_name", "size_bytes", "etag")}}

    def _mappings(self, connection: Connection, job: Job) -> dict[str, Any]:
        own = partners.mappings_of(connection, job.partner, job.tenant, job.bundle)
        return {each.name: self._link(each) for each in own}

    def _roster(self, connection: Connection, job: Job) -> dict[str, Any] | None:
        if job.sends_to_ods or job.mode != lint.MATCHED:
            return None
        stored = partners.roster_of(connection, job.partner, job.tenant, job.school_year)
        return self._link(stored) if stored else None

    def _link(self, stored: StoredFile) -> dict[str, Any]:
        return {"url": self.store.presign_get(stored.object_key), "sha256": stored.sha256}

    def _ods(self, connection: Connection, job: Job) -> dict[str, Any] | None:
        if job.ods_id is None:
            return None
        open_ods = ods.unsealed(connection, job.ods_id, self.sealer)
        return {
            "url": open_ods.url,
            "api_year": open_ods.end_year,
            "token_url": open_ods.token_url,
            "client_id": open_ods.client_id,
            "client_secret": open_ods.client_secret,
        }


def _job(job: Job) -> dict[str, str]:
    return {
        "uid": str(job.uid),
        "partner": job.partner,
        "tenant": job.tenant,
        "school_year": job.school_year,
    }


def _params(job: Job) -> dict[str, str | None]:
    named = {lint.ID_COLUMN: job.student_id_name} if job.student_id_name else {}
    return {**{name: rules.as_text(value) for name, value in job.params.items()}, **named}
