"""Look at a bundle before it is imported: how it runs, and which variables nobody fills in. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

PROJECT = "earthmover.yaml"
SENDER = "lightbeam.yaml"
ID_COLUMN = "STUDENT_ID_NAME"
WRAPPER_ID_COLUMN = "edFi_studentUniqueID"
DIRECT, MATCHED = "direct", "matched"

EXECUTOR_SUPPLIES = frozenset(
    {"OUTPUT_DIR", "STATE_FILE", "BUNDLE_DIR", "TEMPORARY_DIRECTORY", "API_YEAR", "DATA_DIR"}
)
SENDER_SUPPLIES = EXECUTOR_SUPPLIES | {
    "STATE_DIR", "EDFI_API_BASE_URL", "EDFI_API_YEAR", "EDFI_API_CLIENT_ID", "EDFI_API_CLIENT_SECRET",
}  # fmt: skip
TEMPLATES = (".yaml", ".yml", ".jsont", ".jinja", ".jsonl", ".j2")
NO_PROJECT = f"has no {PROJECT}: jobs can be created but will not run"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CONFIG = re.compile(r"^config:[ \t]*\n((?:[ \t].*\n|[ \t]*\n|#.*\n)*)", re.MULTILINE)


class LintFailed(Exception):
    """The bundle cannot run as it is."""


def parameter_defaults(project: str) -> dict[str, Any]:
    """Read `config.parameter_defaults` of an earthmover project; the rest of the file may be Jinja, not YAML.

    Raises LintFailed when the section is not YAML.
    """
    section = _CONFIG.search(_without_jinja_comments(project) + "\n")
    if section is None:
        return {}
    try:
        config = yaml.safe_load(section.group(1))
    except yaml.YAMLError as error:
        raise LintFailed(f"the config section of {PROJECT} is not YAML: {_one_line(error)}") from error
    defaults = config.get("parameter_defaults") if isinstance(config, dict) else None
    return {str(name): value for name, value in defaults.items()} if isinstance(defaults, dict) else {}


def decide_mode(defaults: Mapping[str, Any], *, has_wrapper: bool) -> str:
    """Say how a bundle runs (external-api.md §6), or raise LintFailed."""
    if defaults.get(ID_COLUMN) not in (None, "", WRAPPER_ID_COLUMN):
        return DIRECT
    if has_wrapper:
        return MATCHED
    raise LintFailed(
        f"{PROJECT} does not name the id column: set {ID_COLUMN} in parameter_defaults,"
        " or import it from a source that holds packages/student_id_wrapper"
    )


def unfilled(files: Mapping[str, str], filled: Collection[str]) -> list[str]:
    """Warn of every `${VAR}` that nobody fills in, by file and line. `files` maps paths to texts."""
    known = set(filled)
    return [
        f"{path}:{number}: nothing fills in ${{{name}}}"
        for path, text in sorted(files.items())
        for number, name in _variables(path, text)
        if name not in known | (SENDER_SUPPLIES if path.endswith(SENDER) else EXECUTOR_SUPPLIES)
    ]


def _variables(path: str, text: str) -> Iterator[tuple[int, str]]:
    is_yaml = path.endswith((".yaml", ".yml"))
    for number, line in enumerate(_without_jinja_comments(text).splitlines(), start=1):
        if is_yaml and line.lstrip().startswith("#"):
            continue
        for name in dict.fromkeys(_VARIABLE.findall(line)):
            yield number, name


def _without_jinja_comments(text: str) -> str:
    return _JINJA_COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
