"""The query of the list, read in the order of external-api.md §3: the first fault is the answer."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from werkzeug.datastructures import MultiDict

from common import pages
from common.problems import Problem, bad_request, not_found

PARAMETERS = ("partner", "sentToOds", "createdAfter", "schoolYear", "tenant", "bundle", "limit", "cursor")
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ISO_8601 = re.compile(
    r"(?P<year>[0-9]{4})(-(?P<month>[0-9]{2})(-(?P<day>[0-9]{2})"
    r"(?P<time>T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(?P<zone>Z|[+-][0-9]{2}:?[0-5][0-9])?)?)?)?"
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to list: sets published strictly `after` an instant; None leaves a filter out."""

    partner: str
    sent_to_ods: bool | None
    school_year: str | None
    tenant: str | None
    bundle: str | None
    after: datetime
    limit: int | None


def read_query(parameters: "MultiDict[str, str]", partners: Collection[str]) -> Query:
    """Read the query of a caller who may see `partners`; raises the Problem to answer with."""
    _require_single(parameters)
    partner = _partner(parameters.get("partner"), partners)
    sent_to_ods = _sent_to_ods(parameters.get("sentToOds"))
    created_after = _created_after(parameters.get("createdAfter"))
    school_year = _school_year(parameters.get("schoolYear"))
    return Query(
        partner=partner,
        sent_to_ods=sent_to_ods,
        school_year=school_year,
        tenant=_exact(parameters.get("tenant")),
        bundle=_exact(parameters.get("bundle")),
        after=max(created_after, _cursor(parameters.get("cursor"))),
        limit=None if "limit" not in parameters else pages.limit(parameters["limit"]),
    )


def cursor_after(instant: datetime) -> str:
    """Write the cursor that goes on after an item published at `instant`."""
    return pages.encode([(instant - EPOCH) // _MILLISECOND])


def unknown_year(year: str) -> Problem:
    return _faulty("schoolYear", f"Unknown school year: {year}")


def _faulty(parameter: str, message: str) -> Problem:
    return bad_request(message, "invalid-query", details={parameter: [message]})


def _require_single(parameters: "MultiDict[str, str]") -> None:
    for name in PARAMETERS:
        if len(parameters.getlist(name)) > 1:
            raise _faulty(name, f"{name} must be given once")


def _partner(text: str | None, partners: Collection[str]) -> str:
    if not text:
        raise _faulty("partner", "partner query parameter is required")
    if text not in partners:
        raise not_found(f"Partner not found: {text}", "partner-not-found")
    return text


def _sent_to_ods(text: str | None) -> bool | None:
    if text not in (None, "true", "false"):
        raise _faulty("sentToOds", 'sentToOds must be "true" or "false"')
    return None if text is None else text == "true"


def _created_after(text: str | None) -> datetime:
    if text is None:
        return EARLIEST
    try:
        return parse_iso_8601(text)
    except ValueError:
        raise _faulty("createdAfter", "createdAfter must be a valid ISO 8601 timestamp") from None


def parse_iso_8601(text: str) -> datetime:
    """Read a date (year, month or day) or a day with a time; no zone means UTC. Raises ValueError.

    An instant whose UTC year is not one of 1 to 9999 is the edge of that range: nothing lies beyond it.
    """
    match = _ISO_8601.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day = f"{match['year']}-{match['month'] or '01'}-{match['day'] or '01'}"
    local = datetime.fromisoformat(day + (match["time"] or ""))
    try:
        return local.astimezone(UTC) if match["zone"] else local.replace(tzinfo=UTC)
    except OverflowError:
        return EARLIEST if local.year == 1 else LATEST


def _school_year(text: str | None) -> str | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{4}", text):
        raise _faulty("schoolYear", 'schoolYear must be a 4-digit end year, e.g. "2026"')
    return text


def _exact(text: str | None) -> str | None:
    # PostgreSQL's text holds no NUL, so a value with one is a value that nothing has.
    return text.replace("\0", "\ufffd") if text else None


def _cursor(text: str | None) -> datetime:
    if text is None:
        return EARLIEST
    [position] = pages.decode(text, 1)
    try:
        return EPOCH + int(position) * _MILLISECOND
    except (TypeError, ValueError, OverflowError):
        raise _faulty("cursor", "cursor is not one of ours") from None
