"""The External API's word for where a job is: a mapping of its runs' states (design.md §8). Pure."""

from collections.abc import Sequence

from jobs.engine.states import LIVE, Status
from jobs.engine.tables import Run

CREATED, PUBLISHING, FAILED = "created", "publishing", "failed"
_WORDS = {
    Status.DELAYED: "queued",
    Status.QUEUED: "queued",
    Status.DEQUEUED: "queued",
    Status.EXECUTING: "running",
    Status.WAITING: "waiting",
    Status.COMPLETED: "completed",
    Status.CANCELED: "canceled",
}
WORDS = (CREATED, "queued", "running", "waiting", PUBLISHING, "completed", FAILED, "canceled")


def current_run(runs: Sequence[Run]) -> Run | None:
    """Pick the run that speaks for a job: the live one, else the newest. `runs` are oldest first."""
    live = [run for run in runs if run.status in LIVE]
    candidates = live or runs
    return candidates[-1] if candidates else None


def job_status(runs: Sequence[Run]) -> str:
    """Say where a job is; `completed` only when its output sets are listed."""
    run = current_run(runs)
    if run is None:
        return CREATED
    if run.status is Status.COMPLETED and run.output_sets is None:
        return PUBLISHING
    return _WORDS.get(run.status, FAILED)


def stored_words(word: str) -> list[str]:
    """Name the engine's states that a word stands for; `created` and `publishing` stand for themselves."""
    if word in (CREATED, PUBLISHING):
        return [word]
    return [status.value for status in Status if _WORDS.get(status, FAILED) == word]
