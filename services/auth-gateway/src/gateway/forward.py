"""Send an admitted request to its service and stream the answer back; nothing is buffered on the way.

A connection that could not be opened is tried once more for idempotent methods: nothing was sent. Nothing
else is repeated, redirects are the client's business, and a client that goes away takes its upstream
connection along.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import urllib3
from urllib3 import HTTPConnectionPool, Retry
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util import SKIP_HEADER

from common.problems import Problem
from gateway import headers as relayed
from gateway import problems
from gateway.admission import Forward

CONNECT_TIMEOUT_SECONDS = 2
CHUNK_BYTES = 64 * 1024
POOL_CONNECTIONS = 64
PROBE_TIMEOUT = urllib3.Timeout(connect=1, read=2)
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")


class BodyTooLarge(Exception):
    """A chunked body went past the route's limit."""


class BodyCutShort(Exception):
    """The client's body ended before it was complete, or its chunks are malformed."""


class AnswerCutShort(Exception):
    """The service's answer ended before it was complete; the client's connection must be cut too."""


class Input(Protocol):
    """What a WSGI server gives as `wsgi.input`."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request body as announced: `length_bytes` is None when it comes chunked."""

    source: Input
    length_bytes: int | None

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        """Read it piece by piece. Raises BodyTooLarge or BodyCutShort."""
        seen = 0
        while self.length_bytes is None or seen < self.length_bytes:
            wanted = CHUNK_BYTES if self.length_bytes is None else min(CHUNK_BYTES, self.length_bytes - seen)
            piece = self._read(wanted)
            if not piece:
                break
            seen += len(piece)
            if seen > limit_bytes:
                raise BodyTooLarge(limit_bytes)
            yield piece
        if self.length_bytes is not None and seen < self.length_bytes:
            raise BodyCutShort(f"{seen} of {self.length_bytes} bytes")

    def _read(self, size: int) -> bytes:
        try:
            return self.source.read(size)
        except Exception as error:  # servers' own errors for a broken body have no common base
            raise BodyCutShort(type(error).__name__) from error


class Answer:
    """A service's answer, to be iterated once. Closing it early closes the connection it comes over."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._is_complete = False
        self.status = int(response.status)
        if (
            self.status < 200
        ):  # the client below takes it for the whole, and what follows for the next answer's
            response.close()
            raise HTTPError(f"status {self.status} is no answer")
        self.headers = relayed.to_client(response.headers.items())

    def __iter__(self) -> Iterator[bytes]:
        yield b""  # sends the head at once: a stream's first event may be long in coming
        try:
            while piece := self._response.read1(CHUNK_BYTES, decode_content=False):
                yield piece
        except HTTPError as error:
            raise AnswerCutShort(type(error).__name__) from error
        self._is_complete = True

    def close(self) -> None:
        if self._is_complete:
            self._response.release_conn()
        else:
            self._response.close()


class Upstreams:
    """The services behind the gateway, by name, each with its pool of connections."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._pools = {name: _pool(url) for name, url in urls.items()}

    def send(self, forward: Forward, method: str, request_id: str, body: Body) -> Answer:
        """Send a request on. Raises Problem 413, 502 or 504, or 400 for a body that broke off."""
        try:
            return Answer(self._request(forward, method, request_id, body))
        except BodyTooLarge:
            raise problems.body_too_large(forward.route.body_bytes) from None
        except BodyCutShort:
            raise problems.body_cut_short() from None
        except (HTTPError, OSError) as error:
            raise _problem(error) from error

    def probe(self, name: str) -> None:
        """Ask a service whether it lives; any error means no."""
        response = self._pools[name].request("GET", "/healthz", timeout=PROBE_TIMEOUT, retries=False)
        if response.status != 200:
            raise HTTPError(f"status {response.status}")

    def _request(self, forward: Forward, method: str, request_id: str, body: Body) -> Any:
        has_body = body.length_bytes != 0
        headers = urllib3.HTTPHeaderDict(forward.headers)
        headers["x-request-id"] = request_id
        headers.setdefault("user-agent", SKIP_HEADER)
        if body.length_bytes:
            headers["content-length"] = str(body.length_bytes)
        return self._pools[forward.route.to].urlopen(
            method,
            forward.target,
            headers=headers,
            body=body.chunks(forward.route.body_bytes) if has_body else None,
            chunked=body.length_bytes is None,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=forward.route.timeout_seconds),
            retries=_retries(method),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )


def _pool(url: str) -> HTTPConnectionPool:
    return urllib3.connection_from_url(url, maxsize=POOL_CONNECTIONS, block=False)


def _retries(method: str) -> Retry:
    connect = 1 if method in _IDEMPOTENT else 0
    return Retry(
        total=None, connect=connect, read=0, redirect=0, status=0, other=0,
        allowed_methods=_IDEMPOTENT, backoff_factor=0.05, backoff_jitter=0.05,
        raise_on_redirect=False, raise_on_status=False, respect_retry_after_header=False,
    )  # fmt: skip


def _problem(error: BaseException) -> Problem:
    cause = error.reason if isinstance(error, MaxRetryError) else error
    late = isinstance(cause, (ConnectTimeoutError, ReadTimeoutError, TimeoutError))
    refused = isinstance(cause, NewConnectionError)  # a ConnectTimeoutError by inheritance only
    return problems.gateway_timeout() if late and not refused else problems.bad_gateway()
