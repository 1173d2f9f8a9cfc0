"""Client applications: who may ask the issuer for a token. Statements over `client_application`."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from gateway.hashing import hash_secret
from gateway.revocations import CLIENT, revoke

APP, SERVICE_ACCOUNT = "app", "service-account"
KINDS = (APP, SERVICE_ACCOUNT)
CLIENT_ID = re.compile("[A-Za-z0-9.-]{1,100}")
_ID = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Managed:
    """A client application, without its secret. `scopes` are those it has beside its access rules."""

    id: int
    kind: str
    client_id: str
    name: str
    scopes: Sequence[str]
    enabled: bool
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(kw_only=True, eq=False)
class NameTaken(Exception):
    """Another application has this name."""

    name: str

    def __str__(self) -> str:
        return f"Another application is named {self.name}"


@dataclass(kw_only=True, eq=False)
class ApplicationUnknown(Exception):
    """There is no such application."""

    id: str


_COLUMNS = "id, kind, client_id, name, scopes, enabled, created_by, created_at, updated_at"
_LIST = text(f"""
    SELECT {_COLUMNS} FROM gateway.client_application WHERE kind = ANY (:kinds) ORDER BY id
""")  # noqa: S608 (our own words)
_FIND = f"""
    SELECT {_COLUMNS} FROM gateway.client_application
    WHERE kind = ANY (:kinds) AND {{which}} = :which FOR UPDATE
"""  # noqa: S608 (our own words)
_FIND_BY_ID = text(_FIND.format(which="CAST(id AS text)"))
_FIND_BY_CLIENT_ID = text(_FIND.format(which="client_id"))
_INSERT = text(f"""
    INSERT INTO gateway.client_application (kind, client_id, name, secret_hash, created_by)
    VALUES (:kind, :client_id, :name, :secret_hash, :created_by)
    ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}
""")  # noqa: S608 (our own words)
_ENABLE = text("""
    UPDATE gateway.client_application SET enabled = :enabled, updated_at = now() WHERE id = :id
""")
_ROTATE = text("""
    UPDATE gateway.client_application SET secret_hash = :secret_hash, updated_at = now() WHERE id = :id
""")
_TOKENS_FROM = text("UPDATE gateway.client_application SET tokens_from = :before_at WHERE id = :id")
_DELETE = text("DELETE FROM gateway.client_application WHERE id = :id")


def listed(connection: Connection, kinds: Sequence[str]) -> list[Managed]:
    """List the applications of these kinds, the oldest first."""
    return [Managed(**row._mapping) for row in connection.execute(_LIST, {"kinds": list(kinds)})]


def find(connection: Connection, id: str, kinds: Sequence[str] = KINDS) -> Managed:
    """Find an application by id and lock it. Raises ApplicationUnknown."""
    if not _ID.fullmatch(id):
        raise ApplicationUnknown(id=id)
    row = connection.execute(_FIND_BY_ID, {"kinds": list(kinds), "which": id}).one_or_none()
    if row is None:
        raise ApplicationUnknown(id=id)
    return Managed(**row._mapping)


def find_client(connection: Connection, client_id: str, kinds: Sequence[str] = KINDS) -> Managed:
    """Find an application by its client id and lock it. Raises ApplicationUnknown."""
    if not CLIENT_ID.fullmatch(client_id):
        raise ApplicationUnknown(id=client_id)
    row = connection.execute(_FIND_BY_CLIENT_ID, {"kinds": list(kinds), "which": client_id}).one_or_none()
    if row is None:
        raise ApplicationUnknown(id=client_id)
    return Managed(**row._mapping)


def create(connection: Connection, kind: str, name: str, created_by: str) -> tuple[Managed, str]:
    """Make an application and tell its secret, the only time it is known. Raises NameTaken."""
    secret = _new_secret()
    values = {
        "kind": kind,
        "client_id": f"{name.replace('_', '-')}-{secrets.token_hex(4)}",
        "name": name,
        "secret_hash": hash_secret(secret),
        "created_by": created_by,
    }
    row = connection.execute(_INSERT, values).one_or_none()
    if row is None:
        raise NameTaken(name=name)
    return Managed(**row._mapping), secret


def enable(connection: Connection, application: Managed, enabled: bool, now: datetime) -> None:
    """Let an application log in or not; a disabled one loses its tokens too."""
    connection.execute(_ENABLE, {"id": application.id, "enabled": enabled})
    if not enabled:
        end_tokens(connection, application, now)


def rotate(connection: Connection, application: Managed, now: datetime) -> str:
    """Give an application a new secret and tell it; tokens it got for the old one end."""
    secret = _new_secret()
    connection.execute(_ROTATE, {"id": application.id, "secret_hash": hash_secret(secret)})
    end_tokens(connection, application, now)
    return secret


def delete(connection: Connection, application: Managed, now: datetime) -> None:
    """Remove an application, its access rules and its tokens."""
    end_tokens(connection, application, now)
    connection.execute(_DELETE, {"id": application.id})


def end_tokens(connection: Connection, application: Managed, now: datetime) -> None:
    """Revoke every token issued until `now`, read while the application is locked.

    A token says its second only, so the line is drawn at the next one, and later tokens say they are from
    then (RFC 7519 §4.1.6).
    """
    before_at = now.replace(microsecond=0) + timedelta(seconds=1)
    connection.execute(_TOKENS_FROM, {"id": application.id, "before_at": before_at})
    revoke(connection, CLIENT, application.client_id, before_at)


def _new_secret() -> str:
    return secrets.token_urlsafe(32)
