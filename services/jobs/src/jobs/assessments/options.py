"""Read the body of POST /jobs/{uid}/start: its shape only, every fault at once."""

from dataclasses import dataclass
from typing import Any

from jobs.assessments.shape import ShapeFaults, is_storable

CALLER = "caller"
MAX_TAGS = 20
MAX_TAG_LENGTH = 64
MAX_KEY_LENGTH = 256
MAX_LIMIT = 1000
FAULTS = {
    "executor": f'executor must be "{CALLER}"',
    "tags": f"tags must be at most {MAX_TAGS} strings of 1 to {MAX_TAG_LENGTH} characters",
    "priority": "priority must be a whole number from 0 to 10",
    "concurrencyKey": f"concurrencyKey must be a string of 1 to {MAX_KEY_LENGTH} characters",
    "concurrencyLimit": f"concurrencyLimit must be a whole number from 1 to {MAX_LIMIT}",
}


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a run is to be carried out. At most `concurrency_limit` runs of a key are at work at a time."""

    caller: bool = False
    tags: tuple[str, ...] = ()
    priority: int = 5
    concurrency_key: str | None = None
    concurrency_limit: int = 1


def read_start(body: object) -> StartOptions:
    """Turn a JSON value into StartOptions, or raise ShapeFaults; nulls and unknown keys are ignored."""
    given = {key: body[key] for key in FAULTS if body.get(key) is not None} if isinstance(body, dict) else {}
    details = {key: [FAULTS[key]] for key, value in given.items() if not _fits(key, value)}
    if details:
        raise ShapeFaults(details)
    usual = StartOptions()
    return StartOptions(
        caller="executor" in given,
        tags=tuple(given.get("tags", ())),
        priority=given.get("priority", usual.priority),
        concurrency_key=given.get("concurrencyKey"),
        concurrency_limit=given.get("concurrencyLimit", usual.concurrency_limit),
    )


def _fits(key: str, value: Any) -> bool:
    if key == "executor":
        return bool(value == CALLER)
    if key == "tags":
        return (
            isinstance(value, list)
            and len(value) <= MAX_TAGS
            and all(_is_text(tag, MAX_TAG_LENGTH) for tag in value)
        )
    if key == "concurrencyKey":
        return _is_text(value, MAX_KEY_LENGTH)
    lowest, highest = (0, 10) if key == "priority" else (1, MAX_LIMIT)
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest and is_storable(value)
