"""What time does to runs: woken, expired, taken from silent executors, timed out, canceled by force.

Every sweep is set-based, skips rows somebody else is writing, and takes at most BATCH runs: the next tick
takes the rest. Nudge after the commit.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from jobs.engine import moves, retry
from jobs.engine.moves import Step
from jobs.engine.states import LEASED, Status
from jobs.engine.tables import RUN_COLUMNS, Run, runs_of_rows

BATCH = 500

_WAKE = Step(
    target=Status.QUEUED,
    where="""id IN (SELECT id FROM run WHERE status = 'delayed' AND due_at <= now()
                    ORDER BY due_at LIMIT :batch)""",
    by="time",
    origins=frozenset({Status.DELAYED}),
    skips_locked=True,
    changes="queued_at = now(), expires_at = now() + make_interval(secs => run.line_seconds)",
)
_EXPIRE = Step(
    target=Status.EXPIRED,
    where="""id IN (SELECT id FROM run WHERE status IN ('delayed', 'queued') AND expires_at <= now()
                    ORDER BY expires_at LIMIT :batch)""",
    by="line",
    skips_locked=True,
    level="error",
    changes="error = 'Its time in line ran out'",
)
_TIME_OUT = Step(
    target=Status.TIMED_OUT,
    where="""id IN (SELECT id FROM run WHERE status = 'executing'
                    AND deadline_at <= now() - make_interval(secs => :grace) LIMIT :batch)""",
    by="time",
    origins=frozenset({Status.EXECUTING}),
    skips_locked=True,
    level="error",
    changes="error_class = 'timeout',"
    " error = format('The attempt ran past its %s seconds', run.timeout_seconds)",
)
_TIME_OUT_AWAIT = Step(
    target=Status.TIMED_OUT,
    where="""id IN (SELECT id FROM run WHERE await_expires_at <= now()
                    ORDER BY await_expires_at LIMIT :batch)""",
    by="await",
    origins=frozenset({Status.WAITING}),
    skips_locked=True,
    level="error",
    changes="error_class = 'timeout', error = format('Its child %s did not end in time', run.awaits_run_id)",
)
_CANCEL_BY_FORCE = Step(
    target=Status.CANCELED,
    where="""id IN (SELECT id FROM run WHERE status IN ('executing', 'waiting')
                    AND cancel_requested_at <= now() - make_interval(secs => :grace) LIMIT :batch)""",
    by="cancel",
    origins=LEASED,
    skips_locked=True,
)

_OVERDUE = text("""
    SELECT run.id FROM run JOIN wait ON wait.run_id = run.id
    WHERE run.status = 'waiting' AND wait.expires_at <= now()
    ORDER BY wait.expires_at LIMIT :batch
    FOR UPDATE OF run SKIP LOCKED
""")
# Asked again once the rows are locked: a caller's run may have waited anew meanwhile.
_END_WAIT = Step(
    target=Status.TIMED_OUT,
    where="""id = ANY(:ids) AND EXISTS (
        SELECT FROM wait WHERE wait.run_id = run.id AND wait.expires_at <= now())""",
    by="wait",
    origins=frozenset({Status.WAITING}),
    level="error",
    changes="error_class = 'timeout', error = 'The event did not come in time'",
)

_SILENT = text(f"""
    SELECT {RUN_COLUMNS} FROM run
    WHERE status = 'executing' AND heartbeat_at <= now() - make_interval(secs => :silence)
    ORDER BY heartbeat_at LIMIT :batch
    FOR UPDATE SKIP LOCKED
""")  # noqa: S608 (a constant list of columns)
_LOST = "error = 'The executor stopped answering', error_class = 'lost', error_code = NULL"
_EXECUTING = frozenset({Status.EXECUTING})
_THESE = "id = ANY(:ids)"
_DELAY = "(CAST(:delays AS float8[]))[array_position(:ids, run.id)]"
_REQUEUE = Step(
    target=Status.QUEUED,
    where=_THESE,
    by="silence",
    origins=_EXECUTING,
    level="warning",
    changes=f"{_LOST}, attempt = run.attempt + 1, claim_id = NULL, deadline_at = NULL, queued_at = now(),"
    f" due_at = now() + make_interval(secs => {_DELAY}),"
    f" expires_at = now() + make_interval(secs => {_DELAY} + run.line_seconds)",
)
_CRASH = Step(
    target=Status.CRASHED,
    where=_THESE,
    by="silence",
    origins=_EXECUTING,
    skips_locked=True,
    changes=_LOST,
    level="error",
)
_CANCEL_SILENT = Step(
    target=Status.CANCELED, where=_THESE, by="cancel", origins=_EXECUTING, skips_locked=True
)


def wake(connection: Connection) -> list[Run]:
    """Put delayed runs in line when their time has come."""
    return moves.move(connection, _WAKE, {"batch": BATCH})


def expire(connection: Connection) -> list[Run]:
    """End runs that stood in line for too long."""
    return moves.end(connection, _EXPIRE, {"batch": BATCH})


def time_out(connection: Connection, grace_seconds: float) -> list[Run]:
    """End attempts that ran past their time; the executor itself stops at that time, hence the grace."""
    return moves.end(connection, _TIME_OUT, {"batch": BATCH, "grace": grace_seconds})


def end_waits(connection: Connection) -> list[Run]:
    """End runs whose event did not come in the time they waited for it."""
    overdue = list(connection.execute(_OVERDUE, {"batch": BATCH}).scalars())
    return moves.end(connection, _END_WAIT, {"ids": overdue}) if overdue else []


def time_out_awaits(connection: Connection) -> list[Run]:
    """End parents whose child did not end in the time they were ready to wait; the child lives on."""
    return moves.end(connection, _TIME_OUT_AWAIT, {"batch": BATCH})


def cancel_by_force(connection: Connection, grace_seconds: float) -> list[Run]:
    """End runs whose executor did not obey a request to cancel in time."""
    return moves.end(connection, _CANCEL_BY_FORCE, {"batch": BATCH, "grace": grace_seconds})


def reap(connection: Connection, silence_seconds: float) -> list[Run]:
    """Take runs from executors that were silent for too long: back in line, or over when attempts are spent.

    Call it only when the dispatcher itself saw the whole silence: after an outage everybody was silent.
    """
    rows = connection.execute(_SILENT, {"silence": silence_seconds, "batch": BATCH})
    silent = runs_of_rows(rows.mappings().all())
    unwanted = [run for run in silent if run.cancel_requested_at is not None]
    wanted = [run for run in silent if run.cancel_requested_at is None]
    return [
        *_end(connection, _CANCEL_SILENT, unwanted),
        *_end(connection, _CRASH, [run for run in wanted if run.attempt >= run.max_attempts]),
        *_requeue(connection, [run for run in wanted if run.attempt < run.max_attempts]),
    ]


def _end(connection: Connection, step: Step, runs: Sequence[Run]) -> list[Run]:
    return moves.end(connection, step, {"ids": [run.id for run in runs]}) if runs else []


def _requeue(connection: Connection, runs: Sequence[Run]) -> list[Run]:
    if not runs:
        return []
    values: dict[str, Any] = {
        "ids": [run.id for run in runs],
        "delays": [retry.delay_seconds(retry.backoff_of(run.retry), run.attempt) for run in runs],
    }
    return moves.move(connection, _REQUEUE, values)
