"""Whom an API key stands for: looked up by its prefix, compared by its hash in constant time."""

import hmac
import re
from datetime import UTC, datetime

from sqlalchemy import Engine, RowMapping, text

from common import database
from common.clock import Clock
from common.principal import Principal
from gateway import powers, revocations
from gateway.api_keys import hash_of
from gateway.tokens import Accepted, InvalidToken

KEY_ISSUER = "taxiway-keys"
NEVER = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_TOKEN = re.compile(r"rl_([A-Za-z0-9]{8})_[A-Za-z0-9]{32}")
_NO_HASH = bytes(32)

_FIND = text("""
    SELECT key.id, key.name, key.secret_sha256, key.scopes, key.partners, key.owner_issuer,
           key.owner_client_id, key.requests_per_hour, key.expires_at, key.active,
           CAST(extract(epoch FROM key.updated_at) AS float) AS updated_at,
           CASE WHEN key.owner_issuer = :own_issuer
               THEN EXISTS (SELECT FROM gateway.client_application AS application
                            WHERE application.client_id = key.owner_client_id AND application.enabled)
               ELSE NOT EXISTS (SELECT FROM gateway.revocation
                                WHERE kind = 'client' AND before_at > now()
                                    AND subject = concat(key.owner_issuer, ' ', key.owner_client_id))
           END AS is_owner_good
    FROM gateway.api_key AS key WHERE key.prefix = :prefix
""")


class KeyDesk:
    """Says whom an API key stands for. `own_issuer` has applications of ours; others may be denied."""

    def __init__(self, engine: Engine, own_issuer: str, clock: Clock) -> None:
        self._engine = engine
        self._own_issuer = own_issuer
        self._clock = clock

    def verify(self, token: str) -> Accepted:
        """Check a key. Raises InvalidToken, or Unavailable when the database does not answer."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise InvalidToken("not the form of an API key")
        with database.transaction(self._engine) as connection:
            values = {"prefix": found[1], "own_issuer": self._own_issuer}
            row = connection.execute(_FIND, values).mappings().one_or_none()
        is_right = hmac.compare_digest(hash_of(token), bytes(row["secret_sha256"]) if row else _NO_HASH)
        if row is None or not is_right:
            raise InvalidToken("unknown API key")
        if fault := _fault(row, self._clock.now()):
            raise InvalidToken(fault)
        return _accepted(row, self._owner(row["owner_issuer"], row["owner_client_id"]))

    def _owner(self, issuer: str, client_id: str) -> str:
        return client_id if issuer == self._own_issuer else revocations.foreign(issuer, client_id)


def _fault(row: RowMapping, now: datetime) -> str:
    """Say why a key that is known is not good right now."""
    if not row["active"]:
        return "inactive API key"
    if row["expires_at"] and row["expires_at"] <= now:
        return "expired API key"
    return "" if row["is_owner_good"] else "API key of an application that is disabled or denied"


def _accepted(row: RowMapping, owner: str) -> Accepted:
    expires_at = row["expires_at"]
    caller = Principal(
        kind="api-key",
        subject=str(row["id"]),
        client_id=f"key-{row['id']}",  # a client of its own, whoever owns it
        client_name=row["name"],
        issuer=KEY_ISSUER,
        scopes=powers.expanded(row["scopes"]),
        partners=frozenset(row["partners"]),
        roles=powers.roles_of(row["scopes"]),
        expires_at=int(expires_at.timestamp()) if expires_at else 0,
    )
    return Accepted(
        principal=caller,
        has_scope=True,
        issuer=KEY_ISSUER,
        key_thumbprint="",
        expires_at=expires_at.timestamp() if expires_at else NEVER,
        issued_at=row["updated_at"],  # a verdict ends with the version of the key it was made of
        token_id="",
        requests_per_hour=row["requests_per_hour"],
        owner=owner,
    )
