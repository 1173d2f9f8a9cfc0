"""What an application answers to one request (PEP 3333), framed for the wire (RFC 9112)."""

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from common.reading import Request

_OURS = {"connection", "date", "keep-alive", "transfer-encoding"}


class Answer:
    """Sends a head with the first piece of its body; a body without a length goes in chunks, never kept back.

    `may_follow` tells, when the head goes out, whether the connection may go on after this answer.
    """

    __slots__ = (
        "_has_body",
        "_headers",
        "_is_chunked",
        "_length",
        "_may_follow",
        "_request",
        "_send",
        "_sent",
        "_status",
        "has_begun",
        "keeps_alive",
    )

    def __init__(
        self, request: Request, send: Callable[[bytes], None], may_follow: Callable[[Request], bool]
    ) -> None:
        self._request = request
        self._send = send
        self._may_follow = may_follow
        self._status = ""
        self._headers: Sequence[tuple[str, str]] = ()
        self._length: int | None = None
        self._sent = 0
        self._has_body = self._is_chunked = self.has_begun = self.keeps_alive = False

    def start(
        self, status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take the head; it is sent with the first piece (PEP 3333's `start_response`)."""
        if exc_info and self.has_begun:
            raise exc_info[1]
        self._status, self._headers = status, headers
        return self.write

    def write(self, piece: bytes) -> None:
        """Send a piece of the body, or with an empty one the head alone.

        Raises ValueError beyond the length that the head named.
        """
        head = self._head()
        if not self._has_body:
            piece = b""
        self._sent += len(piece)
        if self._length is not None and self._sent > self._length:
            raise ValueError("the body is longer than its Content-Length")
        self._put(head + (b"%x\r\n%b\r\n" % (len(piece), piece) if piece and self._is_chunked else piece))

    def end(self) -> None:
        """Send what ends the answer."""
        head = self._head()
        self._put(head + b"0\r\n\r\n" if self._is_chunked else head)
        if self._has_body and self._length not in (None, self._sent):
            self.keeps_alive = False  # the client waits for more

    def _put(self, data: bytes) -> None:
        if data:
            self._send(data)

    def _head(self) -> bytes:
        """Lay the head out, once."""
        if self.has_begun:
            return b""
        self.has_begun = True
        bodiless = self._status.startswith(("204", "304"))
        lines = [f"HTTP/1.1 {self._status}\r\nDate: {_date(int(time.time()))}\r\n"]
        for name, value in self._headers:
            lower = name.lower()
            if lower == "content-length":
                self._length = int(value)
            if lower not in _OURS and not (bodiless and lower == "content-length"):
                lines.append(f"{name}: {value}\r\n")
        self._has_body = not (bodiless or self._request.is_head)
        self.keeps_alive = self._may_follow(self._request)
        lines.append(self._framing())
        return "".join(lines).encode("latin-1")

    def _framing(self) -> str:
        is_endless = self._has_body and self._length is None
        self._is_chunked = is_endless and not self._request.is_http10
        framing = "Transfer-Encoding: chunked\r\n" if self._is_chunked else ""
        return framing + ("\r\n" if self.keeps_alive else "Connection: close\r\n\r\n")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
