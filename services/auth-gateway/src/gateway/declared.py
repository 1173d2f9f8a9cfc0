"""Client applications that a file declares, with their scopes and roles (gateway.cli)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from gateway.applications import CLIENT_ID
from gateway.hashing import hash_secret

ROLES = ("Researcher", "Editor", "Administrator", "Viewer")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # scope-token, RFC 6749 §3.3


@dataclass(frozen=True, kw_only=True)
class Application:
    """A client application as it is declared. Raises ValueError when it could not work."""

    client_id: str
    name: str
    secret: str
    scopes: Sequence[str] = ()
    roles: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not CLIENT_ID.fullmatch(self.client_id):
            raise ValueError("client_id: letters, digits, `.` and `-` are expected, at most 100")
        if not self.name or not self.secret:
            raise ValueError("name and secret must not be empty")
        if not all(_SCOPE.fullmatch(scope) for scope in self.scopes):
            raise ValueError("scopes: words of printable ASCII are expected")
        if not set(self.roles) <= set(ROLES):
            raise ValueError(f"roles: some of {', '.join(ROLES)} are expected")


_UPSERT = text("""
    INSERT INTO gateway.client_application (client_id, name, secret_hash, scopes)
    VALUES (:client_id, :name, :secret_hash, CAST(:scopes AS text[]))
    ON CONFLICT (client_id) DO UPDATE
    SET name = excluded.name, secret_hash = excluded.secret_hash, scopes = excluded.scopes
    RETURNING id
""")
_TAKE_OTHER_ROLES = text("""
    DELETE FROM gateway.access_rule
    WHERE application_id = :id AND partner IS NULL
        AND role_id NOT IN (SELECT id FROM gateway.role WHERE name = ANY (:roles))
""")
_GIVE_ROLES = text("""
    INSERT INTO gateway.access_rule (application_id, role_id)
    SELECT :id, id FROM gateway.role WHERE name = ANY (:roles) ON CONFLICT DO NOTHING
""")


def declare(connection: Connection, application: Application) -> None:
    """Make an application so, whether it existed or not. One that was disabled stays disabled.

    Its roles are for everything; what it was given for a partner stays.
    """
    values = {
        "client_id": application.client_id,
        "name": application.name,
        "secret_hash": hash_secret(application.secret),
        "scopes": list(application.scopes),
    }
    given = {"id": connection.execute(_UPSERT, values).scalar_one(), "roles": list(application.roles)}
    connection.execute(_TAKE_OTHER_ROLES, given)
    connection.execute(_GIVE_ROLES, given)
