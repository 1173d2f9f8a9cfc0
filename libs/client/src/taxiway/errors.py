"""What can go wrong, all of it under one class.

TaxiwayError
├── Unreachable        nobody answers, after all retries
│   └── NotUnderstood  what answers does not speak this API
├── Refused            the server says no, with a problem (RFC 9457)
│   ├── TokenRefused   the issuer gives no token
│   └── StorageRefused object storage takes or gives no file
└── OutOfTime          the job had not ended when the caller's time was up
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error answer. `details` maps a faulty field to its messages."""

    status: int
    detail: str
    type: str = ""
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)
    request_id: str = ""


class TaxiwayError(Exception):
    """Anything this package raises; its text is a sentence for a person."""


class Unreachable(TaxiwayError):
    """Nobody answers at an address."""


class NotUnderstood(Unreachable):
    """An answer is not what this API answers: another server, or a much newer one."""


class Refused(TaxiwayError):
    """The server refuses; `problem` says what and why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class TokenRefused(Refused):
    """The issuer gives no token for these credentials."""


class StorageRefused(Refused):
    """Object storage refuses an upload or a download."""


class OutOfTime(TaxiwayError):
    """The job had not ended when the caller's time was up; it goes on. `status` is where it was."""

    def __init__(self, uid: str, status: str, seconds: float) -> None:
        self.uid = uid
        self.status = status
        super().__init__(f"The job has not ended within {seconds:.0f} s, it is {status}: {uid}")
