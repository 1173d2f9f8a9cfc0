"""Read query parameters; an unknown one is ignored, a repeated one is a 400."""

import re
from datetime import UTC, datetime

from flask import request

from common.api import current_principal
from common.problems import Problem, bad_request, not_found

_INSTANT = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?)?)?",
    re.ASCII,
)


def one(name: str) -> str:
    """Read a parameter that may be left out or empty."""
    values = request.args.getlist(name)
    if len(values) > 1:
        raise faulty(name, f"{name} must be given once")
    value = values[0] if values else ""
    if "\x00" in value:
        raise faulty(name, f"{name} must not hold NUL characters")
    return value


def partner() -> str:
    """Read the partner asked about, which must be in the caller's scope."""
    code = one("partner")
    if not code:
        raise faulty("partner", "partner query parameter is required")
    return visible_partner(code)


def visible_partner(code: str) -> str:
    """Pass a partner's code on when the caller may see it, or raise 404."""
    if code not in current_principal().partners:
        raise not_found(f"Partner not found: {code}", "partner-not-found")
    return code


def instant(name: str) -> datetime | None:
    """Read an ISO 8601 date or timestamp; without a zone it is UTC. An empty one is a 400."""
    if name not in request.args:
        return None
    found = _INSTANT.fullmatch(one(name))
    try:
        return _instant(found) if found else _refuse_instant(name)
    except (ValueError, OverflowError):
        return _refuse_instant(name)


def _instant(found: re.Match[str]) -> datetime:
    year, month, day, minutes, seconds, fraction, zone = found.groups()
    clock = f"{minutes or '00:00'}:{seconds or '00'}.{(fraction or '0')[:6].ljust(6, '0')}"
    return datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}T{clock}{zone or 'Z'}").astimezone(
        UTC
    )


def _refuse_instant(name: str) -> datetime:
    raise faulty(name, f"{name} must be a valid ISO 8601 timestamp")


def faulty(name: str, message: str) -> Problem:
    """Say what is wrong with a parameter."""
    return bad_request(message, "invalid-query", details={name: [message]})
