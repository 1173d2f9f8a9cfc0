"""Read a provisioning file: what partners, tenants, school years, bundles and ODS connections there shall be.

Pure: secrets are taken from the environment handed in, by the names the file gives.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jobs.catalog.lint import DIRECT, MATCHED
from jobs.catalog.metadata import KEY, VARIABLE

_CODE = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,64}")
_YEAR = re.compile(r"[0-9]{4}")
_EXPANSION = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class DeclarationFaulty(Exception):
    """The file cannot be applied; one sentence a fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(["The file is not usable:", *(f"  - {fault}" for fault in faults)]))


@dataclass(frozen=True, kw_only=True)
class DeclaredTenant:
    code: str
    name: str


@dataclass(frozen=True, kw_only=True)
class DeclaredYear:
    code: str
    enabled: bool
    sends_to_ods: bool
    needs_roster: bool
    match_rate: float


@dataclass(frozen=True, kw_only=True)
class DeclaredBundle:
    key: str
    mode: str | None
    student_id_name: str | None


@dataclass(frozen=True, kw_only=True)
class DeclaredOds:
    tenant: str
    year: str
    url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DeclaredPartner:
    code: str
    name: str
    tenants: list[DeclaredTenant]
    years: list[DeclaredYear]
    bundles: list[DeclaredBundle]
    ods: list[DeclaredOds]


@dataclass
class _Reader:
    """Reads members of the file's objects and collects every fault."""

    environ: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def objects(
        self, parent: Any, name: str, where: str, known: set[str]
    ) -> list[tuple[dict[str, Any], str]]:
        """Read a list of objects with the places they stand at; absent means none."""
        items = parent.get(name) or []
        if not isinstance(items, list):
            self.faults.append(f"{where}{name} must be a list")
            return []
        places = [(item, f"{where}{name}[{number}]") for number, item in enumerate(items)]
        return [(item, place) for item, place in places if self._is_object(item, place, known)]

    def _is_object(self, item: Any, place: str, known: set[str]) -> bool:
        if not isinstance(item, dict):
            self.faults.append(f"{place} must be an object")
            return False
        self.faults += [f"{place}: {name} is not a key we know" for name in item if name not in known]
        return True

    def matching(
        self, item: dict[str, Any], name: str, where: str, pattern: re.Pattern[str], hint: str
    ) -> str:
        value = item.get(name)
        written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not pattern.fullmatch(written):
            self.faults.append(f"{where}: {name} must be {hint}")
        return written

    def text(self, item: dict[str, Any], name: str, where: str, default: str) -> str:
        value = item.get(name, default)
        if not isinstance(value, str) or not value.strip() or "\x00" in value:
            self.faults.append(f"{where}: {name} must be a text")
            return default
        return value

    def flag(self, item: dict[str, Any], name: str, where: str, default: bool) -> bool:
        value = item.get(name, default)
        if not isinstance(value, bool):
            self.faults.append(f"{where}: {name} must be true or false")
            return default
        return value

    def rate(self, item: dict[str, Any], name: str, where: str, default: float) -> float:
        value = item.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.faults.append(f"{where}: {name} must be a number from 0 to 1")
            return default
        return float(value)

    def url(self, item: dict[str, Any], name: str, where: str, default: str = "") -> str:
        """Read a URL in which `${NAME}` and `${NAME:-default}` stand for variables of the environment."""
        written = _EXPANSION.sub(self._expand, str(item.get(name) or default)).rstrip("/")
        if not written.startswith(("http://", "https://")) or any(c.isspace() or c < "!" for c in written):
            self.faults.append(f"{where}: {name} must be an http:// or https:// URL")
        return written

    def _expand(self, found: re.Match[str]) -> str:
        return self.environ.get(found[1]) or found[2] or ""

    def secret(self, item: dict[str, Any], name: str, where: str) -> str:
        """Read the variable that the member names, or the file that `<variable>_FILE` names."""
        variable = self.matching(item, name, where, VARIABLE, "the name of an environment variable")
        try:
            found = self.environ.get(variable) or _content(self.environ.get(f"{variable}_FILE"))
        except OSError as error:
            found = ""
            self.faults.append(f"{where}: {variable}_FILE cannot be read: {error.strerror}")
        if not found and VARIABLE.fullmatch(variable):
            self.faults.append(f"{where}: {variable} is not set in the environment")
        return found


