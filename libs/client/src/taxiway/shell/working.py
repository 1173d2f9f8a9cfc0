"""The commands about one job's life: submit, wait, fetch, cancel."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from taxiway.catalog import Bundle
from taxiway.client import Client
from taxiway.jobs import Job, NewJob
from taxiway.shell.desk import Desk, only_partner, only_tenant
from taxiway.shell.exits import JOB_FAILED, NOT_ENDED, OK, Misused
from taxiway.shell.looking import job_lines


def submit(options: Namespace, desk: Desk) -> int:
    """Create a job, upload its files, start it; with --wait, wait for it."""
    given = _pairs(options.inputs)
    client = desk.client()
    partner = only_partner(client, options.partner)
    files, params = _told_apart(client.bundle(partner, options.bundle), given)
    new = NewJob(
        partner=partner,
        tenant=only_tenant(client, partner, options.tenant),
        bundle=options.bundle,
        school_year=options.year,
        files=files,
        params=params,
    )
    created = client.create(new)
    desk.screen.note(f"Job {created.uid} is created.")
    client.upload(created, new.files, desk.screen.moved)
    started = client.start(created.uid)
    if options.wait:
        return _wait(client, desk, started.job_uid, options.timeout)
    desk.screen.note(f"It is started: taxiway wait {started.job_uid}")
    desk.screen.result(started, started.job_uid)
    return OK


def _pairs(inputs: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in inputs:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise Misused(f"This is neither INPUT_FILE=path nor KEY=VALUE: {word}")
        if key in pairs:
            raise Misused(f"{key} is given twice")
        pairs[key] = value
    return pairs


def _told_apart(bundle: Bundle, given: Mapping[str, str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Tell files from params by what the bundle declares; the rules for values are the server's."""
    file_keys = {file.key for file in bundle.files}
    param_keys = {param.key for param in bundle.params}
    unknown = [key for key in given if key not in file_keys | param_keys]
    if unknown:
        known = ", ".join([*(f"{key}=path" for key in sorted(file_keys)), *sorted(param_keys - {"API_YEAR"})])
        raise Misused(f"{bundle.bundle} knows no {', '.join(unknown)}, but {known}")
    files = {key: _readable(key, Path(value)) for key, value in given.items() if key in file_keys}
    return files, {key: value for key, value in given.items() if key not in file_keys}


def _readable(key: str, path: Path) -> Path:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise Misused(f"{key}: {path} is empty")
    except OSError as error:
        raise Misused(f"{key}: {path}: {error.strerror}") from None
    return path


def wait(options: Namespace, desk: Desk) -> int:
    """Wait until a job has ended."""
    return _wait(desk.client(), desk, options.job, options.timeout)


def _wait(client: Client, desk: Desk, uid: str, timeout_seconds: float) -> int:
    try:
        job = client.wait(uid, timeout_seconds=timeout_seconds, poll_seconds=1, watch=desk.screen.watch)
    except KeyboardInterrupt:
        desk.screen.note(f"The job goes on: taxiway wait {uid}")
        raise
    desk.screen.result(job, *job_lines(job))
    return OK if job.status == "completed" else JOB_FAILED


def fetch(options: Namespace, desk: Desk) -> int:
    """Download every file of a job's output sets into a folder."""
    client = desk.client()
    job = client.job(options.job)
    if not any(run.output_sets for run in job.runs):
        desk.screen.wrong(_nothing(job))
        return JOB_FAILED if job.is_final else NOT_ENDED
    fetched = client.fetch(options.job, options.folder, desk.screen.moved)
    desk.screen.result(fetched, *(each.path for each in fetched))
    return OK


def _nothing(job: Job) -> str:
    error = job.last_run.error if job.last_run else None
    because = f": {error.message}" if error else ""
    return f"There is nothing to fetch, the job is {job.status}{because}"


def cancel(options: Namespace, desk: Desk) -> int:
    """Stop a job."""
    job = desk.client().cancel(options.job)
    desk.screen.result(job, *job_lines(job))
    return OK
