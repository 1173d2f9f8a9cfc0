"""Move files between this machine and object storage through presigned URLs, in pieces."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3

from executor_sdk.errors import Retryable

PIECE = 256 * 1024
_TRIES = 6
_TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
_ALREADY_THERE = 412  # RFC 9110 §15.5.13: the URL signs If-None-Match: *


class Gone(Exception):
    """The object is not there, or not the one it was."""


class Storage:
    """Object storage as one run sees it; `pause` is called at every piece and may raise."""

    def __init__(self, http: urllib3.PoolManager, pause: Callable[[], None]) -> None:
        self._http = http
        self._pause = pause

    def download(
        self, url: str, target: Path, *, size_bytes: int | None = None, etag: str | None = None
    ) -> None:
        """Fetch a file to disk.

        Raises Gone when it is not there or has another size or ETag, Retryable when storage does not answer.
        """
        for number in range(_TRIES):
            if number:
                self._rest(number)
            if self._fetched(url, target, size_bytes, etag):
                return
        sentence = "Object storage does not answer. The run will be tried again."
        raise Retryable(sentence, code="storage_unreachable")

    def upload(self, url: str, source: Path, headers: Mapping[str, str]) -> None:
        """Store a file with exactly the headers its URL signs. One that is already there is fine.

        Raises Retryable when storage refuses it or does not answer.
        """
        status = 0
        for number in range(_TRIES):
            if number:
                self._rest(number)
            status = self._stored(url, source, headers)
            if status == _ALREADY_THERE or 200 <= status < 300:
                return
            if 400 <= status < 500 and status not in (408, 429):
                break
        sentence = "An output file could not be stored. The run will be tried again."
        raise Retryable(sentence, code="upload_refused" if status else "storage_unreachable")

    def _fetched(self, url: str, target: Path, size_bytes: int | None, etag: str | None) -> bool:
        try:
            answer = self._http.request("GET", url, preload_content=False, timeout=_TIMEOUT, retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        try:
            if answer.status in (404, 412):
                raise Gone(f"status {answer.status}")
            if answer.status != 200:
                return False
            _compare_etag(answer.headers.get("ETag"), etag)
            written = self._written(answer, target)
        except urllib3.exceptions.HTTPError:
            return False
        finally:
            answer.release_conn()
        if size_bytes is not None and written != size_bytes:
            raise Gone(f"{written} bytes instead of {size_bytes}")
        return True

    def _written(self, answer: urllib3.BaseHTTPResponse, target: Path) -> int:
        written = 0
        with target.open("wb") as out:
            for piece in answer.stream(PIECE, decode_content=False):
                self._pause()
                written += out.write(piece)
        return written

    def _stored(self, url: str, source: Path, headers: Mapping[str, str]) -> int:
        """Send the file once; 0 stands for no answer."""
        size = {"Content-Length": str(source.stat().st_size)}
        known = {name.lower() for name in headers}
        sent = dict(headers) | ({} if "content-length" in known else size)
        try:
            with source.open("rb") as file:
                body: Any = _Pieces(file.read, self._pause)
                answer = self._http.request(
                    "PUT", url, body=body, headers=sent, timeout=_TIMEOUT, retries=False, redirect=False
                )
        except (urllib3.exceptions.HTTPError, OSError):
            return 0
        return answer.status

    def _rest(self, number: int) -> None:
        """Wait before another try, asking all the while whether the run goes on."""
        until = time.monotonic() + min(0.2 * 2**number, 5.0) * random.uniform(0.5, 1.5)
        while time.monotonic() < until:
            self._pause()
            time.sleep(0.1)


class _Pieces:
    """A file that asks before each piece whether the run goes on."""

    def __init__(self, read: Callable[[int], bytes], pause: Callable[[], None]) -> None:
        self._read = read
        self._pause = pause

    def read(self, size: int = -1) -> bytes:
        self._pause()
        return self._read(PIECE if size < 0 else size)


def _compare_etag(found: str | None, expected: str | None) -> None:
    if expected and found and found.strip('"') != expected.strip('"'):
        raise Gone("another ETag")
