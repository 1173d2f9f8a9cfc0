"""The two ways to a service: through the gateway, and past it with the gateway's own signature."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import urllib3
from driving import Client
from operations import Operation

from common.principal import Principal, signed_headers
from common.settings import keyring
from stack.testing import LocalStack

PAGES = Path(__file__).resolve().parents[1] / "docs" / "problems"
# external-api.md §2
MEMBERS = (
    *("type", "title", "status", "detail", "success", "error", "message", "details", "statusCode"),
    "requestId",
)
HTTP = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=30))
REQUEST_ID = "asked-by-a-test"
JSON = "application/json"
MANAGED = (
    *("/api/v1/admin", "/api/v1/apps", "/api/v1/authorization", "/api/v1/clusters"),
    *("/api/v1/service-accounts", "/v1/k8s/"),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to send, the same at either door."""

    service: str
    method: str
    target: str
    content: bytes | None = None
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


class Worked:
    """A run in the hands of the tests; `renew` when a call may have ended it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.renew()

    def renew(self) -> None:
        made = self._client.create("tests/echo", {"INPUT_FILE": "input.csv"})
        self._client.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
        started = self._client.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
        self.job: str = made["uid"]
        self.run: str = started["runUid"]
        self.token: str = started["runToken"]

    def end(self) -> None:
        self._client.send("POST", f"/api/v1/jobs/{self.job}/cancel")

    def principal(self, *scopes: str) -> Principal:
        """The run as the gateway tells of it."""
        return Principal(
            kind="run",
            subject=self.run,
            run=self.run,
            lease=1,
            attempt=1,
            job=self.job,
            scopes=frozenset(scopes),
            partners=frozenset({self._client.partner}),
        )


class Door(Protocol):
    """Sends calls as nobody, as a caller without a single scope, or as one who may."""

    @property
    def worked(self) -> Worked: ...

    def as_nobody(self, call: Call) -> urllib3.BaseHTTPResponse: ...

    def as_powerless(self, call: Call) -> urllib3.BaseHTTPResponse: ...

    def as_able(self, call: Call) -> urllib3.BaseHTTPResponse: ...


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The public door; callers hold tokens. A run's token opens /sdk, the administrator's what is managed."""

    url: str
    powerless: str
    client: str
    administrator: str
    worked: Worked

    def as_nobody(self, call: Call) -> urllib3.BaseHTTPResponse:
        return send(self.url, call, {})

    def as_powerless(self, call: Call) -> urllib3.BaseHTTPResponse:
        return send(self.url, call, {"Authorization": f"Bearer {self.powerless}"})

    def as_able(self, call: Call) -> urllib3.BaseHTTPResponse:
        by_path = {"/sdk/": self.worked.token, **dict.fromkeys(MANAGED, self.administrator)}
        token = next((token for path, token in by_path.items() if call.target.startswith(path)), self.client)
        return send(self.url, call, {"Authorization": f"Bearer {token}"})


@dataclass(frozen=True, kw_only=True)
class Port:
    """A service's own port; callers are principals signed with the gateway's key."""

    stack: LocalStack
    able: Principal
    worked: Worked

    def as_nobody(self, call: Call) -> urllib3.BaseHTTPResponse:
        return self._send(call, None)

    def as_powerless(self, call: Call) -> urllib3.BaseHTTPResponse:
        if call.target.startswith("/sdk/"):
            return self._send(call, self.worked.principal())
        return self._send(call, Principal(kind="client", subject="powerless", client_id="powerless"))

    def as_able(self, call: Call) -> urllib3.BaseHTTPResponse:
        if call.target.startswith("/internal/"):
            return self._send(call, Principal(kind="service", subject="tests"))
        run = self.worked.principal("run:claim", "run:work")
        return self._send(call, run if call.target.startswith("/sdk/") else self.able)

    def _send(self, call: Call, caller: Principal | None) -> urllib3.BaseHTTPResponse:
        signed: dict[str, str] = {}
        if caller and call.service != "issuer":
            receiver = call.service.removesuffix("-watch")  # jobs-watch is jobs
            keys = keyring(self.stack.stack.secrets.read(f"signing-key-{receiver}-from-gateway"))
            signed = signed_headers(caller, call.method, call.target, keys, int(time.time()))
        return send(f"http://127.0.0.1:{self.stack.port(call.service)}", call, signed)


def send(base: str, call: Call, identity: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """Send a call; whatever the answer, it carries the request id that was asked for."""
    # A connection of its own: how bodies nobody read end a kept one is not what these tests are about.
    headers = {"Connection": "close", "X-Request-Id": REQUEST_ID, **identity, **call.headers}
    if call.content is not None:
        headers["Content-Type"] = call.content_type
    answer = HTTP.request(call.method, base + call.target, body=call.content, headers=headers, redirect=False)
    assert answer.headers.get_all("X-Request-Id") == [REQUEST_ID], answer.data
    return answer


def call_of(operation: Operation, *, method: str = "", target: str = "", body: Any = None) -> Call:
    """Make a call of an operation; without a body it sends the operation's own example."""
    value = operation.body if body is None else body
    return Call(
        service=operation.service,
        method=method or operation.method,
        target=target or operation.path(),
        content=json.dumps(value).encode() if value is not None else None,
    )


def require_problem(answer: urllib3.BaseHTTPResponse, *statuses: int) -> dict[str, Any]:
    """Fail unless the answer is an error of the one shape, of one of these statuses; return its members."""
    assert answer.status in statuses, (answer.status, answer.data)
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert not set(MEMBERS) - set(problem), problem
    assert problem["status"] == problem["statusCode"] == answer.status
    assert problem["success"] is False
    assert problem["detail"] == problem["message"] != ""
    assert isinstance(problem["details"], dict)
    assert problem["requestId"] == REQUEST_ID
    folder, _, type = problem["type"].rpartition("/")
    assert folder == "/problems"
    assert (PAGES / f"{type}.md").is_file(), type
    assert b"Traceback" not in answer.data
    return problem


def require_no_fault_of_ours(answer: urllib3.BaseHTTPResponse) -> None:
    """Fail on a 5xx; every 4xx must have the one shape, or at a token endpoint that of RFC 6749 §5.2."""
    assert answer.status < 500, answer.data
    if answer.status < 400:
        return
    if answer.headers["Content-Type"] == JSON:
        require_oauth_error(answer)
    else:
        require_problem(answer, answer.status)


def require_oauth_error(answer: urllib3.BaseHTTPResponse) -> None:
    assert answer.status in (400, 401), answer.data
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
