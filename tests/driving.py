"""Drive a running stack from outside, as a client would: HTTP and presigned URLs, nothing else."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3

from stack.testing import LocalStack

FINAL = ("completed", "failed", "canceled")
TROUBLE = (502, 503, 504)
LOGIN_SECONDS = 30


class Refused(Exception):
    """An answer that was not expected; has `status` and the problem's members."""

    def __init__(self, status: int, problem: Any) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status}: {problem}")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a finished job left: its set, and the SHA-256 of each file."""

    uid: str
    item: Mapping[str, Any]
    digests: Mapping[str, str]


class Client:
    """One client application. It repeats a call that met a dead upstream, as real clients must."""

    def __init__(self, gateway: str, issuer: str, client_id: str, secret: str, partner: str) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=30))
        self.gateway = gateway
        self.partner = partner
        self._token_url = f"{issuer}/realms/example/protocol/openid-connect/token"
        self._credentials = {"client_id": client_id, "client_secret": secret}
        self.token = self._new_token()

    def narrowed(self, scope: str) -> str:
        """Get a token of this client that has these scopes only."""
        return self._new_token(scope=scope)

    def _new_token(self, **asked: str) -> str:
        form = urlencode({"grant_type": "client_credentials", **self._credentials, **asked})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        deadline = time.monotonic() + LOGIN_SECONDS
        answer = self._http.request("POST", self._token_url, body=form, headers=headers)
        while answer.status in TROUBLE and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = self._http.request("POST", self._token_url, body=form, headers=headers)
        if answer.status != 200:
            raise Refused(answer.status, answer.data[:300])
        token: str = json.loads(answer.data)["access_token"]
        return token

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Send one call and return the answer, whatever it is."""
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        content = json.dumps(body).encode() if body is not None else None
        return self._http.request(method, self.gateway + path, body=content, headers=sent)

    def call(self, method: str, path: str, body: Any = None, *, patience_seconds: float = 30) -> Any:
        """Send a call until something other than trouble answers; return its JSON or raise Refused."""
        until = time.monotonic() + patience_seconds
        while True:
            try:
                answer = self.send(method, path, body)
                if answer.status not in TROUBLE:
                    break
                trouble: Any = answer.status
            except urllib3.exceptions.HTTPError as error:
                trouble = error
            if time.monotonic() > until:
                raise TimeoutError(f"{method} {path} kept failing: {trouble}")
            time.sleep(0.1)
        content = json.loads(answer.data) if answer.data else None
        if answer.status >= 400:
            raise Refused(answer.status, content)
        return content

    def create(self, bundle: str, files: Mapping[str, str], params: Mapping[str, Any] | None = None) -> Any:
        """Create a job for the year 2026, which goes to no ODS."""
        job = {"partner": self.partner, "tenant": self.partner, "schoolYear": "2026", "bundle": bundle}
        return self.call("POST", "/api/v1/jobs", {**job, "files": dict(files), "params": dict(params or {})})

    def upload(self, url: str, content: bytes) -> None:
        """Put a file where a presigned URL says."""
        answer = self._http.request("PUT", url, body=content)
        if answer.status != 200:
            raise Refused(answer.status, answer.data)

    def submit(self, bundle: str, content: bytes, params: Mapping[str, Any] | None = None) -> str:
        """Create a job with one input file, upload it, start it; return the job's uid."""
        made = self.create(bundle, {"INPUT_FILE": "input.csv"}, params)
        self.upload(made["uploadUrls"]["INPUT_FILE"], content)
        self.call("POST", f"/api/v1/jobs/{made['uid']}/start")
        uid: str = made["uid"]
        return uid

    def job(self, uid: str) -> Any:
        return self.call("GET", f"/api/v1/jobs/{uid}")

    def wait(self, uid: str, reached: Callable[[Any], bool], *, seconds: float = 60) -> Any:
        """Poll a job until it is as wanted; a job that ended otherwise fails at once."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            job = self.job(uid)
            if reached(job):
                return job
            if job["status"] in FINAL:
                break
            time.sleep(0.05)
        raise AssertionError(f"the job did not get there: {job}")

    def wait_completed(self, uid: str, *, seconds: float = 120) -> Any:
        return self.wait(uid, lambda job: job["status"] == "completed", seconds=seconds)

    def published(self, uid: str) -> list[Published]:
        """List the job's published sets and fetch every file of each."""
        items = self.call("GET", f"/api/v1/output-sets?{urlencode({'partner': self.partner})}")
        return [self._published(item) for item in items if item["jobUid"] == uid]

    def _published(self, item: Mapping[str, Any]) -> Published:
        links = self.call("POST", f"/api/v1/output-sets/{item['uid']}/download-links")["downloadLinks"]
        digests = {name: hashlib.sha256(self.download(url)).hexdigest() for name, url in links.items()}
        return Published(uid=item["uid"], item=item, digests=digests)

    def download(self, url: str) -> bytes:
        answer = self._http.request("GET", url)
        if answer.status != 200:
            raise Refused(answer.status, answer.data)
        return answer.data


def client_of(stack: LocalStack, partner: str = "ea") -> Client:
    """Log in as the example client of a partner."""
    client_id, secret = {"ea": ("runway-api", "api-secret-123"), "acme": ("acme-api", "acme-secret-123")}[
        partner
    ]
    return Client(stack.gateway_url, stack.issuer_url, client_id, secret, partner)
