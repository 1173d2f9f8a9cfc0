"""The API of a Taxiway, as a Python object."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

from urllib3 import BaseHTTPResponse

from taxiway.calls import Caller, json_of, make_pool, with_query
from taxiway.catalog import Bundle, Partner, Verified
from taxiway.errors import NotUnderstood, OutOfTime, Refused, Unreachable
from taxiway.jobs import Created, Fetched, Job, JobSummary, NewJob, OutputSet, Started
from taxiway.retries import Retries
from taxiway.tokens import Application, Tokens, TokenStore
from taxiway.transfers import Storage, is_file_name
from taxiway.wire import camel, read, read_list

PAGE = 500
NOT_RUNNING = "/problems/job-not-running"
Watch = Callable[[Job], None]
Shown = Callable[[str, int, int], None]
"""Told the name of a file and how many of its bytes, of how many, have moved."""


class Client:
    """One client application at one Taxiway. Every method raises errors of `taxiway.errors`."""

    def __init__(self, gateway: str, tokens: Tokens, caller: Caller, storage: Storage) -> None:
        self._gateway = gateway.rstrip("/")
        self._tokens = tokens
        self._caller = caller
        self._storage = storage

    @classmethod
    def connect(
        cls,
        *,
        gateway: str,
        issuer: str,
        client_id: str,
        secret: str | Callable[[], str],
        audience: str = "",
        store: TokenStore | None = None,
        retries: Retries | None = None,
    ) -> Self:
        """Make a client; nothing is sent before the first call.

        `secret` may be a function that is called only when a new token is needed.
        """
        pool, patience = make_pool(), retries or Retries()
        caller = Caller(pool, patience)
        given = secret if callable(secret) else lambda: secret
        application = Application(issuer=issuer, client_id=client_id, secret=given, audience=audience)
        return cls(gateway, Tokens(caller, application, store), caller, Storage(pool, patience))

    def verify(self) -> Verified:
        """Ask what our token opens, and until when."""
        return read(Verified, self._post("/api/v1/token/verify"))

    def partner(self, code: str) -> Partner:
        """Show a partner, its tenants and school years."""
        return read(Partner, self._get(f"/api/v1/partners/{quote(code, safe='')}"))

    def bundles(self, partner: str) -> tuple[Bundle, ...]:
        """List the bundles a partner may use."""
        return read_list(Bundle, self._get(with_query("/api/v1/bundles", {"partner": partner})))

    def bundle(self, partner: str, key: str) -> Bundle:
        """Show one bundle, such as `assessments/PSAT_SAT`."""
        return read(Bundle, self._get(with_query(f"/api/v1/bundles/{quote(key)}", {"partner": partner})))

    def create(self, job: NewJob) -> Created:
        """Create a job. However often it must be sent, one job is made."""
        body = {
            "partner": job.partner,
            "tenant": job.tenant,
            "bundle": job.bundle,
            "schoolYear": job.school_year,
            "files": {key: path.name for key, path in job.files.items()},
            "params": dict(job.params),
        }
        return read(Created, self._post("/api/v1/jobs", body, once=True))

    def upload(self, created: Created, files: Mapping[str, Path], shown: Shown | None = None) -> None:
        """Upload a created job's files, from disk and a block at a time."""
        for key, path in files.items():
            self._storage.put(
                _member(created.upload_urls, key),
                path,
                fresh=partial(self._fresh_upload_url, created.uid, key),
                moved=_named(key, shown),
            )

    def start(self, uid: str) -> Started:
        """Start a job whose files are uploaded."""
        return read(Started, self._post(f"{_job(uid)}/start", once=True))

    def submit(self, job: NewJob, shown: Shown | None = None) -> Started:
        """Create a job, upload its files, start it."""
        created = self.create(job)
        self.upload(created, job.files, shown)
        return self.start(created.uid)

    def job(self, uid: str) -> Job:
        """Show a job with its files and runs."""
        return read(Job, self._get(_job(uid)))

    def jobs(self, partner: str, **filters: str) -> Iterator[JobSummary]:
        """List a partner's jobs, newest first, a page at a time as they are read.

        `filters`: tenant, school_year, bundle, status, created_after.
        """
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(with_query("/api/v1/jobs", _asked(partner, filters, cursor)))
            if not isinstance(page, dict):
                raise NotUnderstood("The answer is not a page of jobs")
            yield from read_list(JobSummary, page.get("items"))
            cursor = page.get("next")

    def output_sets(self, partner: str, **filters: str) -> Iterator[OutputSet]:
        """List a partner's output sets, oldest first, a page at a time as they are read.

        `filters`: tenant, school_year, bundle, sent_to_ods (`true`, `false`), created_after. Whoever passes
        the `created_at` of the last set it saw as created_after sees every later one exactly once.
        """
        cursor: str | None = ""
        while cursor is not None:
            answer = self._send("GET", with_query("/api/v1/output-sets", _asked(partner, filters, cursor)))
            yield from read_list(OutputSet, json_of(answer))
            cursor = _next_cursor(answer)

    def wait(
        self,
        uid: str,
        *,
        timeout_seconds: float = 6 * 3600,
        outage_seconds: float = 300,
        poll_seconds: float = 2,
        watch: Watch | None = None,
    ) -> Job:
        """Wait until a job has ended, showing it to `watch` each time it is looked at.

        An outage of the server of up to `outage_seconds` is waited out. Raises OutOfTime; the job goes on.
        """
        until, silent_since = time.monotonic() + timeout_seconds, time.monotonic()
        status, delay_seconds = "unknown", min(0.2, poll_seconds)
        while True:
            try:
                job = self.job(uid)
                status, silent_since = job.status, time.monotonic()
                if watch:
                    watch(job)
                if job.is_final:
                    return job
            except (Unreachable, Refused) as error:
                if not _is_outage(error) or time.monotonic() - silent_since > outage_seconds:
                    raise
            if time.monotonic() + delay_seconds > until:
                raise OutOfTime(uid, status, timeout_seconds)
            time.sleep(delay_seconds)
            delay_seconds = min(poll_seconds, delay_seconds * 1.3)

    def cancel(self, uid: str) -> Job:
        """Stop a job's live run. A job that is canceled already is fine, one that has ended is refused."""
        try:
            self._post(f"{_job(uid)}/cancel")
        except Refused as refused:
            if refused.problem.type != NOT_RUNNING or self.job(uid).status != "canceled":
                raise
        return self.job(uid)

    def download_links(self, set_uid: str) -> Mapping[str, str]:
        """Make a link, good for an hour, to each file of an output set."""
        document = self._post(f"/api/v1/output-sets/{quote(set_uid, safe='')}/download-links")
        links = document.get("downloadLinks") if isinstance(document, dict) else None
        if not isinstance(links, dict):
            raise NotUnderstood("The answer has no downloadLinks")
        for name in links:
            _require_file_name(name)
        return links

    def fetch(self, uid: str, folder: Path, shown: Shown | None = None) -> tuple[Fetched, ...]:
        """Download every file of a job's output sets: into `folder`, or of several sets into a folder each.

        A file appears whole or not at all; one that is there already is replaced.
        """
        sets = [set_uid for run in self.job(uid).runs for set_uid in run.output_sets]
        fetched: list[Fetched] = []
        for set_uid in sets:
            fetched += self._fetch_set(set_uid, folder / set_uid if len(sets) > 1 else folder, shown)
        return tuple(fetched)

    def _fetch_set(self, set_uid: str, folder: Path, shown: Shown | None) -> Iterator[Fetched]:
        _require_file_name(set_uid)
        links = self.download_links(set_uid)
        folder.mkdir(parents=True, exist_ok=True)
        for name, url in links.items():
            size_bytes = self._storage.get(
                url,
                folder / name,
                fresh=partial(self._fresh_download_url, set_uid, name),
                moved=_named(name, shown),
            )
            yield Fetched(set_uid=set_uid, name=name, path=str(folder / name), size_bytes=size_bytes)

    def _fresh_upload_url(self, uid: str, key: str) -> str:
        document = self._post(f"{_job(uid)}/upload-urls")
        return _member(document.get("uploadUrls") if isinstance(document, dict) else None, key)

    def _fresh_download_url(self, set_uid: str, name: str) -> str:
        return _member(self.download_links(set_uid), name)

    def _get(self, path: str) -> Any:
        return json_of(self._send("GET", path))

    def _post(self, path: str, body: Any = None, *, once: bool = False) -> Any:
        key = {"Idempotency-Key": str(uuid4())} if once else {}
        return json_of(self._send("POST", path, body, key))

    def _send(
        self, method: str, path: str, body: Any = None, more: Mapping[str, str] | None = None
    ) -> BaseHTTPResponse:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **(more or {})}
        headers |= {"Content-Type": "application/json"} if content is not None else {}
        token = self._tokens.current()
        try:
            return self._authorized(method, path, content, headers, token)
        except Refused as refused:
            if refused.problem.status != 401:
                raise
        # The token ended early: keys were rotated, or our clock is behind.
        return self._authorized(method, path, content, headers, self._tokens.renew(token))

    def _authorized(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], token: str
    ) -> BaseHTTPResponse:
        bearer = {**headers, "Authorization": f"Bearer {token}"}
        return self._caller.send(method, self._gateway + path, headers=bearer, body=content)


