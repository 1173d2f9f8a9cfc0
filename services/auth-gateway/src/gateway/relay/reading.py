"""What a client sends, read strictly: whatever two parsers could frame differently is refused (RFC 9112).

llhttp refuses a length beside chunks, repeated lengths, folded lines, bare line feeds and odd chunk sizes;
what it lets pass and a service might read otherwise is refused here. Trailers are dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httptools

from common.problems import Problem
from gateway import headers as relayed
from gateway import problems
from gateway.headers import Block

MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8190


@dataclass(slots=True)
class Request:
    """A request's head. `length_bytes` is None for a chunked body."""

    method: str
    target: str
    block: Block
    length_bytes: int | None
    is_http10: bool
    keeps_alive: bool

    @property
    def has_body(self) -> bool:
        return self.length_bytes != 0

    @property
    def expects_continue(self) -> bool:
        return self.block.values.get("expect", "").lower() == "100-continue"


class Sink(Protocol):
    """Who is told, in the order of the wire."""

    def request_began(self, request: Request) -> None: ...

    def body_came(self, piece: bytes) -> None: ...

    def request_ended(self) -> None: ...


class RequestReader:
    """Reads one connection. After a fault nothing more is read; `fault` is the answer it deserves."""

    __slots__ = (
        "_closes",
        "_headers",
        "_in_body",
        "_in_head",
        "_parser",
        "_sink",
        "_size",
        "_target",
        "fault",
        "is_over",
    )

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser: Any = None  # made when it is needed: a stream whose head is known never has one
        self.fault: Problem | None = None
        self.is_over = False  # nothing that follows is a request
        self._in_body = self._in_head = self._closes = False
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._size = 0

    @property
    def is_busy(self) -> bool:
        """Whether it stands within a request, or reads no more."""
        return self._in_head or self._in_body or self.is_over or self.fault is not None

    @property
    def is_in_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return self._in_head

    def feed(self, data: bytes) -> None:
        """Read on; the sink hears of everything complete."""
        if self.fault or self.is_over:
            return
        try:
            was_in_head = self._in_head
            if self._parser is None:
                self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(data)
            if was_in_head and self._in_head:  # llhttp keeps what it has of a header to itself
                self._grow(len(data))
        except httptools.HttpParserUpgrade:
            self.is_over = True  # the request is served as if nothing had been asked (RFC 9110 §7.8)
        except httptools.HttpParserError as error:
            if not self.is_over:  # a client that said `close` may send on; nobody listens
                self.fault = problems.malformed_request(str(error)[:100])

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_HEAD_BYTES:
            self.fault = problems.head_too_large()

    # -- what llhttp calls -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._reset()

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > MAX_TARGET_BYTES:
            self.fault = problems.head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head or self.fault:
            return
        self._size += len(name) + len(value)
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))
        if self._size > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS:
            self.fault = problems.head_too_large()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if self.fault:
            return
        # A name with `_` may be taken for one with `-` behind us: it is nobody's (as gunicorn has it).
        headers = relayed.inbound(pair for pair in self._headers if "_" not in pair[0])
        version = self._parser.get_http_version()
        self.fault = _fault(headers, version)
        if self._parser.should_upgrade() and (
            headers.get("content-length") or "transfer-encoding" in headers
        ):
            self.fault = problems.malformed_request(
                "a request to upgrade has no body here"
            )  # llhttp reads none
        if self.fault is None:
            chunked = "transfer-encoding" in headers
            keeps_alive = self._parser.should_keep_alive() and version == "1.1"
            self._closes = not keeps_alive
            method, target = self._parser.get_method().decode("latin-1"), self._target.decode("latin-1")
            length_bytes = None if chunked else int(headers.get("content-length") or 0)
            request = Request(method, target, Block(headers), length_bytes, version == "1.0", keeps_alive)
            self._sink.request_began(request)

    def on_body(self, piece: bytes) -> None:
        if not self.fault:
            self._sink.body_came(piece)

    def on_message_complete(self) -> None:
        self._in_body = False
        if not self.fault:
            self.is_over = self._closes
            self._sink.request_ended()


def _fault(headers: Mapping[str, str], version: str) -> Problem | None:
    encoding = headers.get("transfer-encoding")
    if version not in ("1.0", "1.1"):
        return problems.malformed_request("HTTP/1.1 is spoken here")
    if encoding is not None and (encoding.lower() != "chunked" or version == "1.0"):  # RFC 9112 §6.1
        return problems.malformed_request("the body is framed in a way not spoken here")
    host = headers.get("host")
    if (host is None and version == "1.1") or (host is not None and "," in host):  # RFC 9112 §3.2
        return problems.malformed_request("one Host header is expected")
    return None
