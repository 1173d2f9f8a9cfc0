"""Stable pages: a cursor is the position after which to go on, opaque to clients."""

import base64
import json
import re
from typing import Any

from common.problems import bad_request

MAX_LIMIT = 1000


def encode(position: list[Any]) -> str:
    """Write a position (numbers and texts) as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[Any]:
    """Read a cursor back; one that we did not write is a 400."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        position = None
    if not isinstance(position, list) or len(position) != length:
        raise bad_request("cursor is not one of ours", details={"cursor": ["take it from an earlier answer"]})
    return position


def limit(text: str | None, default: int = 100) -> int:
    """Read a page size from 1 to MAX_LIMIT; anything else is a 400."""
    if text is None:
        return default
    # Not more than 18 digits: Python refuses to read thousands of them.
    if not (re.fullmatch("[0-9]{1,18}", text) and 1 <= int(text) <= MAX_LIMIT):
        message = f"limit must be a whole number from 1 to {MAX_LIMIT}"
        raise bad_request(message, details={"limit": [message]})
    return int(text)
