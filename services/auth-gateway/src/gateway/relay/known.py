"""Heads met before: a client repeats its headers with every request, so they are read once.

Only a request that came whole and alone, without a body, is recognized, by the SHA-256 of everything behind
its request line; the line itself is always read. Equal bytes have equal meaning, so nothing is decided here
that the strict reader did not decide first.
"""

import re
from functools import lru_cache
from hashlib import sha256

from gateway.headers import Block
from gateway.relay.reading import MAX_TARGET_BYTES, Request

MAX_KNOWN = 8192
_END = b"\r\n\r\n"
_LINE = re.compile(rb"(GET|HEAD|DELETE) (/[!-~]*) HTTP/1\.1")
_TOLD_APART = frozenset({"x-request-id", "traceparent", "tracestate"})  # never the same twice


class KnownHeads:
    """The header blocks one worker has met lately."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, Block] = {}

    def recognize(self, data: bytes) -> Request | None:
        """Read a request whose headers are known."""
        line_end = data.find(b"\r\n")
        block = self._blocks.get(sha256(data[line_end:]).digest())
        line = _line(data[:line_end]) if block else None
        if block is None or line is None:
            return None
        return Request(line[0], line[1], block, 0, False, True)

    def remember(self, data: bytes, request: Request) -> None:
        """Note the headers of a request that the reader made of exactly these bytes."""
        line_end = data.find(b"\r\n")
        is_whole = line_end > 0 and data.find(_END, line_end) == len(data) - 4
        if not is_whole or request.has_body or not request.keeps_alive:
            return
        if _TOLD_APART.isdisjoint(request.block.values):
            if len(self._blocks) >= MAX_KNOWN:
                self._blocks.clear()
            self._blocks[sha256(data[line_end:]).digest()] = request.block


@lru_cache(maxsize=MAX_KNOWN)
def _line(line: bytes) -> tuple[str, str] | None:
    """Read a request line that asks without a body: method and target."""
    found = _LINE.fullmatch(line) if len(line) < MAX_TARGET_BYTES else None
    return (found[1].decode(), found[2].decode()) if found else None
