"""Connections to Ed-Fi data stores: one live a tenant and year, secrets sealed at rest."""

import hmac
from dataclasses import replace

from sqlalchemy import Connection, text

from common.database import fetch
from common.sealing import CannotUnseal, Sealer
from jobs.catalog.tables import Ods

_COLUMNS = "id, partner, tenant, end_year, url, token_url, client_id, client_secret"
_BY_ID = text(f"SELECT {_COLUMNS} FROM ods WHERE id = :id")  # noqa: S608 (our own constant)
_LIVE = text(
    f"SELECT {_COLUMNS} FROM ods"  # noqa: S608 (our own constant)
    " WHERE partner = :partner AND retired_at IS NULL ORDER BY tenant, end_year"
)
_ALL = text(f"SELECT {_COLUMNS} FROM ods ORDER BY id FOR UPDATE")  # noqa: S608 (our own constant)
_KEEP = text("UPDATE ods SET client_secret = :sealed WHERE id = :id")


def context(partner: str, tenant: str, end_year: str) -> str:
    """Name the place a secret is sealed for."""
    return f"ods:{partner}/{tenant}/{end_year}"


def live_of(connection: Connection, partner: str) -> list[Ods]:
    """List a partner's live connections, secrets sealed."""
    return [Ods(**row._mapping) for row in connection.execute(_LIVE, {"partner": partner})]


def unsealed(connection: Connection, ods_id: int, sealer: Sealer) -> Ods:
    """Find a connection, live or retired, with its secret open; raises CannotUnseal."""
    [row] = fetch(connection, _BY_ID, {"id": ods_id})
    ods = Ods(**row)
    return replace(ods, client_secret=_open(ods, sealer))


def reseal(connection: Connection, sealer: Sealer) -> int:
    """Seal every secret with the first key, of retired connections too; raises CannotUnseal."""
    resealed = 0
    for row in connection.execute(_ALL).all():
        stored = row.client_secret
        sealed = sealer.reseal(stored, context(row.partner, row.tenant, row.end_year))
        if sealed != stored:
            connection.execute(_KEEP, {"sealed": sealed, "id": row.id})
            resealed += 1
    return resealed


def has_secret(ods: Ods, secret: str, sealer: Sealer) -> bool:
    """Tell whether a stored connection holds this secret; one that cannot be opened does not."""
    try:
        return hmac.compare_digest(_open(ods, sealer).encode(), secret.encode())
    except CannotUnseal:
        return False


def _open(ods: Ods, sealer: Sealer) -> str:
    return sealer.unseal(ods.client_secret, context(ods.partner, ods.tenant, ods.end_year))
