"""The pure parts: parameters, failures, redaction, work orders, limits, names, settings."""

import re
from pathlib import Path
from typing import Any

import pytest

from common.settings import load, variables
from executor import work_order
from executor.config import Settings
from executor.failures import SYMPTOMS, Ended, RunFailed, explain
from executor.inputs import extension
from executor.orders import Limits, Order, marked
from executor.outputs import collect, require_records
from executor.params import checked
from executor.programs import level
from executor.runs import limits

SHA = "a" * 64
REQUIRED = {"GATEWAY_URL": "http://g", "REDIS_URL": "redis://r", "WORK_FOLDER": "work"}


@pytest.mark.parametrize(
    "value",
    ["{{ 7*7 }}", "${HOME}", "a\nb", 'a"b', "a'b", "a\\b", "a#b", "a\x7f", "x" * 257, [1], "a\u2028b"],
)
def test_values_that_could_become_code_are_refused_by_name(value: Any) -> None:
    with pytest.raises(RunFailed, match="TEST_TYPE") as refused:
        checked({"TEST_TYPE": value, "API_YEAR": "2024"})
    assert refused.value.failure.code == "invalid_params"
    assert "API_YEAR" not in refused.value.failure.sentence


@pytest.mark.parametrize("name", ["A-B", "", "1A", "A.B", "A\n"])
def test_names_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(RunFailed):
        checked({name: "x"})


def test_plain_values_become_text() -> None:
    given = {"A": "PSAT 8/9", "B": 2024, "C": True, "D": 0.5, "E": None}
    assert checked(given) == {"A": "PSAT 8/9", "B": "2024", "C": "true", "D": "0.5"}


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(exit_code=None, signal=9, timed_out=True), "timed_out"),
        (Ended(exit_code=None, signal=9, kernel_out_of_memory=True), "out_of_memory"),
        (Ended(exit_code=None, signal=6, peak_mb=990), "out_of_memory"),
        (Ended(exit_code=255, signal=None, peak_mb=990), "out_of_memory"),
        (Ended(exit_code=None, signal=11), "crashed"),
        (Ended(exit_code=255, signal=None), "bundle_failed"),
    ],
)
def test_the_way_a_child_ended_decides_the_code(ended: Ended, code: str) -> None:
    assert explain(["nothing that helps"], ended, memory_mb=1000).code == code


def test_a_file_of_one_column_is_called_the_wrong_file() -> None:
    lines = ["One or more columns specified are not present in the dataset: ['SCORE']"]
    ended = Ended(exit_code=255, signal=None)
    assert explain(lines, ended, memory_mb=1000, columns=frozenset({"a;b;c"})).code == "wrong_file"
    assert explain(lines, ended, memory_mb=1000, columns=frozenset({"a", "b"})).code == "missing_column"


def test_every_sentence_can_be_filled_from_its_pattern() -> None:
    for symptom in SYMPTOMS:
        assert set(re.findall(r"\{(\w+)\}", symptom.sentence)) <= set(symptom.pattern.groupindex)


def test_the_runbook_lists_every_code() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    sources = (Path(__file__).parents[1] / "src" / "executor").glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r'(?:RunFailed|_symptom)\(\s*"(\w+)"|code="(\w+)"', text))
    missing = {code for pair in codes for code in pair if code and f"`{code}`" not in readme}
    assert missing == set()


def test_the_readme_lists_every_setting() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [each.name for each in variables(Settings) if f"`{each.name}`" not in readme] == []


def order(**changes: Any) -> dict[str, Any]:
    payload = {
        "bundle": {"key": "assessments/X", "sha256": SHA, "url": "http://s/b", "mode": "direct"},
        "inputs": {
            "INPUT_FILE": {"url": "http://s/i", "file_name": "../../x.CSV", "size_bytes": 3, "etag": "e"}
        },
    }
    return payload | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"bundle": {"key": "k", "sha256": "../../etc", "url": "u"}},
        {"inputs": {"../x": {"url": "u"}}},
        {"inputs": None},
        {"ods": {"url": "u"}},
    ],
)
def test_a_work_order_that_is_not_understood_fails_the_run(changes: dict[str, Any]) -> None:
    with pytest.raises(RunFailed) as failed:
        work_order.read(order(**changes))
    assert failed.value.failure.code == "unsupported_payload"


def test_descriptor_mappings_are_read_in_both_shapes() -> None:
    file = {"url": "http://s/m", "sha256": SHA}
    by_name = work_order.read(order(descriptor_mappings={"g.csv": file}))
    listed = work_order.read(order(descriptor_mappings=[{"file_name": "g.csv", **file}]))
    assert by_name.mappings == listed.mappings
    assert by_name.mappings[0].file_name == "g.csv"


def test_the_narrower_limit_holds() -> None:
    settings = load(Settings, REQUIRED | {"TIMEOUT_SECONDS": "100", "MEMORY_MB": "1000"})
    wide = work_order.read(order(limits={"timeout_secs": 500, "memory_mb": 9000}))
    narrow = work_order.read(order(limits={"timeout_secs": 5, "memory_mb": 300}))
    assert (limits(wide, settings).timeout_seconds, limits(wide, settings).memory_mb) == (100, 1000)
    assert (limits(narrow, settings).timeout_seconds, limits(narrow, settings).memory_mb) == (5, 300)


@pytest.mark.parametrize(
    ("name", "declared", "chosen"),
    [
        ("a.CSV", ["csv", "txt"], "csv"),
        ("a.txt", ["csv", "txt"], "txt"),
        ("a.exe", ["csv"], "csv"),
        ("../x", ["txt"], "txt"),
        ("x", [], "csv"),
        ("x", ["../y"], "csv"),
    ],
)
def test_the_extension_is_one_the_bundle_declares(name: str, declared: list[str], chosen: str) -> None:
    assert extension(name, declared) == chosen


def test_only_files_with_records_are_outputs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n{}")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "link.jsonl").symlink_to("/etc/passwd")
    assert [(each.resource, each.records) for each in collect(tmp_path, lambda: None)] == [("a", 2)]


def test_a_run_without_the_records_it_is_for_fails(tmp_path: Path) -> None:
    (tmp_path / "assessments.jsonl").write_text("{}\n")
    made = collect(tmp_path, lambda: None)
    assert require_records(made, ["assessments"]) == {"assessments": 1}
    with pytest.raises(RunFailed, match="studentAssessments"):
        require_records(made, ["studentAssessments"])
    with pytest.raises(RunFailed, match="no records at all"):
        require_records([], [])


def test_an_order_survives_its_journey() -> None:
    bounds = Limits(timeout_seconds=1.5, memory_mb=1, file_mb=2, open_files=3)
    sent = Order(program="earthmover", arguments=["a", "b"], folder="f", limits=bounds)
    assert Order.decode(sent.encode()) == sent


def test_only_marked_lines_are_for_the_executor() -> None:
    assert marked('\x1etaxiway {"done": 1}') == {"done": 1}
    assert marked('{"done": 1}') is marked("\x1etaxiway [1]") is marked("\x1etaxiway nonsense") is None


def test_stack_traces_are_for_debugging_only() -> None:
    assert level("2026-01-01 earthmover ERROR no such file") == "error"
    assert level("2026-01-01 earthmover INFO done!") == "info"
    assert level('  File "x.py", line 3, in f') == "debug"
