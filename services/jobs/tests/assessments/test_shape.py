"""The shape of the body of POST /jobs: every fault, all at once."""

from typing import Any

import pytest

from jobs.assessments.shape import ShapeFaults, read_job

GOOD: dict[str, Any] = {
    "partner": "ea",
    "tenant": "ea",
    "bundle": "assessments/SAT",
    "schoolYear": "2026",
    "files": {"INPUT_FILE": " results.csv "},
}
YEAR = 'School year must be a 4-digit end year, e.g. "2026" for the 2025-2026 school year'
UNSTORABLE = "must not hold NUL characters or lone surrogates"


def faults(**changed: Any) -> dict[str, list[str]]:
    with pytest.raises(ShapeFaults) as caught:
        read_job({**GOOD, **changed})
    return dict(caught.value.details)


def test_names_are_trimmed_nulls_are_absent_and_unknown_keys_are_ignored() -> None:
    files = {"INPUT_FILE": " results.csv ", "EXTRA": None}
    asked = read_job({**GOOD, "files": files, "params": {"A": None, "B": ""}, "other": "\x00"})
    assert asked.files == {"INPUT_FILE": "results.csv"}
    assert asked.params == {"B": ""}


@pytest.mark.parametrize("field", ["partner", "tenant", "bundle", "schoolYear"])
def test_a_text_must_be_there_and_be_a_text(field: str) -> None:
    for empty in (None, ""):
        assert faults(**{field: empty}) == {field: [f"{field} should not be empty"]}
    for other in (2026, True, ["a"], {"a": 1}):
        assert faults(**{field: other}) == {field: [f"{field} must be a string"]}


@pytest.mark.parametrize("year", ["26", "20266", "2025-2026", "٢٠٢٦", " 2026", "2026\n"])
def test_a_school_year_has_four_digits(year: str) -> None:
    assert faults(schoolYear=year) == {"schoolYear": [YEAR]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "files should not be empty"),
        ([], "files must be an object"),
        ("a.csv", "files must be an object"),
        ({"INPUT_FILE": ""}, "File names must not be empty"),
        ({"INPUT_FILE": "  "}, "File names must not be empty"),
        ({"INPUT_FILE": 5}, "File names must not be empty"),
        ({f"F{n}": "a" for n in range(201)}, "files must have at most 200 entries"),
        ({"K" * 257: "a"}, "each key of files must have at most 256 characters"),
    ],
)
def test_files_map_keys_to_names(files: Any, message: str) -> None:
    assert faults(files=files) == {"files": [message]}


@pytest.mark.parametrize("params", [[], "a", 5, True])
def test_params_are_an_object(params: Any) -> None:
    assert faults(params=params) == {"params": ["params must be an object"]}


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
def test_what_the_database_cannot_keep_is_refused(bad: str) -> None:
    assert faults(tenant=f"a{bad}") == {"tenant": [f"tenant {UNSTORABLE}"]}
    assert faults(files={f"a{bad}": "x"}) == {"files": [f"each key of files {UNSTORABLE}"]}
    assert faults(files={"a": f"x{bad}"}) == {"files": [f"files {UNSTORABLE}"]}
    assert faults(params={"a": f"x{bad}"}) == {"params": [f"params {UNSTORABLE}"]}


def test_all_faults_are_told_together_in_the_order_of_the_fields() -> None:
    told = faults(partner=5, schoolYear="x", files=[], params=[])
    assert list(told) == ["partner", "schoolYear", "files", "params"]


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(ShapeFaults, match="must be a JSON object"):
        read_job(body)


def test_no_files_is_a_shape_that_passes() -> None:
    assert read_job({**GOOD, "files": {}}).files == {}
