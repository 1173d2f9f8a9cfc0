"""The checks of POST /jobs, in the order and with the sentences of external-api.md §3.

Pure: what the catalog knows comes in as `Facts`. The first failure wins and is raised as `Refused`.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.assessments.shape import JobRequest

API_YEAR = "API_YEAR"
MATCHED = "matched"
MAX_VALUE_LENGTH = 256
MAX_FILE_NAME_LENGTH = 255
MAX_NAMED = 20
# Values replace text in YAML and templates: nothing that could end a string or begin an expression.
_UNSAFE_IN_VALUE = re.compile(r"""[{}$"'\\#\x00-\x1f\x7f-\x9f\u2028\u2029]""")
_UNSAFE_IN_NAME = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Refused(Exception):
    """A rule does not hold. `rule` is its name, `field` the part of the body it is about."""

    def __init__(self, rule: str, sentence: str, field: str = "") -> None:
        self.rule = rule
        self.field = field
        super().__init__(sentence)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the catalog knows about a request; `metadata` and `mode` are of the bundle enabled, if any is."""

    has_tenant: bool
    metadata: Mapping[str, Any] | None
    mode: str
    knows_year: bool
    is_year_enabled: bool
    sends_to_ods: bool
    has_ods: bool
    needs_roster: bool
    has_roster: bool


def check_caller(request: JobRequest, client_id: str, partners: Collection[str]) -> None:
    """Rules 1 and 2: who asks, and for whom."""
    if not client_id:
        raise Refused("missing-client-claim", "Token must include a client_id or azp claim")
    if request.partner not in partners:
        raise Refused("invalid-partner", f"Invalid partner code: {request.partner}", "partner")


def check_catalog(request: JobRequest, facts: Facts) -> None:
    """Rules 3 to 7b: what is asked for is there and enabled."""
    year = request.school_year
    if not facts.has_tenant:
        sentence = f"Invalid tenant. {request.partner}/{request.tenant} does not exist"
        raise Refused("invalid-tenant", sentence, "tenant")
    if facts.metadata is None:
        sentence = f"Bundle not found or not enabled for partner: {request.bundle}"
        raise Refused("bundle-not-found", sentence, "bundle")
    if not facts.knows_year:
        raise Refused("invalid-school-year", f"Invalid school year: {year}", "schoolYear")
    if not facts.is_year_enabled:
        raise Refused("school-year-not-enabled", f"School year is not enabled: {year}", "schoolYear")
    if facts.sends_to_ods and not facts.has_ods:
        raise Refused("ods-not-found", f"No ODS found for school year: {year}", "schoolYear")
    if not facts.sends_to_ods and facts.mode == MATCHED and facts.needs_roster and not facts.has_roster:
        sentence = f"No roster file found and cross-year matching not enabled for school year: {year}"
        raise Refused("roster-not-found", sentence, "schoolYear")


def check_input(request: JobRequest, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Rules 8 to 13: params and files are what the bundle declares. Returns the params to store."""
    declared = {param["env_var"]: param for param in metadata["input_params"]}
    params = {**request.params, API_YEAR: request.school_year}
    inputs = {file["env_var"]: file for file in metadata["input_files"]}
    _refuse_any("missing-required-params", "Missing required params", "params", _missing(declared, params))
    _refuse_any("invalid-param-values", "Invalid param values", "params", _not_allowed(declared, params))
    undeclared = [name for name in request.params if name not in declared]
    _refuse_any("unexpected-params", "Unexpected params", "params", undeclared)
    unexpected = [key for key in request.files if key not in inputs]
    _refuse_any("unexpected-files", "Unexpected files", "files", unexpected)
    _refuse_any("missing-required-files", "Missing required files", "files", _missing(inputs, request.files))
    _refuse_any("invalid-file-type", "Invalid file type", "files", _wrong_types(inputs, request.files))
    _refuse_any("invalid-param-values", "Invalid param values", "params", _unsafe(declared, request.params))
    named_badly = [key for key, name in request.files.items() if not _is_file_name(name)]
    _refuse_any("invalid-file-names", "Invalid file names", "files", named_badly)
    return params


def as_text(value: Any) -> str | None:
    """Write a param's value as a bundle sees it; none for what is not a text, a number or a boolean."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return None


def _refuse_any(rule: str, sentence: str, field: str, names: list[str]) -> None:
    if names:
        rest = len(names) - MAX_NAMED
        shown = ", ".join(names[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        raise Refused(rule, f"{sentence}: {shown}", field)


def _missing(declared: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [name for name, each in declared.items() if each["is_required"] and name not in given]


def _not_allowed(declared: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    listed = {name: param["allowed_values"] for name, param in declared.items() if param["allowed_values"]}
    return [name for name in listed if name in params and as_text(params[name]) not in listed[name]]


def _unsafe(declared: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    free = (name for name in params if name != API_YEAR and not declared[name]["allowed_values"])
    return [name for name in free if not _is_plain(as_text(params[name]))]


def _is_plain(text: str | None) -> bool:
    return text is not None and len(text) <= MAX_VALUE_LENGTH and not _UNSAFE_IN_VALUE.search(text)


def _wrong_types(inputs: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    types = {key: inputs[key]["file_type"] for key in files}
    wrong = (key for key, name in files.items() if types[key] and _extension(name) not in types[key])
    return [f"{key} ({', '.join(types[key])})" for key in wrong]


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _is_file_name(name: str) -> bool:
    return len(name) <= MAX_FILE_NAME_LENGTH and not _UNSAFE_IN_NAME.search(name)
