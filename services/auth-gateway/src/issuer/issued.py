"""Tokens we issued, read back: whether they are ours, and whether they still count."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key
from sqlalchemy import Connection, text

from issuer.clients import Client

MAX_TOKEN_BYTES = 8 * 1024
_REVOKED = text("SELECT EXISTS (SELECT FROM gateway.revocation WHERE kind = 'token' AND subject = :jti)")
_REVOKE = text("""
    INSERT INTO gateway.revocation (kind, subject, before_at) VALUES ('token', :jti, :expires_at)
""")


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """An access token of ours. `owner` is its client as it is now, if there still is one."""

    claims: Mapping[str, Any]
    owner: Client | None
    is_withdrawn: bool
    now: datetime

    def is_expired(self) -> bool:
        return int(self.claims["exp"]) <= self.now.timestamp()

    def is_revoked(self) -> bool:
        """Whether it was revoked, alone or with all of its client, or its client may not log in any more."""
        if self.is_withdrawn or self.owner is None or not self.owner.is_enabled:
            return True
        return datetime.fromtimestamp(self.claims["iat"], UTC) < self.owner.tokens_from

    def check_client(self, client: Client) -> bool:
        """Whether a client may look into and revoke it."""
        return client.may_manage(self.claims["client_id"])


def read(token: str, published: Sequence[Mapping[str, Any]], issuer: str) -> dict[str, Any] | None:
    """Read the claims of an access token of ours; anything else is none."""
    if len(token) > MAX_TOKEN_BYTES:
        return None
    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
        key = next((key for key in published if key["kid"] == kid), None)
        if key is None:
            return None
        verified = jws.deserialize_compact(token, import_key({**key}, "RSA"), algorithms=["RS256"])
        claims = json.loads(verified.payload)
    except (JoseError, ValueError):
        return None
    is_ours = verified.headers().get("typ") == "at+jwt" and claims.get("iss") == issuer
    return dict(claims) if is_ours else None


def is_withdrawn(connection: Connection, claims: Mapping[str, Any]) -> bool:
    """Whether this one token was revoked."""
    return bool(connection.execute(_REVOKED, {"jti": claims["jti"]}).scalar_one())


def withdraw(connection: Connection, claims: Mapping[str, Any]) -> None:
    """Revoke this one token, for as long as it would have lived."""
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    connection.execute(_REVOKE, {"jti": claims["jti"], "expires_at": expires_at})
