"""The usual answer, read by one expression: a head that came whole, and a body of announced length.

Everything else, and everything odd, is left to llhttp.
"""

import re
from dataclasses import dataclass

from gateway import headers as relayed

_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [^\r\n\x00]*")
_FIELD = re.compile(rb"\r\n([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00]*)")
_LENGTH = re.compile(rb"\d{1,15}")
_USUAL_CONNECTION = (b"keep-alive", b"close")
_LEFT_TO_THE_PARSER = frozenset({b"transfer-encoding", b"upgrade", b"trailer"})
DROPPED = frozenset(name.encode() for name in relayed.ANSWER_DROPPED)


MAX_KNOWN, MAX_KNOWN_BYTES = 1024, 4096


@dataclass(slots=True)
class Head:
    """An answer's head: what of it a client gets to see, how long its body is, where that begins."""

    status: int
    lines: bytes
    length_bytes: int
    keeps_alive: bool
    ends_at: int


class Heads:
    """The heads a service sent a moment ago: within a second many are the same, and are read once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes) -> Head | None:
        """Read the head that `data` begins with, or leave it."""
        head = data[: data.find(_END) + len(_END)]
        known = self._known.get(head)
        is_room = len(self._known) < MAX_KNOWN and len(head) < MAX_KNOWN_BYTES
        if known is None and (known := read(head)) and is_room:
            self._known[head] = known
        return known

    def forget(self) -> None:
        """Keep nothing of what services said for long."""
        self._known.clear()


def read(data: bytes) -> Head | None:
    """Read a whole head, or leave it."""
    ends_at = data.find(_END)
    began = _STATUS.match(data)
    if ends_at < 0 or began is None or data[9:12] in (b"204", b"304"):
        return None
    fields = _FIELD.findall(data, began.end(), ends_at)
    # Every byte must have been a field's: the blanks after the colons are all that is not counted.
    size = began.end() + sum(len(name) + len(value) + 3 for name, value in fields)
    length, keeps_alive = _framing(fields)
    if length < 0 or not size <= ends_at <= size + len(fields):
        return None
    lines = b"".join(b"%b: %b\r\n" % field for field in fields if field[0].lower() not in DROPPED)
    return Head(int(began[1]), lines, length, keeps_alive, ends_at + len(_END))


def _framing(fields: list[tuple[bytes, bytes]]) -> tuple[int, bool]:
    """How long the body is, -1 where llhttp must say, and whether the connection may be used again."""
    length, keeps_alive = -1, True
    for name, value in fields:
        lower = name.lower()
        if lower == b"content-length":
            if length >= 0 or not _LENGTH.fullmatch(value):
                return -1, False
            length = int(value)
        elif lower == b"connection":
            keeps_alive = value.lower() == b"keep-alive"
            if value.lower() not in _USUAL_CONNECTION:
                return -1, False
        elif lower in _LEFT_TO_THE_PARSER:
            return -1, False
    return length, keeps_alive
