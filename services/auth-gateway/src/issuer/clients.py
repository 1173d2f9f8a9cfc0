"""Who is asking for a token: a client application by its id and secret, in the same time whoever asks."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from issuer.errors import invalid_client

# What an unknown client's secret is checked against: the cost of a real one, and nothing matches it.
NOBODY = "scrypt$4096$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + base64.b64encode(bytes(32)).decode()
MAX_SCRYPT_BYTES = 64 * 1024 * 1024
MAX_SECRET_LENGTH = 512

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")
_FIND = text("""
    SELECT client_id, name, secret_hash, scopes, roles, enabled
    FROM gateway.client_application WHERE client_id = :client_id
""")


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client application that proved itself."""

    client_id: str
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


def find(connection: Connection, client_id: str) -> Mapping[str, Any] | None:
    """Look an application up; what cannot be an id is nobody's."""
    if not _CLIENT_ID.fullmatch(client_id):
        return None
    row = connection.execute(_FIND, {"client_id": client_id}).mappings().one_or_none()
    return dict(row) if row is not None else None


def authenticate(row: Mapping[str, Any] | None, secret: str) -> Client:
    """Check the secret of an application that was looked up. Raises invalid_client.

    The work is the same for an unknown, a disabled and a known client.
    """
    is_right = matches(secret[:MAX_SECRET_LENGTH], row["secret_hash"] if row else NOBODY)
    if row is None or not is_right or not row["enabled"]:
        raise invalid_client()
    return Client(
        client_id=row["client_id"], name=row["name"], scopes=tuple(row["scopes"]), roles=tuple(row["roles"])
    )


def matches(secret: str, kept: str) -> bool:
    """Compare a secret with its hash, written as `scrypt$n$r$p$salt$hash`, in constant time."""
    try:
        _, n, r, p, salt, expected = kept.split("$")
        digest = hashlib.scrypt(
            secret.encode(),
            salt=base64.b64decode(salt),
            n=int(n), r=int(r), p=int(p), dklen=32, maxmem=MAX_SCRYPT_BYTES,
        )  # fmt: skip
        return hmac.compare_digest(digest, base64.b64decode(expected))
    except (ValueError, binascii.Error):
        return False
