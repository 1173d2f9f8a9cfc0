"""The executor API as a client sees it (executor-api.md §2).

Every POST carries an `Idempotency-Key`, so one whose answer was lost may be repeated. It is repeated for as
long as the lease could still be alive, and not a moment longer: after that another executor may have the run.
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from executor.failures import Failure

RETRIED = frozenset({429, 500, 502, 503, 504})
LOST = frozenset({401, 403, 404, 409, 410})
_IN_PROGRESS = "idempotency-key-in-progress"
_LONGEST_PAUSE = 5.0


class LeaseLost(Exception):
    """The run is no longer ours: drop the work and say nothing more about it."""


class Refused(Exception):
    """The API answered that the request itself is wrong."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(f"{status} {detail}")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the executor is told when it claims a run."""

    payload: Mapping[str, Any]
    heartbeat_interval_seconds: float
    heartbeat_timeout_seconds: float
    lease: int
    attempt: int


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """An output set to upload to: file name → URL, and the headers each URL signs."""

    uid: str
    urls: Mapping[str, str]
    headers: Mapping[str, Mapping[str, str]]


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
        answer = self._post("claim", {"claim_id": str(uuid.uuid4()), "executor": executor})
        self._token = answer["run_token"]
        timeout = float(answer.get("heartbeat_timeout_secs") or self._alive_seconds)
        self._alive_seconds = timeout
        interval = float(answer.get("heartbeat_interval_secs") or timeout)
        return Claim(
            payload=answer["payload"],
            heartbeat_interval_seconds=min(interval, timeout / 3),
            heartbeat_timeout_seconds=timeout,
            lease=int(answer.get("lease", 0)),
            attempt=int(answer.get("attempt", 1)),
        )

    def heartbeat(self) -> bool:
        """Say that we live; return whether cancelling was asked for. A renewed token is taken on."""
        answer = self._post("heartbeat", {})
        self._token = answer.get("run_token") or answer.get("token") or self._token
        return bool(answer.get("cancel_requested"))

    def log(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append up to 500 lines to the run's log."""
        self._post("log", {"entries": list(entries)})

    def progress(self, percent: float, step: str, message: str) -> None:
        """Say how far the run is, 0 to 100."""
        self._post("progress", {"percent": round(percent, 1), "step": step, "message": message})

    def checkpoint(self, state: Any) -> None:
        """Store a state a later attempt can read."""
        self._post("checkpoint", {"state": state})

    def open_set(self, kind: str, files: Sequence[Mapping[str, Any]], *, sent_to_ods: bool) -> OpenSet:
        """Announce an output set, a `result` or a `report`, and get the URLs to upload its files to."""
        body = {"name": kind, "kind": kind, "files": list(files), "sentToOds": sent_to_ods}
        answer = self._post("output-sets", body)
        return OpenSet(
            uid=answer["uid"], urls=answer["uploadUrls"], headers=answer.get("uploadHeaders") or {}
        )

    def seal(self, uid: str) -> None:
        """Declare an output set whole; the server looks every file up."""
        self._post(f"output-sets/{uid}/seal", {})

    def complete(self, result: Mapping[str, Any], output_sets: Sequence[str]) -> None:
        """End the run well."""
        self._post("complete", {"result": dict(result), "output_sets": list(output_sets)})

    def fail(self, failure: Failure) -> None:
        """End the run, or this attempt at it, badly."""
        body = {"error": failure.sentence, "error_class": failure.error_class, "code": failure.code}
        self._post("fail", {**body, "retryable": failure.retryable})

    def close(self) -> None:
        """Stop repeating requests: whoever is waiting gets LeaseLost."""
        self._closed.set()

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        data, key = json.dumps(body).encode(), str(uuid.uuid4())
        pause = 0.1
        while True:
            status, answer = self._once(path, data, key)
            if status is not None and 200 <= status < 300:
                self._heard_at = self._clock()
                return answer
            self._judge(status, answer)
            if self._clock() - self._heard_at > self._alive_seconds:
                raise LeaseLost(f"no answer for {self._alive_seconds:g} s")
            if self._closed.wait(pause * random.uniform(0.5, 1.5)):
                raise LeaseLost("the run was given up")
            pause = min(pause * 2, _LONGEST_PAUSE, self._alive_seconds / 4)

    def _once(self, path: str, data: bytes, key: str) -> tuple[int | None, dict[str, Any]]:
        """Send once; status None stands for no answer."""
        patience = max(0.5, min(15.0, self._alive_seconds / 3))
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            **self._trace,
        }
        try:
            answer = self._http.request(
                "POST",
                f"{self._root}/{path}",
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(5.0, patience), read=patience),
                retries=False,
            )
        except urllib3.exceptions.HTTPError:
            return None, {}
        return answer.status, _document(answer.data)

    @staticmethod
    def _judge(status: int | None, answer: Mapping[str, Any]) -> None:
        """Return when the request may be repeated, raise when not."""
        if status is None or status in RETRIED:
            return
        if status == 409 and _IN_PROGRESS in str(answer.get("type", "")):
            return  # our own first try is still at work
        detail = str(answer.get("detail") or answer.get("message") or "")[:300]
        if status in LOST:
            raise LeaseLost(f"{status} {detail}")
        raise Refused(status, detail)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {"items": document}
