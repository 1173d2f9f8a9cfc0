"""End what is no longer wanted. What jobs refer to is retired: they run on with what they have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, text

from jobs.catalog import ods
from jobs.catalog.changes import REMOVED, Change
from jobs.catalog.declared import DeclaredPartner
from jobs.catalog.tables import Ods

_PARTNERS = text("SELECT code FROM partner WHERE retired_at IS NULL ORDER BY code")
_TENANTS = text("SELECT code FROM tenant WHERE partner = :partner AND retired_at IS NULL ORDER BY code")
_YEARS = text("SELECT school_year FROM partner_year WHERE partner = :partner ORDER BY school_year")
_BUNDLES = text("SELECT bundle_key FROM bundle_enablement WHERE partner = :partner ORDER BY bundle_key")
_RETIRE_PARTNER = text("UPDATE partner SET retired_at = now() WHERE code = :partner")
_RETIRE_TENANT = text("UPDATE tenant SET retired_at = now() WHERE partner = :partner AND code = :code")
_REMOVE_YEAR = text("DELETE FROM partner_year WHERE partner = :partner AND school_year = :code")
_REMOVE_BUNDLE = text("DELETE FROM bundle_enablement WHERE partner = :partner AND bundle_key = :code")
_RETIRE_ODS = text("UPDATE ods SET retired_at = now() WHERE id = :id")


@dataclass(frozen=True, kw_only=True)
class Prune:
    """What ends when it is not declared: `parts` of the partners declared, other `partners` whole."""

    parts: bool = False
    partners: bool = False


KEEP = Prune()


def unnamed(connection: Connection, declared: Sequence[DeclaredPartner], prune: Prune) -> Iterator[Change]:
    """Plan the end of everything that is not declared, as far as `prune` asks."""
    if prune.parts:
        for each in declared:
            yield from _parts(connection, each)
    if prune.partners:
        named = {each.code for each in declared}
        for code in connection.execute(_PARTNERS).scalars().all():
            if code not in named:
                yield from partner(connection, code)


def partner(connection: Connection, code: str) -> Iterator[Change]:
    """Plan the end of a partner and all its parts; none when there is no such partner."""
    if code in connection.execute(_PARTNERS).scalars().all():
        yield from _parts(connection, DeclaredPartner(code=code))
        yield _end("partner", code, "retired", _RETIRE_PARTNER, partner=code)


def tenant(connection: Connection, partner: str, code: str) -> Iterator[Change]:
    """Plan the end of a tenant and its connections; none when there is no such tenant."""
    if code in _codes(connection, _TENANTS, partner):
        for each in ods.live_of(connection, partner):
            if each.tenant == code:
                yield retire_ods(each)
        yield _tenant(partner, code)


def year(connection: Connection, partner: str, code: str) -> Iterator[Change]:
    """Plan the end of a partner's school year; its ODS stay, for they are a tenant's."""
    if code in _codes(connection, _YEARS, partner):
        yield _year(partner, code)


def bundle(connection: Connection, partner: str, key: str) -> Iterator[Change]:
    """Plan that a partner may no longer use a bundle."""
    if key in _codes(connection, _BUNDLES, partner):
        yield _bundle(partner, key)


def retire_ods(stored: Ods) -> Change:
    """Plan the end of a connection; jobs created with it keep it."""
    subject = f"{stored.partner}/{stored.tenant} {stored.end_year}"
    return _end("ods", subject, f"retired: {stored.url}", _RETIRE_ODS, id=stored.id)


def _parts(connection: Connection, declared: DeclaredPartner) -> Iterator[Change]:
    code = declared.code
    connections = {(each.tenant, each.year) for each in declared.ods}
    for stored in ods.live_of(connection, code):
        if (stored.tenant, stored.end_year) not in connections:
            yield retire_ods(stored)
    for each in _other(connection, _BUNDLES, code, (bundle.key for bundle in declared.bundles)):
        yield _bundle(code, each)
    for each in _other(connection, _YEARS, code, (year.code for year in declared.years)):
        yield _year(code, each)
    for each in _other(connection, _TENANTS, code, (tenant.code for tenant in declared.tenants)):
        yield _tenant(code, each)


def _codes(connection: Connection, query: TextClause, partner: str) -> list[str]:
    return [str(code) for code in connection.execute(query, {"partner": partner}).scalars()]


def _other(connection: Connection, query: TextClause, partner: str, named: Iterable[str]) -> list[str]:
    kept = set(named)
    return [code for code in _codes(connection, query, partner) if code not in kept]


def _tenant(partner: str, code: str) -> Change:
    return _end("tenant", f"{partner}/{code}", "retired", _RETIRE_TENANT, partner=partner, code=code)


def _year(partner: str, code: str) -> Change:
    return _end("year", f"{partner} {code}", "", _REMOVE_YEAR, partner=partner, code=code)


def _bundle(partner: str, key: str) -> Change:
    return _end("bundle", f"{partner} {key}", "", _REMOVE_BUNDLE, partner=partner, code=key)


def _end(noun: str, subject: str, shown: str, statement: TextClause, **values: Any) -> Change:
    return Change(sign=REMOVED, noun=noun, subject=subject, shown=shown, statement=statement, values=values)
