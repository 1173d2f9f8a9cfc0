"""The checks of POST /jobs: their sentences, and that the first one to fail wins."""

from dataclasses import replace
from typing import Any

import pytest

from jobs.assessments import rules
from jobs.assessments.rules import Facts, Refused
from jobs.assessments.shape import JobRequest

REQUEST = JobRequest(
    partner="ea",
    tenant="north",
    bundle="assessments/SAT",
    school_year="2026",
    files={"INPUT_FILE": "results.csv"},
    params={"TEST_TYPE": "SAT"},
)
METADATA: dict[str, Any] = {
    "input_files": [
        {"env_var": "INPUT_FILE", "is_required": True, "file_type": ["csv", "txt"]},
        {"env_var": "SECOND", "is_required": True, "file_type": []},
    ],
    "input_params": [
        {"env_var": "API_YEAR", "is_required": True, "allowed_values": []},
        {"env_var": "TEST_TYPE", "is_required": True, "allowed_values": ["SAT", "PSAT 8/9", "3"]},
        {"env_var": "NOTE", "is_required": False, "allowed_values": []},
        {"env_var": "MUST", "is_required": True, "allowed_values": []},
    ],
}
FILES = {"INPUT_FILE": "results.csv", "SECOND": "more"}
PARAMS = {"TEST_TYPE": "SAT", "MUST": "x"}
FACTS = Facts(
    has_tenant=True,
    metadata=METADATA,
    mode="direct",
    knows_year=True,
    is_year_enabled=True,
    sends_to_ods=False,
    has_ods=False,
    needs_roster=True,
    has_roster=False,
)


def refused(check: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        check(*arguments)
    return caught.value.rule, str(caught.value)


def refused_input(*, files: Any = FILES, params: Any = PARAMS, year: str = "2026") -> tuple[str, str]:
    request = replace(REQUEST, files=files, params=params, school_year=year)
    return refused(rules.check_input, request, METADATA)


def accepted(*, files: Any = FILES, params: Any = PARAMS) -> dict[str, Any]:
    return rules.check_input(replace(REQUEST, files=files, params=params), METADATA)


def test_the_token_names_a_client() -> None:
    said = refused(rules.check_caller, REQUEST, "", {"other"})
    assert said == ("missing-client-claim", "Token must include a client_id or azp claim")


def test_the_partner_is_in_the_tokens_scope() -> None:
    said = refused(rules.check_caller, REQUEST, "me", {"EA", "e"})
    assert said == ("invalid-partner", "Invalid partner code: ea")


CATALOG_RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"has_tenant": False}, "invalid-tenant", "Invalid tenant. ea/north does not exist"),
    (
        {"metadata": None},
        "bundle-not-found",
        "Bundle not found or not enabled for partner: assessments/SAT",
    ),
    ({"knows_year": False}, "invalid-school-year", "Invalid school year: 2026"),
    ({"is_year_enabled": False}, "school-year-not-enabled", "School year is not enabled: 2026"),
    ({"sends_to_ods": True}, "ods-not-found", "No ODS found for school year: 2026"),
    (
        {"mode": "matched"},
        "roster-not-found",
        "No roster file found and cross-year matching not enabled for school year: 2026",
    ),
]


@pytest.mark.parametrize(("change", "rule", "sentence"), CATALOG_RULES)
def test_each_rule_of_the_catalog_has_its_sentence(change: Any, rule: str, sentence: str) -> None:
    assert refused(rules.check_catalog, REQUEST, replace(FACTS, **change)) == (rule, sentence)


def test_the_first_rule_of_the_catalog_that_fails_wins() -> None:
    wrong: dict[str, Any] = {}
    for change, rule, _sentence in reversed(CATALOG_RULES[:-1]):  # sending and rosters exclude each other
        wrong |= change
        assert refused(rules.check_catalog, REQUEST, replace(FACTS, **wrong))[0] == rule


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sends_to_ods": True, "has_ods": True},
        {"mode": "matched", "has_roster": True},
        {"mode": "matched", "needs_roster": False},
        {"mode": "matched", "sends_to_ods": True, "has_ods": True},
    ],
)
def test_what_the_catalog_allows_passes(change: Any) -> None:
    rules.check_catalog(REQUEST, replace(FACTS, **change))


def test_the_year_is_always_filled_in_and_overwrites_a_supplied_one() -> None:
    assert accepted() == {**PARAMS, "API_YEAR": "2026"}
    assert accepted(params={**PARAMS, "API_YEAR": ["odd"]})["API_YEAR"] == "2026"


