"""The executor API as one run's executor calls it.

Every POST carries an `Idempotency-Key`, so one whose answer was lost may be repeated. It is repeated for as
long as the lease could still be alive, and not a moment longer: after that another executor may have the run.
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

from executor_sdk.errors import Cancelled, LeaseLost, Refused

LOST = frozenset({401, 403, 404, 409, 410})
_IN_PROGRESS = "idempotency-key-in-progress"
_CANCELLED = "cancel-requested"
_LOST_FOR = ("token-does-not-match-run", "run-not-found", "run-not-executing", "claim-refused")
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the executor is told when it claims a run."""

    payload: Mapping[str, Any]
    heartbeat_interval_seconds: float
    lease: int
    attempt: int
    last_checkpoint: Mapping[str, Any] | None = None
    event: Any = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; status 0 stands for nothing."""

    status: int = 0
    document: Any = field(default_factory=dict)
    retry_after_seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def word(self, name: str) -> str:
        """Read a member of a problem (RFC 9457)."""
        return str(self.document.get(name) or "") if isinstance(self.document, dict) else ""

    @property
    def problem(self) -> str:
        return self.word("type").rpartition("/")[2]

    @property
    def detail(self) -> str:
        return (self.word("detail") or self.word("message"))[:300]


class RunApi:
    """The API for one run. Safe to use from several threads."""

    def __init__(
        self,
        *,
        http: urllib3.PoolManager,
        gateway_url: str,
        run: str,
        ticket: str,
        alive_seconds: float,
        traceparent: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._root = f"{gateway_url}/sdk/v1/runs/{run}"
        self._token = ticket
        self._alive_seconds = alive_seconds
        self._trace = {"traceparent": traceparent} if traceparent else {}
        self._clock = clock
        self._heard_at = clock()
        self._closed = threading.Event()

    def claim(self, executor: str) -> Claim:
        """Take the run, with one claim id until an answer comes; LeaseLost when another executor has it."""
        answer = self.post("claim", {"claim_id": str(uuid.uuid4()), "executor": executor})
        self._token = answer["run_token"]
        timeout = float(answer.get("heartbeat_timeout_secs") or self._alive_seconds)
        self._alive_seconds = timeout
        interval = float(answer.get("heartbeat_interval_secs") or timeout)
        return Claim(
            payload=dict(answer["payload"]),
            heartbeat_interval_seconds=min(interval, timeout / 3),
            lease=int(answer.get("lease", 0)),
            attempt=int(answer.get("attempt", 1)),
            last_checkpoint=answer.get("last_checkpoint"),
            event=answer.get("event"),
        )

    def heartbeat(self) -> bool:
        """Say that we live; return whether cancelling was asked for. A renewed token is taken on."""
        answer = self.post("heartbeat", {})
        self._token = answer.get("run_token") or answer.get("token") or self._token
        return bool(answer.get("cancel_requested"))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a POST until it is answered. Raises LeaseLost, Cancelled, Refused."""
        return self._send("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """Read something of the run. Raises LeaseLost, Refused."""
        return self._send("GET", path)

    def delete(self, path: str) -> None:
        """Remove something of the run. Raises LeaseLost, Refused."""
        self._send("DELETE", path)

    def close(self) -> None:
        """Stop repeating requests: whoever is waiting gets LeaseLost."""
        self._closed.set()

    def _send(self, method: str, path: str, data: bytes | None = None) -> Any:
        key, began, pause = str(uuid.uuid4()), self._clock(), 0.1
        while True:
            answer = self._once(method, path, data, key)
            if answer.is_good:
                self._heard_at = self._clock()
                return answer.document
            _judge(answer)
            left = self._seconds_left(began, answer)
            asked = min(answer.retry_after_seconds, left)
            if self._closed.wait(max(asked, pause) * random.uniform(1, 1.5)):
                raise LeaseLost("the run was given up")
            pause = min(pause * 2, _LONGEST_PAUSE, self._alive_seconds / 4)

    def _seconds_left(self, began: float, answer: Answer) -> float:
        """Say for how long a request may still be repeated; raises LeaseLost or Refused when it may not."""
        now = self._clock()
        if now - self._heard_at > self._alive_seconds:
            raise LeaseLost(f"no answer for {self._alive_seconds:g} s")
        if now - began > self._alive_seconds:
            raise Refused(answer.status, answer.detail or "the server does not answer", answer.problem)
        return self._alive_seconds - (now - began)

    def _once(self, method: str, path: str, data: bytes | None, key: str) -> Answer:
        patience = max(0.5, min(15.0, self._alive_seconds / 3))
        headers = {"Authorization": f"Bearer {self._token}", **self._trace}
        if data is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            answer = self._http.request(
                method,
                f"{self._root}/{path}",
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(5.0, patience), read=patience),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            return Answer()
        asked = answer.headers.get("Retry-After", "")
        return Answer(
            status=answer.status,
            document=_document(answer.data),
            retry_after_seconds=float(asked) if asked.isdigit() else 0.0,  # RFC 9110 §10.2.3
        )


def _judge(answer: Answer) -> None:
    """Return when the request may be repeated, raise when not."""
    if answer.problem == _IN_PROGRESS:
        return  # our own first try is still at work
    refused = Refused(answer.status, answer.detail, answer.problem)
    if refused.is_outage:
        return
    if answer.problem == _CANCELLED:
        raise Cancelled("canceled by request")
    if answer.status in LOST and _is_fenced(answer):
        raise LeaseLost(f"{answer.status} {answer.detail}")
    raise refused


def _is_fenced(answer: Answer) -> bool:
    """Tell the refusal of the lease from that of a request, which may have the same status."""
    return answer.status in (401, 410) or answer.problem in ("", *_LOST_FOR)


def _document(data: bytes) -> Any:
    try:
        return json.loads(data or b"{}")
    except ValueError:
        return {}
