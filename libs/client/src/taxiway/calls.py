"""Send a call to a JSON API: with patience, and without following redirects (a token goes nowhere else)."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from taxiway.errors import NotUnderstood, Refused, Unreachable
from taxiway.problems import problem_of
from taxiway.retries import TRY_AGAIN, Retries, retry_after_seconds

BLOCK_BYTES = 256 * 1024
IN_PROGRESS = "/problems/idempotency-key-in-progress"


def make_pool() -> urllib3.PoolManager:
    """Make the connections of one client; urllib3's own retries are off, ours know the API."""
    timeout = urllib3.Timeout(connect=10, read=60)
    return urllib3.PoolManager(retries=False, timeout=timeout, blocksize=BLOCK_BYTES)


class Caller:
    """Sends calls that may be repeated: GETs, and POSTs that are idempotent or carry an Idempotency-Key."""

    def __init__(self, pool: urllib3.PoolManager, retries: Retries) -> None:
        self._pool = pool
        self._retries = retries

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a call and return its answer if it is 2xx.

        Raises Refused for another answer, Unreachable when nobody answers; both after the last attempt.
        """
        for ceiling in self._retries.ceilings():
            try:
                answer = self._request(method, url, headers, body)
            except urllib3.exceptions.HTTPError:
                self._retries.pause(ceiling)
                continue
            asked = retry_after_seconds(answer.headers.get("Retry-After"))
            if not _may_succeed_later(answer) or not self._retries.pause(ceiling, asked):
                return _accepted(answer)
        try:
            return _accepted(self._request(method, url, headers, body))
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{origin(url)} does not answer: {reason(error)}") from error

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(method, url, body=body, headers=dict(headers))


def with_query(path: str, parameters: Mapping[str, str]) -> str:
    """Put a query behind a path; empty parameters are left out."""
    given = {name: value for name, value in parameters.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def json_of(answer: urllib3.BaseHTTPResponse) -> Any:
    """Read an answer's JSON. Raises NotUnderstood."""
    try:
        return json.loads(answer.data)
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "nothing")
        raise NotUnderstood(f"The answer is not JSON but {kind}: is this the address of Taxiway?") from None


def reason(error: Exception) -> str:
    """Say why a connection failed, without the addresses of objects."""
    inner = error.__cause__ or (error.args[-1] if error.args else error)
    return str(inner) if isinstance(inner, OSError | str) else type(error).__name__


def _may_succeed_later(answer: urllib3.BaseHTTPResponse) -> bool:
    if answer.status in TRY_AGAIN:
        return True
    # Our own first request is still at work: its answer was lost on the way.
    return answer.status == 409 and problem_of(answer).type == IN_PROGRESS


def _accepted(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    if 200 <= answer.status < 300:
        return answer
    raise Refused(problem_of(answer))


def origin(url: str) -> str:
    """Name the server of a URL; its path and query may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
