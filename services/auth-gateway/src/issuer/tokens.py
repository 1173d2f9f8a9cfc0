"""Write access tokens (RFC 9068) and ID tokens: plain ASCII JSON, signed with RS256."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

from issuer.clients import Client
from issuer.grants import Grant

# In base64url these three and DEL are what becomes `-` and `_`; a widespread client decodes the payload with
# the plain base64 alphabet, so they are written as escapes.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "?>~\x7f"})


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs with one key."""

    kid: str
    key: RSAKey

    def sign(self, typ: str, claims: Mapping[str, Any]) -> str:
        header = {"alg": "RS256", "typ": typ, "kid": self.kid}
        return jws.serialize_compact(header, payload(claims), self.key, algorithms=["RS256"])


def payload(claims: Mapping[str, Any]) -> bytes:
    """Write claims as JSON in ASCII, without characters whose base64url differs from base64."""
    return json.dumps(claims, separators=(",", ":"), ensure_ascii=True).translate(_ESCAPES).encode("ascii")


def access_claims(
    issuer: str, client: Client, grant: Grant, *, issued_at: int, lifetime_seconds: int
) -> dict[str, Any]:
    """The claims of an access token (RFC 9068 §2.2)."""
    return {
        "iss": issuer,
        "aud": grant.audience,
        "sub": client.client_id,
        "client_id": client.client_id,
        "azp": client.client_id,
        "client_name": client.name,
        "scope": " ".join(grant.scopes),
        "roles": list(client.roles),
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
        "jti": str(uuid.uuid4()),
    }


def id_claims(issuer: str, client: Client, *, issued_at: int, lifetime_seconds: int) -> dict[str, Any]:
    """The claims of an ID token (OpenID Connect Core 1.0 §2), meant for the client itself."""
    return {
        "iss": issuer,
        "aud": client.client_id,
        "sub": client.client_id,
        "azp": client.client_id,
        "name": client.name,
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
    }
