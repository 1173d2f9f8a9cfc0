"""A run from turn to end, against a platform of ours: what it sends, what it uploads, how it stops."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.runs import Runner
from executor_sdk import Turn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PSAT_SAT, ECHO = "bundles/assessments/PSAT_SAT", "tests/bundles/tests/echo"
SAMPLE = ROOT / PSAT_SAT / "data" / "sample.csv"
SAT = {"API_YEAR": "2024", "TEST_TYPE": "SAT"}
ODS = {"api_year": None, "token_url": "", "client_id": "client", "client_secret": "s3cret"}
Order = Callable[..., dict[str, Any]]


def uploaded(platform: Any, uid: str) -> dict[str, bytes]:
    prefix = f"/store/{uid}/"
    return {
        name.removeprefix(prefix): body for name, body in platform.objects.items() if name.startswith(prefix)
    }


def logged(platform: Any) -> str:
    return json.dumps(platform.bodies("log"))


def test_our_bundle_makes_the_same_bytes_twice(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(PSAT_SAT, SAMPLE.read_bytes(), params=SAT)
    runner.take(turn)
    runner.take(turn)
    first, second = platform.bodies("complete")
    counts = {
        "assessments": 3,
        "objectiveAssessments": 15,
        "studentAssessments": 5,
        "studentObjectiveAssessments": 25,
    }
    assert first == {"result": {"counts": counts}, "output_sets": ["set-1"]}
    assert second["output_sets"] == ["set-2"]
    assert uploaded(platform, "set-1") == uploaded(platform, "set-2")
    assert platform.sets["set-1"]["sentToOds"] is False
    assert platform.bodies("set-1/seal") == []
    assert platform.bodies("output-sets/set-1/seal") == [{}]


def test_the_records_are_those_of_the_sample(platform: Any, runner: Runner, order: Order, turn: Turn) -> None:
    latin = SAMPLE.read_text(encoding="utf-8").encode("cp1252")
    order(PSAT_SAT, latin, params=SAT)
    runner.take(turn)
    files = uploaded(platform, "set-1")
    records = [json.loads(line) for line in files["studentAssessments.jsonl"].splitlines()]
    assert [each["studentReference"]["studentUniqueId"] for each in records] == [
        f"90000000{n}" for n in range(1, 6)
    ]
    assert records[0]["administrationDate"] == "2023-10-18"
    assert records[0]["assessmentReference"]["assessmentIdentifier"] == "SAT 1600"
    assert records[0]["scoreResults"][0]["result"] == "1160"
    objectives = [json.loads(line) for line in files["studentObjectiveAssessments.jsonl"].splitlines()]
    assert {each["objectiveAssessmentReference"]["identificationCode"] for each in objectives} == {
        "verbal", "math", "reading", "writing", "math-test",
    }  # fmt: skip
    assert "cp1252" in logged(platform)
    percents = [each["percent"] for each in platform.bodies("progress")]
    assert percents == sorted(percents)
    assert any("studentAssessments: 5 records" in each["message"] for each in platform.bodies("progress"))


def test_a_file_without_the_columns_fails_and_names_one(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(PSAT_SAT, b"NAME,STATE_STUDENT_ID\nAda,1\n", params=SAT)
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert failure["code"] == "missing_column"
    assert "LATEST_SAT_DATE" in failure["error"]
    assert failure["retryable"] is False
    assert "Traceback" not in failure["error"]


def test_lightbeam_sends_every_record_to_the_ods(
    platform: Any, edfi: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(PSAT_SAT, SAMPLE.read_bytes(), params=SAT, ods={**ODS, "url": edfi.url})
    runner.take(turn)
    assert {name: len(records) for name, records in edfi.received.items()} == {
        "assessments": 3, "objectiveAssessments": 15, "studentAssessments": 5,
    }  # fmt: skip
    assert platform.sets["set-1"]["sentToOds"] is True
    [completed] = platform.bodies("complete")
    assert completed["result"]["ods"] == {"records": 23, "failed": 0, "errors": []}
    assert "s3cret" not in logged(platform)


def test_records_the_ods_refuses_are_summarised_and_the_set_is_not_sent(
    platform: Any, edfi: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    edfi.refuses = {"studentAssessments": "no such student"}
    order(PSAT_SAT, SAMPLE.read_bytes(), params=SAT, ods={**ODS, "url": edfi.url})
    runner.take(turn)
    [completed] = platform.bodies("complete")
    assert completed["result"]["ods"]["failed"] == 5
    [error] = completed["result"]["ods"]["errors"]
    assert (error["resource"], error["count"], error["status"]) == ("studentAssessments", 5, 400)
    assert platform.sets["set-1"]["sentToOds"] is False


def test_an_ods_that_refuses_the_secret_fails_the_run_for_good(
    platform: Any, edfi: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    edfi.secret = "another"
    order(PSAT_SAT, SAMPLE.read_bytes(), params=SAT, ods={**ODS, "url": edfi.url})
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["error_class"], failure["retryable"]) == ("ods_refused", "auth", False)


def test_an_echo_run_copies_its_lines(platform: Any, runner: Runner, order: Order, turn: Turn) -> None:
    order(ECHO, "a,b\né,2\n".encode("utf-16"))
    runner.take(turn)
    lines = uploaded(platform, "set-1")["INPUT_FILE.jsonl"].decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"line": "a,b"}, {"line": "é,2"}]
    assert platform.bodies("complete")[0]["result"] == {"counts": {"INPUT_FILE": 2}}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"params": {"ECHO_FAIL": "on purpose"}}, "echo_failed"),
        ({"params": {"ECHO_FAIL": "{{ 7*7 }}"}}, "invalid_params"),
        ({"kind": "something else"}, "unsupported_payload"),
    ],
)
def test_a_run_that_cannot_succeed_says_why(
    platform: Any, runner: Runner, order: Order, turn: Turn, changes: dict[str, Any], code: str
) -> None:
    order(ECHO, b"a\n", **changes)
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["retryable"]) == (code, False)


def test_a_bundle_of_a_mode_unknown_to_us_is_not_run(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(PSAT_SAT, SAMPLE.read_bytes(), params=SAT)["bundle"]["mode"] = "newer"
    runner.take(turn)
    assert platform.bodies("fail")[0]["code"] == "unsupported_mode"


def test_an_input_replaced_after_start_fails_the_run(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(ECHO, b"one\n")
    platform.put("input", b"two\n")
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["error_class"]) == ("input_changed", "invalid_input")


def test_an_archive_with_another_digest_is_not_run(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(ECHO, b"one\n")
    platform.put("bundle", b"something else")
    runner.take(turn)
    assert platform.bodies("fail")[0]["code"] == "bundle_changed"


def test_an_upload_already_there_is_fine(platform: Any, runner: Runner, order: Order, turn: Turn) -> None:
    order(ECHO, b"one\n")
    platform.put("set-1/INPUT_FILE.jsonl", b'{"line": "one"}\n')
    runner.take(turn)
    assert len(platform.bodies("complete")) == 1


def test_answers_that_were_lost_are_asked_again_with_the_same_key(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(ECHO, b"one\n")
    platform.faults = {"claim": [503], "output-sets": [429, 500], "complete": [502]}
    runner.take(turn)
    assert len(platform.bodies("complete")) == 1
    for name, times in {"claim": 2, "output-sets": 3, "complete": 2}.items():
        keys = [key for called, key in platform.keys if called == name]
        assert len(keys) == times
        assert len(set(keys)) == 1
    assert all(key for _name, key in platform.keys)


@pytest.mark.parametrize("status", [401, 409, 410])
def test_a_lost_lease_ends_the_work_without_a_word(
    platform: Any, runner: Runner, order: Order, turn: Turn, status: int
) -> None:
    platform.heartbeat_interval = 0.2
    order(ECHO, b"one\n", params={"ECHO_SECONDS": 30})
    platform.faults = {"heartbeat": [None, status]}
    began = time.monotonic()
    runner.take(turn)
    assert time.monotonic() - began < 10
    assert platform.bodies("fail") == platform.bodies("complete") == []


def test_a_silent_server_ends_the_work_after_the_heartbeat_timeout(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    order(ECHO, b"one\n", params={"ECHO_SECONDS": 30})
    platform.heartbeat_interval = 0.2
    silence: list[Any] = [None, *[503] * 1000]
    platform.faults = {name: list(silence) for name in ("heartbeat", "progress", "log")}
    began = time.monotonic()
    runner.take(turn)
    assert 4 < time.monotonic() - began < 15
    assert platform.bodies("fail") == []


def test_cancelling_fails_the_run_as_asked_for(
    platform: Any, runner: Runner, order: Order, turn: Turn
) -> None:
    platform.heartbeat_interval = 0.2
    platform.cancel_requested = True
    order(ECHO, b"one\n", params={"ECHO_SECONDS": 30})
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["error"], failure["error_class"]) == ("canceled by request", "client")


def test_shutting_down_gives_the_run_back(platform: Any, runner: Runner, order: Order, turn: Turn) -> None:
    order(ECHO, b"one\n", params={"ECHO_SECONDS": 30})
    threading.Timer(1.0, runner.stopping.set).start()
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["error"], failure["error_class"]) == ("executor is shutting down", "transient")
    assert failure["retryable"] is True


def test_nothing_of_a_run_stays_on_disk(platform: Any, runner: Runner, order: Order, turn: Turn) -> None:
    order(ECHO, b"one\n")
    runner.take(turn)
    assert list((runner.settings.work_folder / "runs" / "test").iterdir()) == []
    assert "X-Amz-Signature=secret" not in logged(platform)
