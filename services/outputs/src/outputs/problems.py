"""What each of the service's errors answers: the one table."""

from common.api import ErrorTable
from common.problems import Problem, bad_request, conflict, gone, not_found
from outputs.publication import OutcomeDiffers
from outputs.sets import FilesNotAsDeclared, LimitsExceeded, RunHasEnded, SetExists, SetNotFound


def _limits_exceeded(error: LimitsExceeded) -> Problem:
    sentence = "; ".join(f"{field}: {message}" for field, [message, *_] in error.details.items())
    return bad_request(sentence, "output-set-limits", details=error.details)


def _not_as_declared(error: FilesNotAsDeclared) -> Problem:
    return bad_request(str(error), "files-not-as-declared", details=error.details)


PROBLEMS: ErrorTable = {
    LimitsExceeded: _limits_exceeded,
    FilesNotAsDeclared: _not_as_declared,
    SetNotFound: lambda _: not_found("Output file set not found", "output-set-not-found"),
    SetExists: lambda error: conflict(
        f"This lease has an output set named {error} with other content", "output-set-exists"
    ),
    RunHasEnded: lambda _: gone("run has reached a terminal state", "run-has-ended"),
    OutcomeDiffers: lambda error: conflict(f"The run has an outcome already: {error}", "outcome-differs"),
}
