"""The commands that look and change nothing: login, verify, bundles, jobs, job."""

from argparse import Namespace
from itertools import islice
from urllib.parse import urlsplit

from taxiway.catalog import Bundle
from taxiway.jobs import Job, Run, Unmatched
from taxiway.shell.desk import Desk, only_partner
from taxiway.shell.exits import OK, Misused
from taxiway.shell.logins import Login, TokenFile, save_login
from taxiway.shell.screen import amount, table

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def login(options: Namespace, desk: Desk) -> int:
    """Get a token, and remember where it came from once it is known to work."""
    secret_file = str(options.secret_file.absolute()) if options.secret_file else ""
    asked = Login(
        gateway=_url(options.gateway),
        issuer=options.issuer,
        client_id=options.client_id,
        audience=options.audience,
        secret_file=secret_file,
    )
    _url(options.issuer)
    for address in (asked.gateway, asked.issuer):
        if address.startswith("http:") and urlsplit(address).hostname not in LOOPBACK:
            desk.screen.note(f"{address} is not https: whoever is between can read the secret or the token")
    TokenFile(desk.environment, asked).forget()
    verified = desk.client_of(asked).verify()
    path = save_login(desk.environment, asked)
    desk.screen.note(f"Remembered in {path}; the secret is not stored.")
    desk.screen.result(verified, verified.message)
    return OK


def _url(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname:
        raise Misused(f"This is no address: {text}")
    return text.rstrip("/")


def verify(options: Namespace, desk: Desk) -> int:
    """Show what the token opens."""
    verified = desk.client().verify()
    lines = [
        verified.message,
        f"client   {verified.client_id or '-'} {verified.client_name or ''}".rstrip(),
        f"issuer   {verified.issuer}",
        f"scopes   {' '.join(verified.scopes)}",
        f"expires  {verified.expires_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    desk.screen.result(verified, *lines)
    return OK


def bundles(options: Namespace, desk: Desk) -> int:
    """List the bundles of a partner, or show one."""
    client = desk.client()
    partner = only_partner(client, options.partner)
    if options.bundle:
        found = client.bundle(partner, options.bundle)
        desk.screen.result(found, *_describe(found))
        return OK
    listed = client.bundles(partner)
    rows = [(each.bundle, str(each.version), each.display_name) for each in listed]
    desk.screen.result(listed, *table(("BUNDLE", "VERSION", "NAME"), rows))
    return OK


def _describe(bundle: Bundle) -> list[str]:
    files = [
        (file.key, "file", _needed(file.required), f"{file.display_name} ({', '.join(file.file_types)})")
        for file in bundle.files
    ]
    params = [
        (param.key, "param", _needed(param.required), _choice(param.display_name, param.allowed_values))
        for param in bundle.params
        if param.key != "API_YEAR"  # filled in by the server from --year
    ]
    head = f"{bundle.bundle}, version {bundle.version}: {bundle.display_name}"
    warnings = [f"warning: {warning}" for warning in bundle.warnings]
    return [head, "", *table(("KEY", "IS A", "", "WHAT"), [*files, *params]), *warnings]


def _needed(required: bool) -> str:
    return "required" if required else ""


def _choice(name: str, allowed: tuple[str, ...]) -> str:
    return f"{name}: {', '.join(allowed)}" if allowed else name


def jobs(options: Namespace, desk: Desk) -> int:
    """List the newest jobs of a partner."""
    client = desk.client()
    found = client.jobs(
        only_partner(client, options.partner),
        tenant=options.tenant,
        school_year=options.year,
        bundle=options.bundle,
        status=options.status,
    )
    listed = list(islice(found, options.limit))
    rows = [
        (job.uid, job.status, f"{job.created_at:%Y-%m-%d %H:%M}", job.tenant, job.school_year, job.bundle)
        for job in listed
    ]
    desk.screen.result(listed, *table(("JOB", "STATUS", "CREATED (UTC)", "TENANT", "YEAR", "BUNDLE"), rows))
    return OK


def job(options: Namespace, desk: Desk) -> int:
    """Show one job."""
    found = desk.client().job(options.job)
    desk.screen.result(found, *job_lines(found))
    return OK


def job_lines(job: Job) -> list[str]:
    """Describe a job and its runs."""
    files = [f"file     {file.key} = {file.name} ({_uploaded(file.size_bytes)})" for file in job.files]
    return [
        f"job      {job.uid}",
        f"status   {job.status}",
        f"bundle   {job.bundle}, version {job.bundle_version}",
        f"for      {job.partner}/{job.tenant}, school year {job.school_year}",
        f"created  {job.created_at:%Y-%m-%d %H:%M:%S} UTC by {job.client.name or job.client.id}",
        *files,
        *(f"param    {name} = {value}" for name, value in job.params.items()),
        *(f"warning  {warning}" for warning in job.warnings),
        *(line for run in job.runs for line in _run_lines(run)),
    ]


def _uploaded(size_bytes: int | None) -> str:
    return amount(size_bytes) if size_bytes else "not uploaded"


def _unmatched_line(unmatched: Unmatched) -> str:
    if unmatched.count is None:
        return f"  students were not matched; the report: {unmatched.download_url}"
    return f"  {unmatched.count} students were not matched"


def _run_lines(run: Run) -> list[str]:
    lines = [f"run {run.number}: {run.status}, attempt {run.attempt}"]
    lines += [f"  {run.error.code}: {run.error.message}"] if run.error else []
    lines += [f"  {count} {resource}" for resource, count in run.counts.items()]
    lines += [_unmatched_line(run.unmatched)] if run.unmatched else []
    return lines + [f"  output set {uid}" for uid in run.output_sets]
