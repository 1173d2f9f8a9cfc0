"""The states of a run and the moves between them: the one table every statement takes its sources from."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Where a run is. The words are the contract's."""

    DELAYED = "delayed"  # not before its due time
    QUEUED = "queued"  # in line, a retry too
    DEQUEUED = "dequeued"  # was given a turn, nobody has claimed it
    EXECUTING = "executing"  # an executor holds its lease
    WAITING = "waiting"  # for an event or a child
    COMPLETED = "completed"  # the executor's own word
    FAILED = "failed"  # the executor's own word
    TIMED_OUT = "timed_out"  # an attempt or a wait ran past its time
    CRASHED = "crashed"  # heartbeats stopped and attempts are spent
    DEAD_LETTER = "dead_letter"  # retryable failures spent all attempts
    SYSTEM_FAILED = "system_failed"  # our fault
    CANCELED = "canceled"  # somebody asked for it
    EXPIRED = "expired"  # its time in line ran out


S = Status

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    S.DELAYED: frozenset({S.QUEUED, S.CANCELED, S.EXPIRED}),
    S.QUEUED: frozenset({S.DEQUEUED, S.CANCELED, S.EXPIRED}),
    S.DEQUEUED: frozenset({S.EXECUTING, S.QUEUED, S.CANCELED, S.SYSTEM_FAILED}),
    S.EXECUTING: frozenset(
        {
            S.COMPLETED,
            S.FAILED,
            S.TIMED_OUT,
            S.CRASHED,
            S.CANCELED,
            S.WAITING,
            S.QUEUED,
            S.DEAD_LETTER,
            S.SYSTEM_FAILED,
        }
    ),
    S.WAITING: frozenset({S.QUEUED, S.EXECUTING, S.COMPLETED, S.FAILED, S.CANCELED, S.TIMED_OUT}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.TIMED_OUT: frozenset(),
    S.CRASHED: frozenset(),
    S.DEAD_LETTER: frozenset(),
    S.SYSTEM_FAILED: frozenset(),
    S.CANCELED: frozenset(),
    S.EXPIRED: frozenset(),
}

FINAL = frozenset(status for status, targets in TRANSITIONS.items() if not targets)
LIVE = frozenset(TRANSITIONS) - FINAL
LEASED = frozenset({S.EXECUTING, S.WAITING})  # an executor may write


class IllegalMove(ValueError):
    """A move the table does not know."""


def sources(target: Status) -> frozenset[Status]:
    """Name the states from which a run may come to `target`."""
    return frozenset(status for status, targets in TRANSITIONS.items() if target in targets)


def check(origin: frozenset[Status], target: Status) -> None:
    """Raise IllegalMove unless every one of `origin` may lead to `target`."""
    if not origin or not origin <= sources(target):
        raise IllegalMove(f"{sorted(origin - sources(target))} -> {target}")
