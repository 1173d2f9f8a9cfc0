"""What the server is told of an error that leaves a handler. Pure."""

import urllib3

from executor_sdk.errors import (
    BUDGET,
    BUDGET_SPENT,
    CLIENT,
    CONNECTION,
    OOM,
    SERVER,
    TIMEOUT,
    TRANSIENT,
    UNKNOWN,
    Cancelled,
    Failure,
    Interrupted,
    Refused,
    RunFailed,
)

INTERNAL = "internal"
CANCELED = Failure(code="canceled", sentence="canceled by request", error_class=CLIENT)
SHUTTING_DOWN = Failure(code="shutting_down", sentence="executor is shutting down", error_class=TRANSIENT)
_KNOWN: tuple[tuple[type[Exception], Failure], ...] = (
    (MemoryError, Failure(code="out_of_memory", sentence="The run needs more memory.", error_class=OOM)),
    (TimeoutError, Failure(code="timed_out", sentence="Something took too long.", error_class=TIMEOUT)),
    (
        ConnectionError,
        Failure(code="unreachable", sentence="A connection broke.", error_class=CONNECTION),
    ),
    (
        urllib3.exceptions.HTTPError,
        Failure(code="unreachable", sentence="A server could not be reached.", error_class=CONNECTION),
    ),
)


def of_interruption(error: Interrupted) -> Failure:
    """Say why a run was left: cancelled, or given back by a process that ends."""
    return CANCELED if isinstance(error, Cancelled) else SHUTTING_DOWN


def of_error(error: Exception) -> Failure:
    """Make a sentence and a class of whatever a handler raised; never a stack trace."""
    if isinstance(error, RunFailed):
        return error.failure
    if isinstance(error, Refused):
        return _of_refusal(error)
    for kind, failure in _KNOWN:
        if isinstance(error, kind):
            return failure
    sentence = f"The executor failed in a way it does not know ({type(error).__name__})."
    return Failure(code=INTERNAL, sentence=f"{sentence} The run will be tried again.", error_class=UNKNOWN)


def _of_refusal(error: Refused) -> Failure:
    if error.is_outage:
        sentence = f"The server did not answer the executor's report in time: {error.detail or error.status}"
        return Failure(code="api_away", sentence=sentence, error_class=SERVER)
    sentence = f"The server refused the executor's report: {error.detail or error.status}"
    error_class = BUDGET if error.problem == BUDGET_SPENT else CLIENT
    return Failure(code="api_refused", sentence=sentence, error_class=error_class)
