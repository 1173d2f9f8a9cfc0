"""Bring the catalog to what is declared: a plan first, then all of it in one transaction.

Nothing is removed unless asked: what is left out stays as it is. An ODS that moves to another URL is retired
and a new one takes its place, so that jobs keep the destination they were created with.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, TextClause, text

from common.database import lock
from common.sealing import Sealer
from jobs.catalog import changes, ods, pruning
from jobs.catalog.audit import Actor
from jobs.catalog.changes import ADDED, CHANGED, Change
from jobs.catalog.declared import DeclaredOds, DeclaredPartner
from jobs.catalog.pruning import KEEP, Prune
from jobs.catalog.tables import Ods
from jobs.deliveries import outbox

YEARS_CHANGED = "school-years"

_PARTNERS = text("SELECT code AS id, name FROM partner WHERE retired_at IS NULL")
_TENANTS = text("SELECT partner || '/' || code AS id, name FROM tenant WHERE retired_at IS NULL")
_KNOWN_YEARS = text("SELECT code AS id FROM school_year")
_YEARS = text("""
    SELECT partner || ' ' || school_year AS id, enabled, sends_to_ods, needs_roster,
           match_rate::float AS match_rate
    FROM partner_year
""")
_BUNDLES = text("SELECT partner || ' ' || bundle_key AS id, mode, student_id_name FROM bundle_enablement")
_PUT_PARTNER = text("""
    INSERT INTO partner (code, name) VALUES (:partner, :name)
    ON CONFLICT (code) DO UPDATE SET name = excluded.name, retired_at = NULL
""")
_PUT_TENANT = text("""
    INSERT INTO tenant (partner, code, name) VALUES (:partner, :code, :name)
    ON CONFLICT (partner, code) DO UPDATE SET name = excluded.name, retired_at = NULL
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


class TenantMissing(Exception):
    """An ODS is declared for a tenant that neither the declaration nor the catalog has."""


class CredentialsMissing(Exception):
    """An ODS is new or gets another address: a stored secret never goes where it was not meant to."""


def provision(
    connection: Connection,
    declared: Iterable[DeclaredPartner],
    sealer: Sealer,
    *,
    actor: Actor,
    dry_run: bool = False,
    prune: Prune = KEEP,
) -> list[Change]:
    """Plan the changes and, unless it is a dry run, make them; returns the plan, empty when all is so.

    Raises TenantMissing, CredentialsMissing. Nothing is kept unless the caller's transaction commits.
    """
    lock(connection, "provisioning")
    partners = list(declared)
    plan = [*_plan(connection, partners, sealer, prune), *pruning.unnamed(connection, partners, prune)]
    if not dry_run:
        changes.apply(connection, plan, actor)
        if any(change.statement is _PUT_SCHOOL_YEAR for change in plan):
            outbox.record(connection, YEARS_CHANGED, {})
    return plan


def _plan(
    connection: Connection, declared: list[DeclaredPartner], sealer: Sealer, prune: Prune
) -> Iterator[Change]:
    yield from _school_years(connection, declared)
    known = [_rows(connection, query) for query in (_PARTNERS, _TENANTS, _YEARS, _BUNDLES)]
    partners, tenants, years, bundles = known
    for partner in declared:
        stored = partners.get(partner.code)
        wish = {"name": _name(partner.name, stored, partner.code)}
        yield from _put("partner", partner.code, stored, wish, _PUT_PARTNER, partner=partner.code)
        yield from _tenants(partner, tenants)
        yield from _years(partner, years)
        yield from _bundles(partner, bundles)
        there = {tenant.code for tenant in partner.tenants}
        if not prune.parts:
            there |= {place.partition("/")[2] for place in tenants if place.startswith(f"{partner.code}/")}
        yield from _connections(connection, partner, there, sealer)


def _rows(connection: Connection, query: TextClause) -> dict[str, dict[str, Any]]:
    rows = (dict(row) for row in connection.execute(query).mappings())
    return {row.pop("id"): row for row in rows}


def _name(wish: str | None, stored: Mapping[str, Any] | None, code: str) -> str:
    return wish or (stored["name"] if stored else code)


def _put(
    noun: str,
    subject: str,
    stored: dict[str, Any] | None,
    wish: dict[str, Any],
    statement: TextClause,
    **key: Any,
) -> Iterator[Change]:
    """Plan one row: new, changed, or as it is."""
    if stored is None:
        sign, shown = ADDED, [f"{name}={value}" for name, value in wish.items() if value is not None]
    else:
        differing = {name: value for name, value in wish.items() if stored[name] != value}
        sign, shown = CHANGED, [f"{name}: {stored[name]} -> {value}" for name, value in differing.items()]
        if not differing:
            return
    values = {**key, **wish}
    yield Change(
        sign=sign, noun=noun, subject=subject, shown=", ".join(shown), statement=statement, values=values
    )


