"""How the catalog looks to those who manage it; a partner's document may be sent back as a declaration."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from common.clock import rfc3339
from common.database import transaction
from common.problems import not_found
from jobs.api.admin.acting import missing_partner
from jobs.catalog import bundles, declarations, ods, partners
from jobs.catalog.tables import Enablement, Ods, PartnerYear, Roster
from jobs.services import services


def partner(connection: Connection, code: str) -> dict[str, Any]:
    """Show a partner with all its parts, or raise 404."""
    found = partners.find(connection, code) if declarations.CODE.fullmatch(code) else None
    if found is None:
        raise missing_partner(code)
    return {
        "code": found.code,
        "name": found.name,
        "tenants": [{"code": tenant.code, "name": tenant.name} for tenant in found.tenants],
        "schoolYears": [_year(each) for each in found.years],
        "bundles": [_bundle(each) for each in bundles.enablements_of(connection, code)],
        "ods": [_ods(each) for each in ods.live_of(connection, code)],
    }


def parts(code: str, name: str) -> list[dict[str, Any]]:
    """Show the parts of a partner of one sort, or raise 404."""
    with transaction(services().engine) as connection:
        found: list[dict[str, Any]] = partner(connection, code)[name]
    return found


def part(code: str, name: str, key: Mapping[str, str]) -> dict[str, Any]:
    """Show the one part that has these members, or raise 404."""
    found = [each for each in parts(code, name) if key.items() <= each.items()]
    if not found:
        raise not_found(f"{code} has no such part: {' '.join(key.values())}")
    return found[0]


def roster(stored: Roster) -> dict[str, Any]:
    """Show where a roster belongs and how large it is."""
    return {
        "tenant": stored.tenant,
        "schoolYear": stored.school_year,
        "sha256": stored.sha256,
        "sizeBytes": stored.size_bytes,
        "createdAt": rfc3339(stored.created_at),
    }


def _year(year: PartnerYear) -> dict[str, Any]:
    return {
        "schoolYear": year.school_year,
        "enabled": year.enabled,
        "sendsToOds": year.sends_to_ods,
        "needsRoster": year.needs_roster,
        "requiredIdMatchRate": year.match_rate,
    }


def _bundle(enabled: Enablement) -> dict[str, Any]:
    return {"bundle": enabled.bundle, "mode": enabled.mode, "studentIdName": enabled.student_id_name}


def _ods(connected: Ods) -> dict[str, Any]:
    """Show a connection; its secret is written and never shown."""
    return {
        "tenant": connected.tenant,
        "schoolYear": connected.end_year,
        "url": connected.url,
        "tokenUrl": connected.token_url,
        "clientId": connected.client_id,
    }
