"""Read a bundle's `_metadata.yaml` (external-api.md §6). Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# A bundle comes from outside: what it names may become the environment of a process of ours.
_RESERVED = re.compile(
    r"(?i)(LD_|DYLD_|PYTHON|GIT_|AWS_|DASK_)\w*|PATH|HOME|SHELL|ENV|BASH_ENV|IFS|TMPDIR|LANG|LC_ALL"
    r"|OUTPUT_DIR|STATE_FILE|BUNDLE_DIR|TEMPORARY_DIRECTORY|DATA_DIR"
)
_KNOWN = (
    "display_name",
    "path",
    "valid_edfi",
    "report_resources",
    "input_files",
    "input_params",
    "descriptor_mapping_files",
)


class MetadataFaulty(Exception):
    """The metadata does not say what a bundle needs; one sentence a fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a bundle asks of a job, in one spelling: `document` is what is stored and shown."""

    key: str
    document: Mapping[str, Any]
    warnings: list[str]

    def variables(self) -> set[str]:
        """Name the variables a job fills in."""
        asked = (*self.document["input_files"], *self.document["input_params"])
        return {each["env_var"] for each in asked}


@dataclass
class _Reader:
    """Collects faults while the parts are read."""

    faults: list[str] = field(default_factory=list)

    def text(self, value: Any, where: str, default: str = "") -> str:
        if value is None:
            return default
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        self.faults.append(f"{where} must be a text")
        return default

    def flag(self, value: Any, where: str) -> bool:
        if value is None or isinstance(value, bool):
            return bool(value)
        self.faults.append(f"{where} must be true or false")
        return False

    def texts(self, value: Any, where: str) -> list[str]:
        return self.each(value, where, self.value)

    def each(self, value: Any, where: str, read: Callable[[Any, str], Any]) -> list[Any]:
        """Read a list; absent, empty and null all mean none."""
        if value is None or value == "":
            return []
        if not isinstance(value, list):
            self.faults.append(f"{where} must be a list")
            return []
        return [read(item, f"{where}[{number}]") for number, item in enumerate(value)]

    def value(self, value: Any, where: str) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            self.faults.append(f"{where} must be a text")
        return self.text(value, where)

    def input_file(self, value: Any, where: str) -> dict[str, Any]:
        types = self._member(value, "file_type")
        types = [types] if isinstance(types, str) else types
        endings = [each.lower().lstrip(".") for each in self.texts(types, f"{where}.file_type")]
        return {**self._input(value, where), "file_type": endings}

    def input_param(self, value: Any, where: str) -> dict[str, Any]:
        allowed = self.texts(self._member(value, "allowed_values"), f"{where}.allowed_values")
        return {**self._input(value, where), "allowed_values": allowed}

    def _input(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.faults.append(f"{where} must be an object")
        name = self.text(self._member(value, "env_var"), f"{where}.env_var")
        if not VARIABLE.fullmatch(name):
            self.faults.append(f"{where}.env_var must be the name of a variable")
        elif _RESERVED.fullmatch(name):
            self.faults.append(f"{where}.env_var must not be {name}: it is not a bundle's to set")
        shown = self.text(self._member(value, "display_name"), f"{where}.display_name", default=name)
        required = self.flag(self._member(value, "is_required"), f"{where}.is_required")
        return {"env_var": name, "display_name": shown, "is_required": required}

    @staticmethod
    def _member(value: Any, name: str) -> Any:
        return value.get(name) if isinstance(value, dict) else None


def read(text: str) -> Metadata:
    """Read the YAML of a bundle's metadata, or raise MetadataFaulty with every fault."""
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise MetadataFaulty([f"it is not YAML: {' '.join(str(error).split())[:200]}"]) from error
    if not isinstance(raw, dict):
        raise MetadataFaulty(["it is not an object"])
    reader = _Reader()
    document = _document(raw, reader)
    reader.faults += _faults_of(document)
    if reader.faults:
        raise MetadataFaulty(reader.faults)
    warnings = [f"_metadata: {name} is not a key we know" for name in raw if name not in _KNOWN]
    return Metadata(key=document["path"], document=document, warnings=warnings)


def _document(raw: dict[Any, Any], reader: _Reader) -> dict[str, Any]:
    path = reader.text(raw.get("path"), "path").strip("/")
    return {
        "display_name": reader.text(raw.get("display_name"), "display_name", default=path.rpartition("/")[2]),
        "path": path,
        "valid_edfi": reader.text(raw.get("valid_edfi"), "valid_edfi"),
        "report_resources": reader.texts(raw.get("report_resources"), "report_resources"),
        "input_files": reader.each(raw.get("input_files"), "input_files", reader.input_file),
        "input_params": reader.each(raw.get("input_params"), "input_params", reader.input_param),
        "descriptor_mapping_files": reader.texts(
            raw.get("descriptor_mapping_files"), "descriptor_mapping_files"
        ),
    }


def _faults_of(document: dict[str, Any]) -> list[str]:
    faults = [] if KEY.fullmatch(document["path"]) else ["path must be two names with a slash between them"]
    names = [each["env_var"] for each in (*document["input_files"], *document["input_params"])]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    return faults + [f"{name} is declared more than once" for name in repeated]
