"""Heads met before: a client repeats its headers with every request, so they are read once.

Only a request that came whole and alone, with a body of announced length or none, is recognized, by the
SHA-256 of its headers; the request line is always read. Equal bytes have equal meaning, so nothing is decided
here that the strict reader did not decide first.
"""

import re
from functools import lru_cache
from hashlib import sha256

from gateway.headers import Block
from gateway.relay.reading import MAX_TARGET_BYTES, Request

MAX_KNOWN = 4096
_END = b"\r\n\r\n"
_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!-~]*) HTTP/1\.1")
_TOLD_APART = frozenset(
    {"x-request-id", "traceparent", "tracestate", "idempotency-key"}
)  # never the same twice


class KnownHeads:
    """The header blocks one worker has met lately, and the length of the body that follows each."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, tuple[Block, int]] = {}

    def recognize(self, data: bytes) -> tuple[Request, bytes] | None:
        """Read a request whose headers are known, and its body."""
        line_end = data.find(b"\r\n")
        head_ends_at = data.find(_END, line_end) + len(_END)
        block, length_bytes = self._blocks.get(sha256(data[line_end:head_ends_at]).digest(), _NONE)
        if block is None or head_ends_at + length_bytes != len(data):
            return None
        line = _line(data[:line_end])
        if line is None:
            return None
        return Request(line[0], line[1], block, length_bytes, False, True), data[head_ends_at:]

    def remember(self, data: bytes, request: Request) -> None:
        """Note the headers of a request that the reader made of exactly these bytes."""
        line_end = data.find(b"\r\n")
        head_ends_at = data.find(_END, line_end) + len(_END)
        length_bytes = request.length_bytes
        if line_end <= 0 or length_bytes is None or head_ends_at + length_bytes != len(data):
            return
        if request.keeps_alive and _TOLD_APART.isdisjoint(request.block.values):
            if len(self._blocks) >= MAX_KNOWN:
                self._blocks.clear()
            name = sha256(data[line_end:head_ends_at]).digest()
            self._blocks[name] = request.block, length_bytes


_NONE: tuple[Block | None, int] = None, 0


@lru_cache(maxsize=MAX_KNOWN)
def _line(line: bytes) -> tuple[str, str] | None:
    """Read a request line: method and target."""
    found = _LINE.fullmatch(line) if len(line) < MAX_TARGET_BYTES else None
    return (found[1].decode(), found[2].decode()) if found else None
