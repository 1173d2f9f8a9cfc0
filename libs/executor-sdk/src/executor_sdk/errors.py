"""Everything that is raised here.

Exception
 ├── SettingsFaulty      the environment lacks something
 ├── Refused             the server says that a request itself is wrong
 └── RunFailed           raised by a handler: the run cannot succeed
      ├── Retryable      it may succeed later
      └── InvalidInput   its input is wrong

BaseException            so that a handler's `except Exception` lets them pass
 └── Interrupted         stop working
      ├── Cancelled      cancelling was asked for
      ├── ShuttingDown   this process is told to end; the run is given back
      ├── LeaseLost      the run is not ours any more
      └── Suspended      the run waits; it is claimed again when what it waits for is there
"""

from dataclasses import dataclass

RATE_LIMITED, SERVER, TIMEOUT, CONNECTION = "rate_limited", "server", "timeout", "connection"
TRANSIENT, UNKNOWN = "transient", "unknown"
CLIENT, AUTH, BUDGET, OOM, INVALID_INPUT = "client", "auth", "budget", "oom", "invalid_input"
RETRYABLE = frozenset({RATE_LIMITED, SERVER, TIMEOUT, CONNECTION, TRANSIENT, UNKNOWN})  # executor-api.md §1

BUDGET_SPENT = "budget-spent"  # the one 429 that does not pass
OUTAGES = frozenset({429, 500, 502, 503, 504})  # these pass


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What the run's owner is told: a sentence to act on, and a class the server retries by."""

    sentence: str
    error_class: str
    code: str = ""

    @property
    def retryable(self) -> bool:
        return self.error_class in RETRYABLE


class SettingsFaulty(Exception):
    """The environment lacks a setting, or has an unusable one."""


class Refused(Exception):
    """The API answered that the request itself is wrong, or kept failing for too long."""

    def __init__(self, status: int, detail: str, problem: str = "") -> None:
        self.status = status
        self.detail = detail
        self.problem = problem
        super().__init__(f"{status} {detail}")

    @property
    def is_outage(self) -> bool:
        """Tell a server that did not answer, or could not now, from one that does not accept the request."""
        return (not self.status or self.status in OUTAGES) and self.problem != BUDGET_SPENT


class RunFailed(Exception):
    """The run cannot succeed; the sentence is for its owner. `error_class` decides whether it is retried."""

    error_class = CLIENT

    def __init__(self, sentence: str, *, error_class: str = "", code: str = "") -> None:
        self.failure = Failure(sentence=sentence, error_class=error_class or self.error_class, code=code)
        super().__init__(f"{code}: {sentence}" if code else sentence)


class Retryable(RunFailed):
    """This attempt failed, the next may not."""

    error_class = TRANSIENT


class InvalidInput(RunFailed):
    """The input is wrong: its owner has to mend it."""

    error_class = INVALID_INPUT


class Interrupted(BaseException):
    """Stop working: clean up and let this pass."""


class Cancelled(Interrupted):
    """Cancelling the run was asked for."""


class ShuttingDown(Interrupted):
    """This process is told to end."""


class LeaseLost(Interrupted):
    """The run is no longer ours: drop the work and say nothing more about it."""


class Suspended(Interrupted):
    """The run waits and holds no executor; the handler runs again from its start when it goes on."""