def test_a_year_that_the_bundle_does_not_declare_is_unexpected() -> None:
    metadata = {**METADATA, "input_params": METADATA["input_params"][1:]}
    request = replace(REQUEST, files=FILES, params={**PARAMS, "API_YEAR": "2026"})
    said = refused(rules.check_input, request, metadata)
    assert said == ("unexpected-params", "Unexpected params: API_YEAR")
    assert rules.check_input(replace(request, params=PARAMS), metadata)["API_YEAR"] == "2026"


def test_required_params_are_there() -> None:
    assert refused_input(params={}) == ("missing-required-params", "Missing required params: TEST_TYPE, MUST")
    assert accepted(params={**PARAMS, "MUST": ""})["MUST"] == ""


@pytest.mark.parametrize("value", ["", "sat", True, None, ["SAT"], {"SAT": 1}, 3.5])
def test_values_are_among_those_allowed(value: Any) -> None:
    said = refused_input(params={**PARAMS, "TEST_TYPE": value})
    assert said == ("invalid-param-values", "Invalid param values: TEST_TYPE")


def test_an_allowed_value_may_be_written_as_a_number() -> None:
    assert accepted(params={**PARAMS, "TEST_TYPE": 3})["TEST_TYPE"] == 3


def test_undeclared_params_and_files_are_unexpected() -> None:
    assert refused_input(params={**PARAMS, "A": 1, "B": 2}) == (
        "unexpected-params",
        "Unexpected params: A, B",
    )
    said = refused_input(files={**FILES, "OTHER": "a.csv"})
    assert said == ("unexpected-files", "Unexpected files: OTHER")


def test_required_files_are_there() -> None:
    said = ("missing-required-files", "Missing required files: INPUT_FILE, SECOND")
    assert refused_input(files={}) == said


@pytest.mark.parametrize("name", ["results.xlsx", "results", "csv", "results.csv.zip", "results.csv "])
def test_a_file_has_one_of_the_bundles_extensions(name: str) -> None:
    said = refused_input(files={**FILES, "INPUT_FILE": name})
    assert said == ("invalid-file-type", "Invalid file type: INPUT_FILE (csv, txt)")


def test_extensions_are_the_same_in_capitals_and_none_listed_means_any() -> None:
    accepted(files={"INPUT_FILE": "RESULTS.CSV", "SECOND": "anything.at.all"})


@pytest.mark.parametrize(
    "value",
    [*"{}$\"'\\#\t\x7f\x85\u2028", "a\nb", "a\rb", "x" * 257, [], {}, float("inf"), float("nan")],
)
def test_a_free_value_is_one_plain_line(value: Any) -> None:
    said = refused_input(params={**PARAMS, "NOTE": value})
    assert said == ("invalid-param-values", "Invalid param values: NOTE")


@pytest.mark.parametrize("value", ["", "x" * 256, "naïve - ok; 100% (a/b)", 5, 2.5, False])
def test_a_free_value_may_be_a_text_a_number_or_a_boolean(value: Any) -> None:
    assert accepted(params={**PARAMS, "NOTE": value})["NOTE"] == value


@pytest.mark.parametrize("name", ["a/b.csv", "a\\b.csv", "a\nb.csv", "x" * 252 + ".csv"])
def test_a_file_name_is_one_that_can_be_shown(name: str) -> None:
    said = refused_input(files={**FILES, "INPUT_FILE": name})
    assert said == ("invalid-file-names", "Invalid file names: INPUT_FILE")


def test_the_first_rule_of_the_input_that_fails_wins() -> None:
    wrong_params = {"TEST_TYPE": "x", "OTHER": 1, "NOTE": "{"}
    wrong_files = {"INPUT_FILE": "a/b.xls", "OTHER": "x"}
    steps: list[tuple[str, Any, Any]] = [
        ("missing-required-params", wrong_params, wrong_files),
        ("invalid-param-values", {**wrong_params, "MUST": 1}, wrong_files),
        ("unexpected-params", {**PARAMS, "OTHER": 1, "NOTE": "{"}, wrong_files),
        ("unexpected-files", {**PARAMS, "NOTE": "{"}, wrong_files),
        ("missing-required-files", {**PARAMS, "NOTE": "{"}, {"INPUT_FILE": "a/b.xls"}),
        ("invalid-file-type", {**PARAMS, "NOTE": "{"}, {**FILES, "INPUT_FILE": "a/b.xls"}),
        ("invalid-param-values", {**PARAMS, "NOTE": "{"}, {**FILES, "INPUT_FILE": "a/b.csv"}),
        ("invalid-file-names", PARAMS, {**FILES, "INPUT_FILE": "a/b.csv"}),
    ]
    for rule, params, files in steps:
        assert refused_input(files=files, params=params)[0] == rule


def test_a_long_list_of_names_is_cut() -> None:
    _rule, sentence = refused_input(params={**PARAMS, **{f"P{n}": 1 for n in range(30)}})
    assert sentence.endswith("P19 and 10 more")