def _school_years(connection: Connection, declared: list[DeclaredPartner]) -> Iterator[Change]:
    known = _rows(connection, _KNOWN_YEARS)
    named = {year.code for partner in declared for year in partner.years}
    named |= {each.year for partner in declared for each in partner.ods}
    for code in sorted(named):
        yield from _put("school year", code, known.get(code), {}, _PUT_SCHOOL_YEAR, code=code)


def _tenants(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for tenant in partner.tenants:
        place = f"{partner.code}/{tenant.code}"
        stored, key = known.get(place), {"partner": partner.code, "code": tenant.code}
        wish = {"name": _name(tenant.name, stored, tenant.code)}
        yield from _put("tenant", place, stored, wish, _PUT_TENANT, **key)


def _years(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for year in partner.years:
        names = ("enabled", "sends_to_ods", "needs_roster", "match_rate")
        wish = {name: getattr(year, name) for name in names}
        place, key = f"{partner.code} {year.code}", {"partner": partner.code, "school_year": year.code}
        yield from _put("year", place, known.get(place), wish, _PUT_YEAR, **key)


def _bundles(partner: DeclaredPartner, known: dict[str, dict[str, Any]]) -> Iterator[Change]:
    for bundle in partner.bundles:
        wish = {"mode": bundle.mode, "student_id_name": bundle.student_id_name}
        place, key = f"{partner.code} {bundle.key}", {"partner": partner.code, "bundle_key": bundle.key}
        yield from _put("bundle", place, known.get(place), wish, _PUT_BUNDLE, **key)


def _connections(
    connection: Connection, partner: DeclaredPartner, tenants: set[str], sealer: Sealer
) -> Iterator[Change]:
    live = {(each.tenant, each.end_year): each for each in ods.live_of(connection, partner.code)}
    for wish in partner.ods:
        if wish.tenant not in tenants:
            raise TenantMissing(f"ODS of {partner.code}/{wish.tenant} {wish.year}: there is no such tenant")
        yield from _connection(partner.code, wish, live.get((wish.tenant, wish.year)), sealer)


def _connection(partner: str, wish: DeclaredOds, stored: Ods | None, sealer: Sealer) -> Iterator[Change]:
    if stored is not None and stored.url == wish.url:
        yield from _credentials(partner, wish, stored, sealer)
        return
    if wish.client_id is None or wish.client_secret is None:
        raise CredentialsMissing(f"ODS of {partner}/{wish.tenant} {wish.year}: give client id and secret")
    if stored is not None:
        yield pruning.retire_ods(stored)
    values = {
        "partner": partner,
        "tenant": wish.tenant,
        "end_year": wish.year,
        "url": wish.url,
        "token_url": wish.token_url,
        "client_id": wish.client_id,
        "client_secret": _sealed(partner, wish, wish.client_secret, sealer),
    }
    subject = f"{partner}/{wish.tenant} {wish.year}"
    yield Change(sign=ADDED, noun="ods", subject=subject, shown=wish.url, statement=_ADD_ODS, values=values)


def _credentials(partner: str, wish: DeclaredOds, stored: Ods, sealer: Sealer) -> Iterator[Change]:
    kept = wish.client_secret is None
    same = {
        "token URL": stored.token_url == wish.token_url,
        "client id": wish.client_id in (None, stored.client_id),
        "client secret": kept or ods.has_secret(stored, wish.client_secret or "", sealer),
    }
    if kept and not same["token URL"]:
        raise CredentialsMissing(f"ODS of {partner}/{wish.tenant} {wish.year}: give the client secret")
    changed = [name for name, is_same in same.items() if not is_same]
    if not changed:
        return
    secret = wish.client_secret
    values = {
        "id": stored.id,
        "token_url": wish.token_url,
        "client_id": wish.client_id or stored.client_id,
        "client_secret": stored.client_secret if secret is None else _sealed(partner, wish, secret, sealer),
    }
    subject, shown = f"{partner}/{wish.tenant} {wish.year}", f"{', '.join(changed)} changed"
    yield Change(sign=CHANGED, noun="ods", subject=subject, shown=shown, statement=_CHANGE_ODS, values=values)


def _sealed(partner: str, wish: DeclaredOds, secret: str, sealer: Sealer) -> str:
    return sealer.seal(secret, ods.context(partner, wish.tenant, wish.year))
