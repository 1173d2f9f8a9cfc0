"""Reading `_metadata.yaml`: one spelling comes out, every fault is named."""

import pytest

from jobs.catalog import metadata
from jobs.catalog.metadata import MetadataFaulty


def faults(text: str) -> list[str]:
    with pytest.raises(MetadataFaulty) as caught:
        metadata.read(text)
    return caught.value.faults


def test_absent_empty_and_null_lists_all_mean_none() -> None:
    lists = ("input_files", "input_params", "report_resources", "descriptor_mapping_files")
    for written in ("", "input_files:\n", "input_files: []\n", "input_files: null\ninput_params: ''\n"):
        document = metadata.read(f"path: assessments/X\n{written}").document
        assert [document[name] for name in lists] == [[], [], [], []]


def test_values_come_out_in_one_spelling() -> None:
    text = """
        path: assessments/X
        input_files: [{env_var: A, is_required: true, file_type: [.CSV, txt]}, {env_var: B, file_type: xml}]
        input_params: [{env_var: P, display_name: Year, allowed_values: [2024, true, "x"]}]
    """
    document = metadata.read(text).document
    assert document["display_name"] == "X"
    assert [file["file_type"] for file in document["input_files"]] == [["csv", "txt"], ["xml"]]
    assert document["input_files"][1] == {
        "env_var": "B",
        "display_name": "B",
        "is_required": False,
        "file_type": ["xml"],
    }
    assert document["input_params"][0]["allowed_values"] == ["2024", "true", "x"]
    assert metadata.read(text).variables() == {"A", "B", "P"}


@pytest.mark.parametrize("path", ["", "X", "a/b/c", "assessments/..", "../X", "assessments/a b", "a/\n"])
def test_a_key_is_two_names(path: str) -> None:
    assert faults(f"path: {path!r}") == ["path must be two names with a slash between them"]


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "OUTPUT_DIR", "git_ssh_command", "ENV"])
def test_a_bundle_does_not_set_our_variables(name: str) -> None:
    [fault] = faults(f"path: a/b\ninput_params: [{{env_var: {name}}}]")
    assert fault == f"input_params[0].env_var must not be {name}: it is not a bundle's to set"


def test_every_fault_is_named() -> None:
    told = faults(
        "path: a/b\ninput_files: {}\nreport_resources: [{}]\n"
        "input_params: [{env_var: 1x}, {env_var: A, is_required: 'yes'},"
        " {env_var: A, allowed_values: 5}, x]\n"
    )
    assert told == [
        "report_resources[0] must be a text",
        "input_files must be a list",
        "input_params[0].env_var must be the name of a variable",
        "input_params[1].is_required must be true or false",
        "input_params[2].allowed_values must be a list",
        "input_params[3] must be an object",
        "input_params[3].env_var must be the name of a variable",
        "A is declared more than once",
    ]


@pytest.mark.parametrize("text", ["", "[]", "a: [", "a: !!python/object:os.system {}", "\x07"])
def test_what_is_no_yaml_object_is_faulty(text: str) -> None:
    assert len(faults(text)) == 1


def test_an_unknown_key_is_a_warning() -> None:
    assert metadata.read("path: a/b\nnew_key: 1").warnings == ["_metadata: new_key is not a key we know"]
