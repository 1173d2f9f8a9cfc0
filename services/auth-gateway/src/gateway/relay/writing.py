"""Heads as bytes: of requests to a service, of answers to a client."""

import json
import time
from http import HTTPStatus

from common import problems as rendering
from common.principal import SIGNATURE
from common.problems import Problem
from gateway import headers as relayed
from gateway.admission import Forward
from gateway.relay.reading import Request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_CLOSE = b"Connection: close\r\n"
_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}


def request_head(forward: Forward, request: Request, request_id: str, host_line: bytes) -> bytes:
    """Write what a service gets to see."""
    line = f"{request.method} {forward.target} HTTP/1.1\r\nx-request-id: {request_id}\r\n".encode("latin-1")
    identity = forward.identity
    if identity is None:
        return line + host_line + relayed.wire(forward.headers) + _framing(request)
    signature = f"{SIGNATURE}: {forward.signature}\r\n".encode()
    return b"".join((line, host_line, forward.block.lines, identity.wire, signature, _framing(request)))


def _framing(request: Request) -> bytes:
    if request.length_bytes is None:
        return b"transfer-encoding: chunked\r\n\r\n"
    if request.length_bytes or request.method in ("POST", "PUT", "PATCH"):
        return b"content-length: %d\r\n\r\n" % request.length_bytes
    return b"\r\n"


def answer_head(status: int, lines: bytes, extra: bytes, *, chunked: bool, closes: bool) -> bytes:
    """Write what a client gets to see of an answer; `extra` are lines of our own."""
    return b"".join(
        (
            _LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n".encode(),
            lines,
            _CHUNKED if chunked else b"",
            _CLOSE if closes else b"",
            extra,
            b"\r\n",
        )
    )


def problem(error: Problem, request_id: str, extra: bytes, *, closes: bool, is_head: bool) -> bytes:
    """Write a whole refusal."""
    body = json.dumps(rendering.document(error, request_id), ensure_ascii=False).encode()
    described = b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n" % len(body)
    lines = described + relayed.wire(tuple(error.headers.items()))
    head = answer_head(error.status, lines, extra, chunked=False, closes=closes)
    return head if is_head else head + body


def chunk(piece: bytes) -> bytes:
    """Frame a piece of a chunked body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Date:
    """The line `Date`, made once a second (RFC 9110 §6.6.1)."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(now)).encode()
        return self._line
