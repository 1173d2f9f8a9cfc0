"""How a bundle runs, and which variables nobody fills in."""

import pytest

from jobs.catalog import lint
from jobs.catalog.lint import LintFailed

PROJECT = """
version: 2
{# STUDENT_ID_NAME: not this #}
config:
  output_dir: ${OUTPUT_DIR}
  # STUDENT_ID_NAME: nor this
  parameter_defaults:
    STUDENT_ID_NAME: 'LocalID' # but this

    FORMAT: ""
  macros: >
    {% macro a(b) -%}{{ b }}{%- endmacro %}
{% if "${FORMAT}" == "x" %}
sources: {{ not yaml
"""


def test_parameter_defaults_are_read_though_the_rest_is_jinja() -> None:
    assert lint.parameter_defaults(PROJECT) == {"STUDENT_ID_NAME": "LocalID", "FORMAT": ""}


@pytest.mark.parametrize(
    "project", ["", "version: 2", "config:\n  a: 1", "config:\n", "config:\n  parameter_defaults:\n"]
)
def test_a_project_need_not_have_defaults(project: str) -> None:
    assert lint.parameter_defaults(project) == {}


def test_a_config_section_that_is_no_yaml_is_a_lint_error() -> None:
    with pytest.raises(LintFailed, match="config section"):
        lint.parameter_defaults("config:\n  a: [\n")


def test_a_bundle_that_names_its_id_column_runs_directly() -> None:
    assert lint.decide_mode({"STUDENT_ID_NAME": "LocalID"}, has_wrapper=True) == "direct"


@pytest.mark.parametrize(
    "defaults", [{}, {"STUDENT_ID_NAME": ""}, {"STUDENT_ID_NAME": "edFi_studentUniqueID"}]
)
def test_one_that_does_not_is_matched_where_the_wrapper_is_and_an_error_elsewhere(
    defaults: dict[str, str],
) -> None:
    assert lint.decide_mode(defaults, has_wrapper=True) == "matched"
    with pytest.raises(LintFailed, match="does not name the id column"):
        lint.decide_mode(defaults, has_wrapper=False)


def test_a_variable_that_nobody_fills_in_is_named_by_file_and_line() -> None:
    files = {
        "templates/a.jsont": '{# ${NO} \n ${NO} #}\n{"a": "${NEVER}", "b": "${GIVEN}${NEVER}"}',
        "earthmover.yaml": "# ${NO}\n   # ${NO}\na: ${OUTPUT_DIR}${API_YEAR}${BUNDLE_DIR} # ${ALSO}\n",
        "lightbeam.yaml": "a: ${EDFI_API_CLIENT_ID}${STATE_DIR}${ODD}",
    }
    assert lint.unfilled(files, {"GIVEN"}) == [
        "earthmover.yaml:3: nothing fills in ${ALSO}",
        "lightbeam.yaml:1: nothing fills in ${ODD}",
        "templates/a.jsont:3: nothing fills in ${NEVER}",
    ]


def test_what_the_sender_gets_is_not_given_to_the_project() -> None:
    assert lint.unfilled({"earthmover.yaml": "${EDFI_API_BASE_URL}"}, set()) != []
