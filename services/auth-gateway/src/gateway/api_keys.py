"""API keys: `rl_`, a public prefix, `_`, a secret. Kept as prefix and hash; the secret is shown once.

The hash is plain SHA-256: a secret of 32 random letters and digits has 190 bits, so nobody can try them
through, and a slow hash would only slow down every request of an honest caller.
"""

import hashlib
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from common.principal import Principal
from gateway import revocations

PREFIX_LETTERS, SECRET_LETTERS = 8, 32
_ALPHABET = string.ascii_letters + string.digits

_COLUMNS = """
    id, name, prefix, scopes, partners, owner_issuer, owner_client_id, requests_per_hour, active,
    created_at, updated_at, expires_at, total_requests, counted_hour, counted_requests, last_used_at
"""
_MAY_MANAGE = "(:everyone OR (owner_issuer = :issuer AND owner_client_id = :client_id))"
_INSERT = text(f"""
    INSERT INTO gateway.api_key
        (name, prefix, secret_sha256, scopes, partners, owner_issuer, owner_client_id, created_by,
         requests_per_hour, expires_at)
    VALUES (:name, :prefix, :secret_sha256, :scopes, :partners, :owner_issuer, :owner_client_id, :created_by,
            :requests_per_hour, :expires_at)
    RETURNING {_COLUMNS}
""")  # noqa: S608 (our own words)
_LIST = text(f"SELECT {_COLUMNS} FROM gateway.api_key WHERE {_MAY_MANAGE} ORDER BY id")  # noqa: S608
_GET = text(f"SELECT {_COLUMNS} FROM gateway.api_key WHERE id = :id AND {_MAY_MANAGE} FOR UPDATE")  # noqa: S608
_UPDATE = text(f"""
    UPDATE gateway.api_key
    SET name = :name, active = :active, scopes = :scopes, requests_per_hour = :requests_per_hour,
        updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
    WHERE id = :id RETURNING {_COLUMNS}
""")  # noqa: S608
_DELETE = text("DELETE FROM gateway.api_key WHERE id = :id")
_AFTER_ALL = text("SELECT clock_timestamp() + interval '1 second'")
_OWNER = text("SELECT owner_issuer, owner_client_id, requests_per_hour FROM gateway.api_key WHERE id = :id")


class KeyUnknown(Exception):
    """There is no such key, or it is not the caller's to see."""


class BeyondItsMaker(Exception):
    """A key would have what its maker has not; `beyond` names it."""

    def __init__(self, beyond: Sequence[str]) -> None:
        self.beyond = list(beyond)
        super().__init__(", ".join(beyond))


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The application a key belongs to, by its issuer."""

    issuer: str
    client_id: str


@dataclass(frozen=True, kw_only=True)
class Manager:
    """Whose keys a caller may see and change: those of its owner, or everyone's."""

    owner: Owner
    everyone: bool

    @property
    def values(self) -> dict[str, Any]:
        return {
            "everyone": self.everyone,
            "issuer": self.owner.issuer,
            "client_id": self.owner.client_id,
        }


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is kept. `counted_requests` of `counted_hour` are in `total_requests` already."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    partners: tuple[str, ...]
    owner_issuer: str
    owner_client_id: str
    requests_per_hour: int | None
    active: bool
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    total_requests: int
    counted_hour: int
    counted_requests: int
    last_used_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What a key is to be."""

    name: str
    scopes: Sequence[str]
    partners: Sequence[str]
    requests_per_hour: int | None
    expires_at: datetime | None


def create(connection: Connection, wish: NewKey, owner: Owner, created_by: str) -> tuple[ApiKey, str]:
    """Make a key and return it with its token, which nobody can tell afterwards."""
    prefix, secret = _random(PREFIX_LETTERS), _random(SECRET_LETTERS)
    token = f"rl_{prefix}_{secret}"
    values = {
        "name": wish.name,
        "prefix": prefix,
        "secret_sha256": hash_of(token),
        "scopes": list(wish.scopes),
        "partners": list(wish.partners),
        "owner_issuer": owner.issuer,
        "owner_client_id": owner.client_id,
        "created_by": created_by,
        "requests_per_hour": wish.requests_per_hour,
        "expires_at": wish.expires_at,
    }
    return _read(connection.execute(_INSERT, values).mappings().one()), token


def listed(connection: Connection, manager: Manager) -> list[ApiKey]:
    """List the keys a caller may manage."""
    return [_read(row) for row in connection.execute(_LIST, manager.values).mappings()]


def get(connection: Connection, key_id: int, manager: Manager) -> ApiKey:
    """Find a key and hold it until the transaction ends. Raises KeyUnknown."""
    row = connection.execute(_GET, {**manager.values, "id": key_id}).mappings().one_or_none()
    if row is None:
        raise KeyUnknown(key_id)
    return _read(row)


def change(connection: Connection, key: ApiKey, changes: Mapping[str, Any]) -> ApiKey:
    """Change a key; what workers remember of it ends with the commit."""
    values = {
        "id": key.id,
        "name": key.name,
        "active": key.active,
        "scopes": list(key.scopes),
        "requests_per_hour": key.requests_per_hour,
        **changes,
    }
    changed = _read(connection.execute(_UPDATE, values).mappings().one())
    revocations.revoke(connection, revocations.API_KEY, str(key.id), changed.updated_at)
    return changed


def delete(connection: Connection, key: ApiKey) -> None:
    """Delete a key; what workers remember of it ends with the commit."""
    connection.execute(_DELETE, {"id": key.id})
    after_all = connection.execute(_AFTER_ALL).scalar_one()
    revocations.revoke(connection, revocations.API_KEY, str(key.id), after_all)


def owner_of(connection: Connection, caller: Principal) -> Owner:
    """The application a caller acts for: a client's own, or that of a key. Raises KeyUnknown."""
    if caller.kind != "api-key":
        return Owner(issuer=caller.issuer, client_id=caller.client_id or caller.subject)
    row = _row_of(connection, caller)
    return Owner(issuer=row["owner_issuer"], client_id=row["owner_client_id"])


def quota_of(connection: Connection, caller: Principal) -> int | None:
    """The requests an hour of a key's own, if it has any. Raises KeyUnknown."""
    if caller.kind != "api-key":
        return None
    own: int | None = _row_of(connection, caller)["requests_per_hour"]
    return own


def _row_of(connection: Connection, caller: Principal) -> RowMapping:
    row = connection.execute(_OWNER, {"id": int(caller.subject)}).mappings().one_or_none()
    if row is None:
        raise KeyUnknown(caller.subject)
    return row


def _read(row: RowMapping) -> ApiKey:
    return ApiKey(**{**row, "scopes": tuple(row["scopes"]), "partners": tuple(row["partners"])})


def _random(letters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(letters))


def hash_of(token: str) -> bytes:
    """Hash a key for keeping."""
    return hashlib.sha256(token.encode()).digest()
