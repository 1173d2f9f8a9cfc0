"""The fence round every write of an executor: its lease must be the current one and the run under way.

RunRefused
 ├── RunNotFound
 ├── RunIsFinal          it is over, whoever asks
 ├── LeaseIsStale        another lease is current
 ├── RunIsNotExecuting   the lease is current, the run in line again or not yet claimed
 ├── CancelRequested     somebody asked it to stop: it begins nothing more
 └── ClaimRefused        somebody else has the claim, or the turn was taken back
"""

from uuid import UUID

from sqlalchemy import Connection

from jobs.engine.line import find
from jobs.engine.states import LEASED
from jobs.engine.tables import Run

GUARD = "run.id = :id AND run.lease = :lease AND run.status IN ('executing', 'waiting')"


class RunRefused(Exception):
    """An executor's call is refused; nothing was written."""

    def __init__(self, run_id: UUID, sentence: str) -> None:
        super().__init__(sentence)
        self.run_id = run_id


class RunNotFound(RunRefused):
    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, f"Run not found: {run_id}")


class RunIsFinal(RunRefused):
    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, "run has reached a terminal state")


class LeaseIsStale(RunRefused):
    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, "run token is stale")


class RunIsNotExecuting(RunRefused):
    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, "run is not executing")


class CancelRequested(RunRefused):
    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, "somebody asked this run to stop")


class ClaimRefused(RunRefused):
    pass


def refusal(connection: Connection, run_id: UUID, lease: int) -> RunRefused:
    """Say why a guarded write found no row."""
    fault = _fault(find(connection, run_id), run_id, lease)
    # Without a fault the row came back within reach meanwhile: the executor repeats its call.
    return fault or RunIsNotExecuting(run_id)


def check(run: Run | None, run_id: UUID, lease: int) -> Run:
    """Return the run if `lease` may write to it now; raises RunRefused."""
    fault = _fault(run, run_id, lease)
    if run is None or fault is not None:
        raise fault or RunNotFound(run_id)
    return run


def _fault(run: Run | None, run_id: UUID, lease: int) -> RunRefused | None:
    # The order is that of executor-api.md §1.
    if run is None:
        return RunNotFound(run_id)
    if run.is_final:
        return RunIsFinal(run_id)
    if run.lease != lease:
        return LeaseIsStale(run_id)
    return None if run.status in LEASED else RunIsNotExecuting(run_id)
