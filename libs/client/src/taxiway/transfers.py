"""Carry files to and from object storage by presigned URLs, a block at a time.

A presigned URL is a secret while it lives: no message shows one, and no token goes along with it.
"""

import hashlib
import os
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import urllib3

from taxiway.calls import BLOCK_BYTES, origin, reason
from taxiway.errors import StorageRefused, Unreachable
from taxiway.problems import problem_of
from taxiway.retries import TRY_AGAIN, Retries

EXPIRED = 403
_OVERLOADED = (*TRY_AGAIN, 500)  # object stores ask for another try with 500 as well

Moved = Callable[[int, int], None]
"""Told how many bytes of how many have moved; after a failed attempt it starts at 0 again."""
Linked = Callable[[], str]
"""Makes a fresh URL, for when the first has expired."""


class Interrupted(Exception):
    """A transfer that may succeed the next time."""


class Storage:
    """Puts and gets whole files; a broken transfer starts again, an expired URL is replaced once."""

    def __init__(self, pool: urllib3.PoolManager, retries: Retries) -> None:
        self._pool = pool
        self._retries = retries

    def put(self, url: str, source: Path, *, fresh: Linked, moved: Moved) -> None:
        """Upload a file. Raises StorageRefused, Unreachable, OSError for the file itself."""
        self._persist(url, fresh, lambda at: self._put(at, source, moved))

    def get(self, url: str, target: Path, *, fresh: Linked, moved: Moved) -> int:
        """Download into `target`, which appears whole or not at all; return its size.

        Raises StorageRefused, Unreachable, OSError for the file itself.
        """
        return self._persist(url, fresh, lambda at: self._get(at, target, moved))

    def _persist(self, url: str, fresh: Linked, transfer: Callable[[str], int]) -> int:
        renewed = False
        for ceiling in (*self._retries.ceilings(), None):
            try:
                return transfer(url)
            except StorageRefused as refused:
                if refused.problem.status != EXPIRED or renewed or ceiling is None:
                    raise
                url, renewed = fresh(), True
            except (Interrupted, urllib3.exceptions.HTTPError) as error:
                if ceiling is None:
                    raise Unreachable(
                        f"The transfer with {origin(url)} keeps failing: {_said(error)}"
                    ) from error
                self._retries.pause(ceiling)
        raise AssertionError("the last attempt returns or raises")

    def _put(self, url: str, source: Path, moved: Moved) -> int:
        with source.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
            blocks = _blocks(file, source, size_bytes, moved)
            answer = self._pool.request("PUT", url, body=blocks, headers=headers)
        _check(answer)
        return size_bytes

    def _get(self, url: str, target: Path, moved: Moved) -> int:
        answer = self._pool.request("GET", url, preload_content=False)
        try:
            _check(answer)
            return _keep(answer, target, moved)
        finally:
            answer.close()


def is_file_name(name: str) -> bool:
    """Say whether a name a server gave is one file in a folder and nothing else."""
    plain = name == Path(name).name and "\\" not in name and name.isprintable()
    return plain and name not in ("", ".", "..")


def _blocks(file: IO[bytes], source: Path, size_bytes: int, moved: Moved) -> Iterator[bytes]:
    done = 0
    moved(0, size_bytes)
    while done < size_bytes:
        block = file.read(min(BLOCK_BYTES, size_bytes - done))
        if not block:
            raise OSError(f"{source} became shorter while it was uploaded")
        yield block
        done += len(block)
        moved(done, size_bytes)


def _keep(answer: urllib3.BaseHTTPResponse, target: Path, moved: Moved) -> int:
    size_bytes = int(answer.headers.get("Content-Length", 0))
    handle, name = tempfile.mkstemp(
        prefix=f".{target.name[:100]}.", dir=target.parent
    )  # readable by us alone
    try:
        with os.fdopen(handle, "wb") as file:
            done, digest = _copy(answer, file, size_bytes, moved)
            file.flush()
            os.fsync(file.fileno())
        _check_whole(answer, done, digest)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return done


def _copy(
    answer: urllib3.BaseHTTPResponse, file: IO[bytes], size_bytes: int, moved: Moved
) -> tuple[int, bytes]:
    done, digest = 0, hashlib.sha256()
    moved(0, size_bytes)
    for block in answer.stream(BLOCK_BYTES, decode_content=False):
        file.write(block)
        digest.update(block)
        done += len(block)
        moved(done, size_bytes)
    return done, digest.digest()


def _check_whole(answer: urllib3.BaseHTTPResponse, done: int, digest: bytes) -> None:
    declared = answer.headers.get("Content-Length")
    if declared is not None and done != int(declared):
        raise Interrupted(f"{done} of {declared} bytes came")
    expected = answer.headers.get("x-amz-checksum-sha256")
    if expected is not None and "-" not in expected and b64encode(digest).decode() != expected:
        raise Interrupted("the SHA-256 is not the one that storage has")


def _check(answer: urllib3.BaseHTTPResponse) -> None:
    if 200 <= answer.status < 300:
        return
    if answer.status in _OVERLOADED:
        raise Interrupted(f"it answers {answer.status}")
    raise StorageRefused(problem_of(answer))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Interrupted) else reason(error)


def nothing_moved(done_bytes: int, all_bytes: int) -> None:
    """Show nothing."""
