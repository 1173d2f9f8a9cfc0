"""Read what partners, tenants, school years, bundles and ODS connections there shall be.

Pure: a file names the variables of the environment its secrets are in; a document of the admin API, whose
sender shall learn nothing of our environment, holds them itself.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from jobs.catalog.declared import (
    DeclarationFaulty,
    DeclaredBundle,
    DeclaredOds,
    DeclaredPartner,
    DeclaredTenant,
    DeclaredYear,
    Fault,
)
from jobs.catalog.lint import DIRECT, MATCHED
from jobs.catalog.metadata import KEY
from jobs.catalog.reading import Reader, canonical

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
YEAR = re.compile(r"[0-9]{4}")
_DEEPEST = 6
_PARTNER = {"code", "name", "tenants", "school_years", "bundles", "ods"}
_YEAR = {"year", "enabled", "sends_to_ods", "needs_roster", "match_rate"}
_ODS = {"tenant", "year", "url", "token_url"}
_A_CODE = "1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first"
_A_YEAR = "the 4-digit year in which the school year ends"


def read(text: str, environ: Mapping[str, str]) -> list[DeclaredPartner]:
    """Read the YAML of a provisioning file, or raise DeclarationFaulty with every fault and its line."""
    try:
        return read_document(yaml.safe_load(text), environ)
    except yaml.YAMLError as error:
        sentence = f"it is not YAML: {' '.join(str(error).split())[:200]}"
        raise DeclarationFaulty([Fault(sentence=sentence)]) from error
    except RecursionError as error:
        raise DeclarationFaulty([Fault(sentence="it is not YAML: it is nested too deeply")]) from error
    except DeclarationFaulty as error:
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
        raise DeclarationFaulty(_with_line(fault, lines) for fault in error.faults) from None


def read_document(raw: object, environ: Mapping[str, str] | None) -> list[DeclaredPartner]:
    """Read a declaration that was parsed; without an environment its credentials stand in it."""
    if not isinstance(raw, dict) or set(raw) != {"partners"}:
        raise DeclarationFaulty([Fault(sentence="it must be an object with the one key partners")])
    reader = Reader(environ)
    found = [_partner(reader, item, at) for item, at in reader.objects(raw, "partners", "", _PARTNER)]
    _require_unique(reader, "partner", [partner.code for partner in found])
    if reader.faults:
        raise DeclarationFaulty(reader.faults)
    return found


def _lines(root: yaml.Node | None) -> dict[str, int]:
    """Map the place of every member to the line it stands on."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = f"{path}.{canonical(key.value)}".strip(".")
                found[place] = key.start_mark.line + 1
                walk(value, place, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                found[f"{path}[{number}]"] = item.start_mark.line + 1
                walk(item, f"{path}[{number}]", depth + 1)

    walk(root, "", 0)
    return found


def _with_line(fault: Fault, lines: Mapping[str, int]) -> Fault:
    return replace(fault, line=lines.get(fault.path) or lines.get(fault.place, 0))


def _partner(reader: Reader, item: dict[str, Any], at: str) -> DeclaredPartner:
    each = _list_reader(reader, item, at)
    in_file = {"client_id_env", "client_secret_env"}
    credentials = in_file if reader.environ is not None else {"client_id", "client_secret"}
    partner = DeclaredPartner(
        code=reader.matching(item, "code", at, CODE, _A_CODE),
        name=reader.text(item, "name", at),
        tenants=each("tenants", {"code", "name"}, _tenant),
        years=each("school_years", _YEAR, _year),
        bundles=_bundles(reader, item, at),
        ods=each("ods", _ODS | credentials, _ods),
    )
    _check_references(reader, partner)
    return partner


def _list_reader(reader: Reader, item: dict[str, Any], where: str) -> Callable[..., list[Any]]:
    def each(name: str, known: set[str], read_one: Callable[..., Any]) -> list[Any]:
        return [read_one(reader, inner, at) for inner, at in reader.objects(item, name, where, known)]

    return each


def _tenant(reader: Reader, item: dict[str, Any], at: str) -> DeclaredTenant:
    code = reader.matching(item, "code", at, CODE, _A_CODE)
    return DeclaredTenant(code=code, name=reader.text(item, "name", at))


def _year(reader: Reader, item: dict[str, Any], at: str) -> DeclaredYear:
    return DeclaredYear(
        code=reader.matching(item, "year", at, YEAR, _A_YEAR),
        enabled=reader.flag(item, "enabled", at, True),
        sends_to_ods=reader.flag(item, "sends_to_ods", at, False),
        needs_roster=reader.flag(item, "needs_roster", at, True),
        match_rate=reader.rate(item, "match_rate", at, 0.5),
    )


def _bundles(reader: Reader, item: dict[str, Any], at: str) -> list[DeclaredBundle]:
    written = item.get("bundles") or []
    if isinstance(written, list):  # a key alone is short for an object
        written = [{"key": each} if isinstance(each, str) else each for each in written]
    known = {"key", "mode", "student_id_name"}
    found = reader.objects({"bundles": written}, "bundles", at, known)
    return [_bundle(reader, inner, place) for inner, place in found]


def _bundle(reader: Reader, item: dict[str, Any], at: str) -> DeclaredBundle:
    mode, column = item.get("mode"), item.get("student_id_name")
    if mode not in (None, DIRECT, MATCHED):
        reader.blame(at, "mode", f"must be {DIRECT} or {MATCHED}")
    if column is not None and (not isinstance(column, str) or not re.fullmatch(r"[\w .-]{1,128}", column)):
        reader.blame(at, "student_id_name", "must be the name of a column")
    key = reader.matching(item, "key", at, KEY, "two names with a slash between them")
    return DeclaredBundle(key=key, mode=mode, student_id_name=column)


def _ods(reader: Reader, item: dict[str, Any], at: str) -> DeclaredOds:
    url = reader.url(item, "url", at)
    return DeclaredOds(
        tenant=reader.matching(item, "tenant", at, CODE, "the code of a tenant"),
        year=reader.matching(item, "year", at, YEAR, _A_YEAR),
        url=url,
        token_url=reader.url(item, "token_url", at, default=f"{url}/oauth/token"),
        client_id=reader.credential(item, "client_id", at),
        client_secret=reader.credential(item, "client_secret", at),
    )


def _check_references(reader: Reader, partner: DeclaredPartner) -> None:
    tenants = [tenant.code for tenant in partner.tenants]
    _require_unique(reader, f"{partner.code}: tenant", tenants)
    _require_unique(reader, f"{partner.code}: school year", [year.code for year in partner.years])
    _require_unique(reader, f"{partner.code}: bundle", [bundle.key for bundle in partner.bundles])
    _require_unique(reader, f"{partner.code}: ODS of", [f"{ods.tenant} {ods.year}" for ods in partner.ods])


def _require_unique(reader: Reader, what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    reader.faults += [Fault(sentence=f"{what} {name} is declared more than once") for name in repeated]
