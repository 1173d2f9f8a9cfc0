"""Identifiers: UUIDv7 where rows are kept in order of time, UUIDv4 where nothing may be guessed from them."""

import os
import re
import time
import uuid

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def new_uid() -> uuid.UUID:
    """Make a random identifier (RFC 9562 §5.4)."""
    return uuid.uuid4()


def new_ordered_id() -> uuid.UUID:
    """Make an identifier that sorts by the millisecond it was made in (RFC 9562 §5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF000 << 64) | 0x7000 << 64  # version 7
    value = value & ~(0xC000 << 48) | 0x8000 << 48  # variant 10
    return uuid.UUID(int=value)


def request_id(offered: str | None) -> str:
    """Keep a caller's request id when it is harmless in a log line, else make one."""
    if offered and _REQUEST_ID.fullmatch(offered):
        return offered
    return os.urandom(16).hex()


def parse_uuid(text: str) -> uuid.UUID | None:
    """Read a UUID in its canonical form (8-4-4-4-12); any other spelling is none."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