def _job(uid: str) -> str:
    return f"/api/v1/jobs/{quote(uid, safe='')}"


def _asked(partner: str, filters: Mapping[str, str], cursor: str) -> dict[str, str]:
    given = {camel(name): value for name, value in filters.items()}
    return {"partner": partner, **given, "limit": str(PAGE), "cursor": cursor}


def _member(urls: Mapping[str, str] | None, name: str) -> str:
    if not urls or not isinstance(urls.get(name), str):
        raise NotUnderstood(f"The answer has no URL for {name}")
    return urls[name]


def _require_file_name(name: str) -> None:
    if not is_file_name(name):
        raise NotUnderstood(f"The server names a file that cannot be kept: {name!r}")


def _named(name: str, shown: Shown | None) -> Callable[[int, int], None]:
    return lambda done, size: shown(name, done, size) if shown else None


def _is_outage(error: Unreachable | Refused) -> bool:
    if isinstance(error, Refused):
        return error.problem.status in (429, 500, 502, 503, 504)
    return not isinstance(error, NotUnderstood)


def _next_cursor(answer: BaseHTTPResponse) -> str | None:
    link = answer.headers.get("Link", "")  # RFC 8288 §3
    if 'rel="next"' not in link:
        return None
    target = link.partition("<")[2].partition(">")[0]
    return parse_qs(urlsplit(target).query).get("cursor", [None])[0]
