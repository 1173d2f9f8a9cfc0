"""Partners, their tenants and years, and what belongs to a tenant in a year."""

from sqlalchemy import Connection, text

from common.database import fetch
from jobs.catalog.tables import Partner, PartnerYear, Place, StoredFile, Tenant

_PLACE = text("""
    SELECT t.code IS NOT NULL AS has_tenant,
           y.code IS NOT NULL AS knows_year,
           coalesce(p.enabled, false) AS is_year_enabled,
           coalesce(p.sends_to_ods, false) AS sends_to_ods,
           coalesce(p.needs_roster, true) AS needs_roster,
           coalesce(p.match_rate, 0.5)::float AS match_rate,
           o.id AS ods_id,
           r.id AS roster_id
    FROM (SELECT 1) AS one
    LEFT JOIN tenant t ON t.partner = :partner AND t.code = :tenant AND t.retired_at IS NULL
    LEFT JOIN school_year y ON y.code = :year
    LEFT JOIN partner_year p ON p.partner = :partner AND p.school_year = :year
    LEFT JOIN ods o ON o.partner = :partner AND o.tenant = :tenant AND o.end_year = :year
                   AND o.retired_at IS NULL
    LEFT JOIN roster r ON r.partner = :partner AND r.tenant = :tenant AND r.school_year = :year
""")
_PARTNER = text("SELECT code, name FROM partner WHERE code = :partner AND retired_at IS NULL")
_ALL = text("SELECT code, name FROM partner WHERE retired_at IS NULL ORDER BY code")
_TENANTS = text("""
    SELECT code, name FROM tenant WHERE partner = :partner AND retired_at IS NULL ORDER BY code
""")
_YEARS = text("""
    SELECT p.school_year, p.enabled, p.sends_to_ods, p.needs_roster, p.match_rate::float AS match_rate,
           array(SELECT o.tenant FROM ods o
                 WHERE o.partner = p.partner AND o.end_year = p.school_year AND o.retired_at IS NULL
                 ORDER BY o.tenant) AS ods_tenants
    FROM partner_year p
    WHERE p.partner = :partner
    ORDER BY p.school_year
""")
_ROSTER = text("""
    SELECT 'roster' AS name, object_key, sha256 FROM roster
    WHERE partner = :partner AND tenant = :tenant AND school_year = :year
""")
_MAPPINGS = text("""
    SELECT file_name AS name, object_key, sha256 FROM descriptor_mapping
    WHERE partner = :partner AND tenant = :tenant AND bundle_key = :bundle
    ORDER BY file_name
""")


def place_of(connection: Connection, partner: str, tenant: str, year: str) -> Place:
    """Look up everything the rules ask about a partner's tenant in a year; unknown ones are a Place too."""
    [row] = fetch(connection, _PLACE, {"partner": partner, "tenant": tenant, "year": year})
    return Place(**row)


def find(connection: Connection, code: str) -> Partner | None:
    """Find a partner with its tenants and years."""
    values = {"partner": code}
    found = connection.execute(_PARTNER, values).one_or_none()
    if found is None:
        return None
    tenants = tuple(Tenant(**row._mapping) for row in connection.execute(_TENANTS, values))
    years = tuple(
        PartnerYear(**{**row._mapping, "ods_tenants": tuple(row.ods_tenants)})
        for row in connection.execute(_YEARS, values)
    )
    return Partner(code=found.code, name=found.name, tenants=tenants, years=years)


def list_all(connection: Connection) -> list[tuple[str, str]]:
    """List code and name of every partner."""
    return [(row.code, row.name) for row in connection.execute(_ALL)]


def roster_of(connection: Connection, partner: str, tenant: str, year: str) -> StoredFile | None:
    """Find the roster uploaded for a tenant and year."""
    values = {"partner": partner, "tenant": tenant, "year": year}
    rows = fetch(connection, _ROSTER, values)
    return StoredFile(**rows[0]) if rows else None


def mappings_of(connection: Connection, partner: str, tenant: str, bundle: str) -> list[StoredFile]:
    """List the tenant's own descriptor mappings for a bundle."""
    values = {"partner": partner, "tenant": tenant, "bundle": bundle}
    return [StoredFile(**row) for row in fetch(connection, _MAPPINGS, values)]
