"""Bring the catalog to what a file declares: a plan first, then all of it in one transaction.

Nothing is deleted: what the file leaves out stays as it is. An ODS that moves to another URL is retired and a
new one takes its place, so that jobs keep the destination they were created with.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, TextClause, text

from common.database import lock
from common.sealing import Sealer
from jobs.catalog import ods
from jobs.catalog.declarations import DeclaredOds, DeclaredPartner
from jobs.catalog.tables import Ods
from jobs.deliveries import outbox

YEARS_CHANGED = "school-years"

_PARTNERS = text("SELECT code AS id, name FROM partner")
_TENANTS = text("SELECT partner || '/' || code AS id, name FROM tenant")
_KNOWN_YEARS = text("SELECT code AS id FROM school_year")
_YEARS = text("""
    SELECT partner || ' ' || school_year AS id, enabled, sends_to_ods, needs_roster,
           match_rate::float AS match_rate
    FROM partner_year
""")
_BUNDLES = text("SELECT partner || ' ' || bundle_key AS id, mode, student_id_name FROM bundle_enablement")
_PUT_PARTNER = text("""
    INSERT INTO partner (code, name) VALUES (:partner, :name)
    ON CONFLICT (code) DO UPDATE SET name = excluded.name
""")
_PUT_TENANT = text("""
    INSERT INTO tenant (partner, code, name) VALUES (:partner, :code, :name)
    ON CONFLICT (partner, code) DO UPDATE SET name = excluded.name
""")
_PUT_SCHOOL_YEAR = text("INSERT INTO school_year (code) VALUES (:code) ON CONFLICT DO NOTHING")
_PUT_YEAR = text("""
    INSERT INTO partner_year (partner, school_year, enabled, sends_to_ods, needs_roster, match_rate)
    VALUES (:partner, :school_year, :enabled, :sends_to_ods, :needs_roster, :match_rate)
    ON CONFLICT (partner, school_year) DO UPDATE
    SET enabled = excluded.enabled, sends_to_ods = excluded.sends_to_ods,
        needs_roster = excluded.needs_roster, match_rate = excluded.match_rate
""")
_PUT_BUNDLE = text("""
    INSERT INTO bundle_enablement (partner, bundle_key, mode, student_id_name)
    VALUES (:partner, :bundle_key, :mode, :student_id_name)
    ON CONFLICT (partner, bundle_key) DO UPDATE
    SET mode = excluded.mode, student_id_name = excluded.student_id_name
""")
_ADD_ODS = text("""
    INSERT INTO ods (partner, tenant, end_year, url, token_url, client_id, client_secret)
    VALUES (:partner, :tenant, :end_year, :url, :token_url, :client_id, :client_secret)
""")
_CHANGE_ODS = text("""
    UPDATE ods SET token_url = :token_url, client_id = :client_id, client_secret = :client_secret
    WHERE id = :id
""")
_RETIRE_ODS = text("UPDATE ods SET retired_at = now() WHERE id = :id")


class TenantMissing(Exception):
    """An ODS is declared for a tenant that neither the file nor the catalog has."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the plan, and the statement that makes it so. Its values may hold sealed secrets."""

    sentence: str
    statement: TextClause
    values: Mapping[str, Any] = field(repr=False)


def provision(
    connection: Connection, declared: Iterable[DeclaredPartner], sealer: Sealer, *, dry_run: bool = False
) -> list[Change]:
    """Plan the changes and, unless it is a dry run, make them; returns the plan, empty when all is so.

    Raises TenantMissing. Nothing is kept unless the caller's transaction commits.
    """
    lock(connection, "provisioning")
    plan = list(_plan(connection, list(declared), sealer))
    if dry_run:
        return plan
    for change in plan:
        connection.execute(change.statement, dict(change.values))
    if any(change.statement is _PUT_SCHOOL_YEAR for change in plan):
        outbox.record(connection, YEARS_CHANGED, {})
    return plan


def _plan(connection: Connection, declared: list[DeclaredPartner], sealer: Sealer) -> Iterator[Change]:
    yield from _school_years(connection, declared)
    known = [_rows(connection, query) for query in (_PARTNERS, _TENANTS, _YEARS, _BUNDLES)]
    partners, tenants, years, bundles = known
    for partner in declared:
        wish = {"name": partner.name}
        yield from _put(
            f"partner {partner.code}", partners.get(partner.code), wish, _PUT_PARTNER, partner=partner.code
        )
        yield from _tenants(partner, tenants)
        yield from _years(partner, years)
        yield from _bundles(partner, bundles)
        yield from _connections(connection, partner, tenants, sealer)


