"""Connections to Ed-Fi data stores: one live a tenant and year, secrets sealed at rest."""

from dataclasses import replace

from sqlalchemy import Connection, text

from common.sealing import CannotUnseal, Sealer
from jobs.catalog.tables import Ods

_COLUMNS = "id, partner, tenant, end_year, url, token_url, client_id, client_secret"
_BY_ID = text(f"SELECT {_COLUMNS} FROM ods WHERE id = :id")  # noqa: S608 (our own constant)
_LIVE = text(
    f"SELECT {_COLUMNS} FROM ods"  # noqa: S608 (our own constant)
    " WHERE partner = :partner AND retired_at IS NULL ORDER BY tenant, end_year"
)


def context(partner: str, tenant: str, end_year: str) -> str:
    """Name the place a secret is sealed for."""
    return f"ods:{partner}/{tenant}/{end_year}"


def live_of(connection: Connection, partner: str) -> list[Ods]:
    """List a partner's live connections, secrets sealed."""
    return [Ods(**row._mapping) for row in connection.execute(_LIVE, {"partner": partner})]


def unsealed(connection: Connection, ods_id: int, sealer: Sealer) -> Ods:
    """Find a connection, live or retired, with its secret open; raises CannotUnseal."""
    ods = Ods(**connection.execute(_BY_ID, {"id": ods_id}).one()._mapping)
    return replace(ods, client_secret=_open(ods, sealer))


def has_secret(ods: Ods, secret: str, sealer: Sealer) -> bool:
    """Tell whether a stored connection holds this secret; one that cannot be opened does not."""
    try:
        return _open(ods, sealer) == secret
    except CannotUnseal:
        return False


def _open(ods: Ods, sealer: Sealer) -> str:
    return sealer.unseal(ods.client_secret, context(ods.partner, ods.tenant, ods.end_year))
