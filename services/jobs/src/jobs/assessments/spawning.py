"""The job of a child run: another bundle over its parent's files."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from jobs.assessments import jobs, rules, shape
from jobs.assessments.rules import Refused
from jobs.assessments.shape import JobRequest
from jobs.assessments.tables import Job
from jobs.engine.tables import Run

GROUP = "assessments"


def child_job(connection: Connection, parent: Run, partner: str, bundle: str, payload: dict[str, Any]) -> Job:
    """Make a job like the parent's for another bundle of its partner, under the rules of POST /jobs.

    Params are the parent's, overridden by those of `payload`; null takes one away. Raises ShapeFaults and
    rules.Refused.
    """
    if partner != parent.partner:
        raise Refused("invalid-partner", f"Invalid partner code: {partner}", "project_id")
    model = jobs.get(connection, parent.job_id)
    return jobs.check(connection, _request(model, bundle, payload.get("params")))(model.creator)


def _request(model: Job, bundle: str, params: Any) -> JobRequest:
    asked = shape.read_job(
        {
            "partner": model.partner,
            "tenant": model.tenant,
            "bundle": bundle if "/" in bundle else f"{GROUP}/{bundle}",
            "schoolYear": model.school_year,
            "files": dict(model.files),
            "params": _overridden(model, params),
        }
    )
    return replace(asked, files_of=model.files_of)


def _overridden(model: Job, params: Any) -> Any:
    inherited = {name: value for name, value in model.params.items() if name != rules.API_YEAR}
    if params is None:
        return inherited
    return {**inherited, **params} if isinstance(params, dict) else params