def _rows(connection: Connection, query: TextClause) -> dict[str, dict[str, Any]]:
    rows = (dict(row) for row in connection.execute(query).mappings())
    return {row.pop("id"): row for row in rows}


def _put(
    what: str, stored: dict[str, Any] | None, wish: dict[str, Any], statement: TextClause, **key: Any
) -> Iterator[Change]:
    """Plan one row: new, changed, or as it is."""
    values = {**key, **wish}
    if stored is None:
        shown = ", ".join(f"{name}={value}" for name, value in wish.items() if value is not None)
        yield Change(sentence=f"+ {what}  {shown}".rstrip(), statement=statement, values=values)
        return
    changed = [f"{name}: {stored[name]} -> {value}" for name, value in wish.items() if stored[name] != value]
    if changed:
        yield Change(sentence=f"~ {what}  {', '.join(changed)}", statement=statement, values=values)


def _school_years(connection: Connection, declared: list[DeclaredPartner]) -> Iterator[Change]:
    known = _rows(connection, _KNOWN_YEARS)
    named = {year.code for partner in declared for year in partner.years}
    named |= {each.year for partner in declared for each in partner.ods}
    for code in sorted(named):
        yield from _put(f"school year {code}", known.get(code), {}, _PUT_SCHOOL_YEAR, code=code)


def _tenants(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for tenant in partner.tenants:
        place = f"{partner.code}/{tenant.code}"
        key = {"partner": partner.code, "code": tenant.code}
        yield from _put(f"tenant {place}", known.get(place), {"name": tenant.name}, _PUT_TENANT, **key)


def _years(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for year in partner.years:
        names = ("enabled", "sends_to_ods", "needs_roster", "match_rate")
        wish = {name: getattr(year, name) for name in names}
        place, key = f"{partner.code} {year.code}", {"partner": partner.code, "school_year": year.code}
        yield from _put(f"year {place}", known.get(place), wish, _PUT_YEAR, **key)


def _bundles(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for bundle in partner.bundles:
        wish = {"mode": bundle.mode, "student_id_name": bundle.student_id_name}
        place, key = f"{partner.code} {bundle.key}", {"partner": partner.code, "bundle_key": bundle.key}
        yield from _put(f"bundle {place}", known.get(place), wish, _PUT_BUNDLE, **key)


def _connections(
    connection: Connection, partner: DeclaredPartner, tenants: Mapping[str, Any], sealer: Sealer
) -> Iterator[Change]:
    live = {(each.tenant, each.end_year): each for each in ods.live_of(connection, partner.code)}
    declared_tenants = {tenant.code for tenant in partner.tenants}
    for wish in partner.ods:
        if wish.tenant not in declared_tenants and f"{partner.code}/{wish.tenant}" not in tenants:
            raise TenantMissing(f"ODS of {partner.code}/{wish.tenant} {wish.year}: there is no such tenant")
        yield from _connection(partner.code, wish, live.get((wish.tenant, wish.year)), sealer)


def _connection(partner: str, wish: DeclaredOds, stored: Ods | None, sealer: Sealer) -> Iterator[Change]:
    what = f"ods {partner}/{wish.tenant} {wish.year}"
    if stored is not None and stored.url == wish.url:
        yield from _credentials(what, partner, wish, stored, sealer)
        return
    if stored is not None:
        sentence = f"- {what}  retired: {stored.url}"
        yield Change(sentence=sentence, statement=_RETIRE_ODS, values={"id": stored.id})
    key = {"partner": partner, "tenant": wish.tenant, "end_year": wish.year, "url": wish.url}
    values = {**key, **_sealed(partner, wish, sealer)}
    yield Change(sentence=f"+ {what}  {wish.url}", statement=_ADD_ODS, values=values)


def _credentials(what: str, partner: str, wish: DeclaredOds, stored: Ods, sealer: Sealer) -> Iterator[Change]:
    same = {
        "token URL": stored.token_url == wish.token_url,
        "client id": stored.client_id == wish.client_id,
        "client secret": ods.has_secret(stored, wish.client_secret, sealer),
    }
    changed = [name for name, is_same in same.items() if not is_same]
    if changed:
        values = {"id": stored.id, **_sealed(partner, wish, sealer)}
        sentence = f"~ {what}  {', '.join(changed)} changed"
        yield Change(sentence=sentence, statement=_CHANGE_ODS, values=values)


def _sealed(partner: str, wish: DeclaredOds, sealer: Sealer) -> dict[str, str]:
    place = ods.context(partner, wish.tenant, wish.year)
    return {
        "token_url": wish.token_url,
        "client_id": wish.client_id,
        "client_secret": sealer.seal(wish.client_secret, place),
    }