def _content(path: str | None) -> str:
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def read(text: str, environ: Mapping[str, str]) -> list[DeclaredPartner]:
    """Read the YAML of a provisioning file, or raise DeclarationFaulty with every fault."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeclarationFaulty([f"it is not YAML: {' '.join(str(error).split())[:200]}"]) from error
    if not isinstance(raw, dict) or set(raw) != {"partners"}:
        raise DeclarationFaulty(["it must be an object with the one key partners"])
    reader = _Reader(environ)
    known = {"code", "name", "tenants", "school_years", "bundles", "ods"}
    found = [_partner(reader, item, at) for item, at in reader.objects(raw, "partners", "", known)]
    _require_unique(reader, "partner", [partner.code for partner in found])
    if reader.faults:
        raise DeclarationFaulty(reader.faults)
    return found


def _partner(reader: _Reader, item: dict[str, Any], at: str) -> DeclaredPartner:
    code = reader.matching(item, "code", at, _CODE, "1 to 64 of A-Z a-z 0-9 _ . -")
    each = _list_reader(reader, item, f"{at}.")
    partner = DeclaredPartner(
        code=code,
        name=reader.text(item, "name", at, code or "?"),
        tenants=each("tenants", {"code", "name"}, _tenant),
        years=each("school_years", {"year", "enabled", "sends_to_ods", "needs_roster", "match_rate"}, _year),
        bundles=_bundles(reader, item, at),
        ods=each("ods", {"tenant", "year", "url", "token_url", "client_id_env", "client_secret_env"}, _ods),
    )
    _check_references(reader, partner)
    return partner


def _list_reader(reader: _Reader, item: dict[str, Any], where: str) -> Callable[..., list[Any]]:
    def each(name: str, known: set[str], read_one: Callable[..., Any]) -> list[Any]:
        return [read_one(reader, inner, at) for inner, at in reader.objects(item, name, where, known)]

    return each


def _tenant(reader: _Reader, item: dict[str, Any], at: str) -> DeclaredTenant:
    code = reader.matching(item, "code", at, _CODE, "1 to 64 of A-Z a-z 0-9 _ . -")
    return DeclaredTenant(code=code, name=reader.text(item, "name", at, code or "?"))


def _year(reader: _Reader, item: dict[str, Any], at: str) -> DeclaredYear:
    return DeclaredYear(
        code=reader.matching(item, "year", at, _YEAR, "the 4-digit year in which the school year ends"),
        enabled=reader.flag(item, "enabled", at, True),
        sends_to_ods=reader.flag(item, "sends_to_ods", at, False),
        needs_roster=reader.flag(item, "needs_roster", at, True),
        match_rate=reader.rate(item, "match_rate", at, 0.5),
    )


def _bundles(reader: _Reader, item: dict[str, Any], at: str) -> list[DeclaredBundle]:
    written = item.get("bundles") or []
    if isinstance(written, list):  # a key alone is short for an object
        written = [{"key": each} if isinstance(each, str) else each for each in written]
    known = {"key", "mode", "student_id_name"}
    found = reader.objects({"bundles": written}, "bundles", f"{at}.", known)
    return [_bundle(reader, inner, place) for inner, place in found]


def _bundle(reader: _Reader, item: dict[str, Any], at: str) -> DeclaredBundle:
    mode, column = item.get("mode"), item.get("student_id_name")
    if mode not in (None, DIRECT, MATCHED):
        reader.faults.append(f"{at}: mode must be {DIRECT} or {MATCHED}")
    if column is not None and (not isinstance(column, str) or not re.fullmatch(r"[\w .-]{1,128}", column)):
        reader.faults.append(f"{at}: student_id_name must be the name of a column")
    key = reader.matching(item, "key", at, KEY, "two names with a slash between them")
    return DeclaredBundle(key=key, mode=mode, student_id_name=column)


def _ods(reader: _Reader, item: dict[str, Any], at: str) -> DeclaredOds:
    url = reader.url(item, "url", at)
    return DeclaredOds(
        tenant=reader.matching(item, "tenant", at, _CODE, "the code of a tenant"),
        year=reader.matching(item, "year", at, _YEAR, "the 4-digit year in which the school year ends"),
        url=url,
        token_url=reader.url(item, "token_url", at, default=f"{url}/oauth/token"),
        client_id=reader.secret(item, "client_id_env", at),
        client_secret=reader.secret(item, "client_secret_env", at),
    )


def _check_references(reader: _Reader, partner: DeclaredPartner) -> None:
    tenants = [tenant.code for tenant in partner.tenants]
    _require_unique(reader, f"{partner.code}: tenant", tenants)
    _require_unique(reader, f"{partner.code}: school year", [year.code for year in partner.years])
    _require_unique(reader, f"{partner.code}: bundle", [bundle.key for bundle in partner.bundles])
    _require_unique(reader, f"{partner.code}: ODS of", [f"{ods.tenant} {ods.year}" for ods in partner.ods])


def _require_unique(reader: _Reader, what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    reader.faults += [f"{what} {name} is declared more than once" for name in repeated]
