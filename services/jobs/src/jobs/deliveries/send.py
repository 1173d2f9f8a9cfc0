"""Calls to our own services: signed, bounded in time and size, never following a redirect."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import urllib3

from common import ids, principal
from common.clock import Clock

CONNECT_SECONDS = 2.0
READ_SECONDS = 10.0
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024


class SendFailed(Exception):
    """The receiver was not reached, or did not answer with a 2xx. `status` is none if not reached."""

    def __init__(self, error: str, status: int | None = None) -> None:
        super().__init__(error)
        self.status = status


class Receiver(Protocol):
    """One service we send to."""

    def put(self, target: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a document; return status and answer, or raise SendFailed."""


class SignedReceiver:
    """A service reached over HTTP that knows us by our signature. Safe to use from several threads."""

    def __init__(
        self, url: str, keys: Mapping[str, bytes], clock: Clock, *, connections: int, name: str = "jobs"
    ) -> None:
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(maxsize=connections, timeout=timeout, retries=False, block=True)
        self._url = url
        self._keys = keys
        self._clock = clock
        self._who = principal.service(name)

    def put(self, target: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a document; return status and answer, or raise SendFailed."""
        now = int(self._clock.now().timestamp())
        headers = principal.signed_headers(self._who, "PUT", target, self._keys, now)
        headers |= {"Content-Type": "application/json", "X-Request-Id": ids.new_uid().hex}
        try:
            response = self._pool.request(
                "PUT", self._url + target, body=json.dumps(body), headers=headers, preload_content=False
            )
            content = response.read(LARGEST_ANSWER_BYTES)
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise SendFailed(type(error).__name__) from error
        return response.status, _answer(response.status, content)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()


def _answer(status: int, content: bytes) -> dict[str, Any]:
    if not 200 <= status < 300:
        raise SendFailed(content[:300].decode("utf-8", "replace"), status)
    try:
        document = json.loads(content) if content else {}
    except ValueError:
        raise SendFailed("the answer is not JSON", status) from None
    return document if isinstance(document, dict) else {}
