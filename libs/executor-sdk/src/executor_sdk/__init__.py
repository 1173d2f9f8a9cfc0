"""Write an executor: a program that takes turns, does the work of runs, and reports."""

from executor_sdk.errors import (
    Cancelled,
    Failure,
    Interrupted,
    InvalidInput,
    LeaseLost,
    Refused,
    Retryable,
    RunFailed,
    SettingsFaulty,
    ShuttingDown,
    Suspended,
)
from executor_sdk.executor import Executor
from executor_sdk.line import Turn
from executor_sdk.run import Run

__all__ = [
    "Cancelled",
    "Executor",
    "Failure",
    "Interrupted",
    "InvalidInput",
    "LeaseLost",
    "Refused",
    "Retryable",
    "Run",
    "RunFailed",
    "SettingsFaulty",
    "ShuttingDown",
    "Suspended",
    "Turn",
]
