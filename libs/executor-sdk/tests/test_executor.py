"""A run from its turn to its end: which handler does it, and what the server is told of how it went."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from executor_sdk import (
    Cancelled,
    Executor,
    InvalidInput,
    Retryable,
    Run,
    RunFailed,
    SettingsFaulty,
    ShuttingDown,
)
from executor_sdk.testing import Platform

Work = Callable[[Run], Any]


def taken(executor: Executor, platform: Platform, work: Work) -> str:
    executor.handles("*")(work)
    return executor.take(platform.turn)


def failing(error: BaseException) -> Work:
    def work(_run: Run) -> None:
        raise error

    return work


def test_what_a_handler_returns_completes_the_run(executor: Executor, platform: Platform) -> None:
    assert taken(executor, platform, lambda run: {"attempt": run.attempt}) == "completed"
    assert platform.bodies("complete") == [{"result": {"attempt": 1}, "output_sets": []}]
    assert platform.bodies("claim")[0]["executor"] == "me"


def test_a_result_that_is_no_json_fails_the_run(executor: Executor, platform: Platform) -> None:
    assert taken(executor, platform, lambda _run: {1, 2}) == "bad_result"
    assert platform.bodies("complete") == []


def test_the_first_handler_whose_pattern_fits_the_bundle_does_the_run(
    executor: Executor, platform: Platform
) -> None:
    executor.handles("assessments/Y")(lambda _run: "another")
    executor.handles("assessments/*")(lambda run: run.bundle)
    executor.handles("*")(lambda _run: "everything")
    executor.take(platform.turn)
    assert platform.bodies("complete")[0]["result"] == "assessments/X"


def test_a_bundle_without_a_handler_fails_and_is_named(executor: Executor, platform: Platform) -> None:
    executor.handles("assessments/Y")(lambda _run: None)
    assert executor.take(platform.turn) == "no_handler"
    [failure] = platform.bodies("fail")
    assert failure["error"] == "This executor has no handler for the bundle assessments/X."
    assert failure["retryable"] is False


@pytest.mark.parametrize(
    ("error", "error_class", "retryable"),
    [
        (Retryable("The ODS is away."), "transient", True),
        (InvalidInput("Row 3 has no date."), "invalid_input", False),
        (RunFailed("No."), "client", False),
        (RunFailed("Spent.", error_class="budget"), "budget", False),
        (RunFailed("Slowly.", error_class="rate_limited"), "rate_limited", True),
        (MemoryError(), "oom", False),
        (TimeoutError(), "timeout", True),
        (ConnectionResetError(), "connection", True),
        (KeyError("secret"), "unknown", True),
    ],
)
def test_the_kind_of_an_error_decides_its_class(
    executor: Executor, platform: Platform, error: Exception, error_class: str, retryable: bool
) -> None:
    taken(executor, platform, failing(error))
    [failure] = platform.bodies("fail")
    assert (failure["error_class"], failure["retryable"]) == (error_class, retryable)


def test_an_unexpected_error_is_told_as_a_sentence(executor: Executor, platform: Platform) -> None:
    assert taken(executor, platform, failing(KeyError("a password"))) == "internal"
    [failure] = platform.bodies("fail")
    assert "KeyError" in failure["error"]
    assert "password" not in failure["error"]
    assert "Traceback" not in str(platform.calls)


def test_cancelling_reaches_a_handler_whatever_it_catches(executor: Executor, platform: Platform) -> None:
    platform.heartbeat_interval, platform.cancel_requested = 0.1, True
    cleaned: list[str] = []

    def work(run: Run) -> None:
        while True:
            try:
                run.check_cancelled()
            except Exception:
                raise AssertionError("a cancellation is no Exception") from None
            except Cancelled:
                cleaned.append("up")
                raise

    assert taken(executor, platform, work) == "canceled"
    assert cleaned == ["up"]
    assert platform.bodies("fail")[0]["error"] == "canceled by request"


def test_a_server_that_says_cancelled_cancels(executor: Executor, platform: Platform) -> None:
    problem = b'{"type": "/problems/cancel-requested", "detail": "asked to stop"}'
    platform.faults = {"spawn": [(409, {}, problem)]}
    assert taken(executor, platform, lambda run: run.spawn(bundle="X")) == "canceled"


def test_a_result_wins_over_a_cancellation_nobody_asked_about(executor: Executor, platform: Platform) -> None:
    platform.cancel_requested = True
    assert taken(executor, platform, lambda _run: 1) == "completed"


def test_a_process_that_ends_gives_its_run_back(executor: Executor, platform: Platform) -> None:
    def work(run: Run) -> None:
        executor.stopping.set()
        with pytest.raises(ShuttingDown):
            run.progress(1)
        run.check_cancelled()

    assert taken(executor, platform, work) == "shutting_down"
    [failure] = platform.bodies("fail")
    assert (failure["error_class"], failure["retryable"]) == ("transient", True)


@pytest.mark.parametrize("status", [401, 409, 410])
def test_a_lost_lease_is_left_without_a_word(executor: Executor, platform: Platform, status: int) -> None:
    platform.faults = {"checkpoint": [status]}
    assert taken(executor, platform, lambda run: run.save_checkpoint(1)) == "lease_lost"
    assert platform.bodies("fail") == platform.bodies("complete") == []


def test_a_refused_request_fails_the_run_and_says_why(executor: Executor, platform: Platform) -> None:
    problem = b'{"type": "/problems/job-not-found", "detail": "Job not found: 7"}'
    platform.faults = {"spawn": [(404, {}, problem)]}
    assert taken(executor, platform, lambda run: run.spawn(job_id="7")) == "api_refused"
    assert "Job not found: 7" in platform.bodies("fail")[0]["error"]


def test_a_spent_budget_is_not_waited_out(executor: Executor, platform: Platform) -> None:
    problem = b'{"type": "/problems/budget-spent", "detail": "spent"}'
    platform.faults = {"usage": [(429, {}, problem)]}
    assert taken(executor, platform, lambda run: run.usage("p", "m", total_tokens=1)) == "api_refused"
    [failure] = platform.bodies("fail")
    assert (failure["error_class"], failure["retryable"]) == ("budget", False)


@pytest.mark.parametrize("status", [502, 503])
def test_a_part_of_the_server_that_stays_away_is_no_fault_of_the_run(
    executor: Executor, platform: Platform, status: int
) -> None:
    platform.heartbeat_interval = 0.1
    platform.heartbeat_timeout = 0.5
    platform.faults = {"output": [status] * 1000}
    assert taken(executor, platform, lambda run: run.output("k", 1)) == "api_away"
    [failure] = platform.bodies("fail")
    assert (failure["error_class"], failure["retryable"]) == ("server", True)


def test_a_refused_result_fails_the_run(executor: Executor, platform: Platform) -> None:
    platform.faults = {"complete": [413]}
    assert taken(executor, platform, lambda _run: "too long") == "api_refused"


def test_a_run_that_another_has_is_not_begun(executor: Executor, platform: Platform) -> None:
    platform.faults = {"claim": [409]}
    begun = threading.Event()
    assert taken(executor, platform, lambda _run: begun.set()) == "not_claimed"
    assert not begun.is_set()


def test_the_environment_says_where_the_line_is(tmp_path: Any) -> None:
    (tmp_path / "url").write_text("redis://r\n")
    made = Executor.from_environment({"GATEWAY_URL": "http://g/", "REDIS_URL_FILE": str(tmp_path / "url")})
    assert made.name
    for environment in ({"REDIS_URL": "r"}, {"GATEWAY_URL": "g"}):
        with pytest.raises(SettingsFaulty, match="is not set"):
            Executor.from_environment(environment)
    with pytest.raises(SettingsFaulty, match="HEARTBEAT_TIMEOUT_SECONDS"):
        Executor.from_environment({"GATEWAY_URL": "g", "REDIS_URL": "r", "HEARTBEAT_TIMEOUT_SECONDS": "soon"})
