"""The local deny list: clients of identity providers whose tokens are refused, whatever they say."""

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from gateway import audit
from gateway.administrators import COMMAND_LINE
from gateway.revocations import CLIENT, foreign, revoke

FOR_EVER = datetime.max.replace(tzinfo=UTC)
_ALLOW = text("DELETE FROM gateway.revocation WHERE kind = :kind AND subject = :subject")


def deny(connection: Connection, issuer: str, client_id: str) -> None:
    """Refuse every token of a client, within a second."""
    revoke(connection, CLIENT, foreign(issuer, client_id), FOR_EVER)
    audit.record(connection, COMMAND_LINE, "client.denied", client_id, issuer=issuer)


def allow(connection: Connection, issuer: str, client_id: str) -> None:
    """Take its tokens again."""
    connection.execute(_ALLOW, {"kind": CLIENT, "subject": foreign(issuer, client_id)})
    audit.record(connection, COMMAND_LINE, "client.allowed", client_id, issuer=issuer)
