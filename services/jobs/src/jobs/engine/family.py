"""What reaches a run from outside its executor: so far, the wish to cancel it."""

from uuid import UUID

from sqlalchemy import Connection, text

from jobs.engine import moves
from jobs.engine.fence import RunNotFound
from jobs.engine.moves import Step
from jobs.engine.states import Status
from jobs.engine.tables import RUN_COLUMNS, Run, run_of

_LOCK = text(f"SELECT {RUN_COLUMNS} FROM run WHERE id = :id FOR UPDATE")  # noqa: S608 (a constant)
_CANCEL = Step(
    target=Status.CANCELED,
    where="id = :id",
    by="cancel",
    origins=frozenset({Status.DELAYED, Status.QUEUED, Status.DEQUEUED, Status.WAITING}),
)
_REQUEST = text(f"""
    WITH asked AS (
        UPDATE run SET cancel_requested_at = now(), event_seq = run.event_seq + 1
        WHERE id = :id AND cancel_requested_at IS NULL
        RETURNING {RUN_COLUMNS}
    ), noted AS (
        INSERT INTO run_event (run_id, seq, type, level) SELECT id, event_seq, 'cancel', 'warning' FROM asked
    )
    SELECT * FROM asked
""")  # noqa: S608


def request_cancel(connection: Connection, run_id: UUID) -> Run:
    """Cancel a run at once, or ask its executor to stop; return it as it is then. Nudge after the commit.

    A run that is over is returned unchanged: look at its status. Raises RunNotFound.
    """
    row = connection.execute(_LOCK, {"id": run_id}).mappings().one_or_none()
    if row is None:
        raise RunNotFound(run_id)
    run = run_of(row)
    if run.status in _CANCEL.sources:
        return moves.end(connection, _CANCEL, {"id": run_id})[0]
    if run.status is Status.EXECUTING and run.cancel_requested_at is None:
        return run_of(connection.execute(_REQUEST, {"id": run_id}).mappings().one())
    return run
