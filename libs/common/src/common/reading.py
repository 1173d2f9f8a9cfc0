"""What a client sends, read strictly: what two parsers could frame differently is refused (RFC 9112).

llhttp refuses a length beside chunks, repeated lengths, folded lines, bare line feeds and odd chunk sizes;
what it lets pass and a service might read otherwise is refused here. Trailers are dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_TARGET_BYTES = 8190
BAD_REQUEST, TARGET_TOO_LONG, HEAD_TOO_LARGE = 400, 414, 431


@dataclass(slots=True)
class Request:
    """A request whose head is whole; `pieces` are what came of its body and was not taken yet."""

    environ: dict[str, Any]
    is_http10: bool
    is_head: bool
    keeps_alive: bool
    awaits_continue: bool
    pieces: list[bytes] = field(default_factory=list)
    is_whole: bool = False
    is_dropped: bool = False  # nobody takes the rest of its body


class RequestReader:
    """Reads one connection into `requests`. `fault` is a status: nothing that follows is read."""

    __slots__ = (
        "_base",
        "_environ",
        "_in_head",
        "_latest",
        "_parser",
        "_size",
        "_target",
        "fault",
        "is_over",
        "requests",
    )

    def __init__(self, base: Mapping[str, Any]) -> None:
        """`base` holds the variables that all requests of the connection share."""
        self._base = base
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = False
        self._environ: dict[str, Any] = {}
        self._latest: Request
        self.fault = 0
        self.is_over = False  # nothing that follows is a request
        self.requests: list[Request] = []

    def feed(self, data: bytes) -> None:
        """Read on; requests and the body of the last of them grow."""
        if self.fault or self.is_over:
            return
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_over = True  # the request is served as if nothing had been asked (RFC 9110 §7.8)
        except httptools.HttpParserError:
            if not self.is_over:  # a client that said `close` may send on; nobody listens
                self.fault = self.fault or BAD_REQUEST
        if was_in_head and self._in_head:  # llhttp keeps what it has of a header to itself
            self._grow(len(data))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_HEAD_BYTES or len(self._environ) > MAX_HEADERS + len(self._base):
            self.fault = HEAD_TOO_LARGE

    # -- what llhttp calls -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._environ = dict(self._base)
        self._target = b""
        self._size = 0
        self._in_head = True

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > MAX_TARGET_BYTES:
            self.fault = TARGET_TOO_LONG

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head or self.fault:
            return
        environ, variable = self._environ, _variable(name)
        text = value.decode("latin-1").rstrip(" \t")  # RFC 9110 §5.5
        if variable in environ:
            environ[variable] += "," + text
        elif variable:
            environ[variable] = text
        self._grow(len(name) + len(value))
        if len(value) > MAX_HEADER_BYTES:
            self.fault = HEAD_TOO_LARGE

    def on_headers_complete(self) -> None:
        self._in_head = False
        environ, parser = self._environ, self._parser
        upgrades, version = parser.should_upgrade(), parser.get_http_version()
        environ["REQUEST_METHOD"] = method = parser.get_method().decode("latin-1")
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        if not self.fault and not (
            _is_framed(environ, version, upgrades) and _has_path(environ, self._target)
        ):
            self.fault = BAD_REQUEST
        keeps_alive = version == "1.1" and not upgrades and parser.should_keep_alive()
        awaits_continue = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        self._environ = {}
        self._latest = Request(environ, version == "1.0", method == "HEAD", keeps_alive, awaits_continue)
        if not self.fault:
            self.requests.append(self._latest)

    def on_body(self, piece: bytes) -> None:
        if not self._latest.is_dropped:
            self._latest.pieces.append(piece)

    def on_message_complete(self) -> None:
        self._latest.is_whole = True
        self.is_over = not self._latest.keeps_alive


@lru_cache(maxsize=512)
def _variable(name: bytes) -> str:
    """Name a header as CGI does; one with `_` could be taken for another's `-`: it is nobody's."""
    if b"_" in name:
        return ""
    variable = name.decode("latin-1").upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"


def _is_framed(environ: Mapping[str, Any], version: str, upgrades: bool) -> bool:
    """Tell whether the head leaves no doubt where the request ends and whom it asks."""
    host, encoding = environ.get("HTTP_HOST"), environ.get("HTTP_TRANSFER_ENCODING")
    if version not in ("1.0", "1.1"):
        return False
    if encoding is not None and (encoding.lower() != "chunked" or version == "1.0"):  # RFC 9112 §6.1
        return False
    if upgrades and (encoding or environ.get("CONTENT_LENGTH")):  # llhttp reads no body then
        return False
    return "," not in host if host is not None else version == "1.0"  # RFC 9112 §3.2


def _has_path(environ: dict[str, Any], target: bytes) -> bool:
    """Set what the target says, and keep it as it came: that is what the gateway signed."""
    raw = target.decode("latin-1")
    path, _, query = raw.partition("?")
    environ["RAW_URI"] = raw
    environ["PATH_INFO"] = (
        unquote_to_bytes(target.partition(b"?")[0]).decode("latin-1") if "%" in path else path
    )
    environ["QUERY_STRING"] = query
    return raw.startswith("/") and "#" not in raw
