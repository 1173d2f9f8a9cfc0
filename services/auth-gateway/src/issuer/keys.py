"""The issuer's signing keys: made on first use, sealed at rest, published before they sign.

A key's life: `created_at` published · `signs_from` signs, and the one before it stops · `retired_at` its last
token has expired, and it is withdrawn. Every process reads the table anew after a few seconds.
"""

import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from joserfc.jwk import RSAKey
from sqlalchemy import Connection, Engine, text

from common import database
from common.clock import Clock
from common.sealing import Sealer

RSA_BITS = 2048
READ_AGAIN_SECONDS = 10
LOCK = ("issuer", "keys")

_ALL = text("""
    SELECT kid, private_key, public_jwk, signs_from FROM gateway.issuer_key
    WHERE retired_at IS NULL OR retired_at > :now ORDER BY signs_from, kid
""")
_INSERT = text("""
    INSERT INTO gateway.issuer_key (kid, private_key, public_jwk, created_at, signs_from)
    VALUES (:kid, :private_key, CAST(:public_jwk AS jsonb), :now, :signs_from)
""")
_RETIRE_OTHERS = text("""
    UPDATE gateway.issuer_key
    SET retired_at = greatest(CAST(:retired_at AS timestamptz), signs_from + interval '1 s')
    WHERE kid <> :kid AND retired_at IS NULL
""")
_SEALED = text("SELECT kid, private_key FROM gateway.issuer_key ORDER BY kid FOR UPDATE")
_RESEAL = text("UPDATE gateway.issuer_key SET private_key = :sealed WHERE kid = :kid")
_FORGET = text("DELETE FROM gateway.issuer_key WHERE retired_at < :now")


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A key as the table keeps it: the private half sealed, the public half as a JWK."""

    kid: str
    sealed: str
    public_jwk: dict[str, Any]
    signs_from: datetime


class KeyRing:
    """The keys of this process: what to publish, and what to sign with; parsed private keys are kept."""

    def __init__(self, engine: Engine, sealer: Sealer, clock: Clock) -> None:
        self._engine = engine
        self._sealer = sealer
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._read_at = float("-inf")
        self._parsed: dict[str, RSAKey] = {}

    def published(self) -> list[dict[str, Any]]:
        """The public keys, those that do not sign yet or no more included."""
        return [key.public_jwk for key in self._current()]

    def signing(self) -> tuple[str, RSAKey]:
        """The key that signs now: the newest whose time has come."""
        keys = self._current()
        now = self._clock.now()  # after reading: the first key may have been made just then
        key = [key for key in keys if key.signs_from <= now][-1]
        if key.kid not in self._parsed:
            self._parsed[key.kid] = RSAKey.import_key(self._sealer.unseal(key.sealed, _context(key.kid)))
        return key.kid, self._parsed[key.kid]

    def _current(self) -> tuple[SigningKey, ...]:
        with self._lock:
            if self._clock.monotonic() - self._read_at > READ_AGAIN_SECONDS:
                self._keys = self._read()
                self._read_at = self._clock.monotonic()
            return self._keys

    def _read(self) -> tuple[SigningKey, ...]:
        now = self._clock.now()
        with database.transaction(self._engine) as connection:
            keys = stored(connection, now)
            if not any(key.signs_from <= now for key in keys):
                database.lock(connection, *LOCK)  # processes that start together make one key
                keys = stored(connection, now)
                if not any(key.signs_from <= now for key in keys):
                    create(connection, self._sealer, now, signs_from=now)
                    keys = stored(connection, now)
        return keys


def stored(connection: Connection, now: datetime) -> tuple[SigningKey, ...]:
    """Read the keys that are not withdrawn, the one that signs last among those whose time has come."""
    rows = connection.execute(_ALL, {"now": now})
    return tuple(
        SigningKey(kid=row.kid, sealed=row.private_key, public_jwk=row.public_jwk, signs_from=row.signs_from)
        for row in rows
    )


def create(connection: Connection, sealer: Sealer, now: datetime, *, signs_from: datetime) -> str:
    """Make a key, store it sealed and return its id, an RFC 7638 thumbprint."""
    key = RSAKey.generate_key(RSA_BITS, auto_kid=True)
    kid = str(key.kid)
    public = {"use": "sig", "alg": "RS256", **key.as_dict(private=False)}
    values = {
        "kid": kid,
        "private_key": sealer.seal(key.as_pem(private=True).decode(), _context(kid)),
        "public_jwk": json.dumps(public),
        "now": now,
        "signs_from": signs_from,
    }
    connection.execute(_INSERT, values)
    return kid


def rotate(
    engine: Engine, sealer: Sealer, now: datetime, *, published_for: timedelta, lifetime: timedelta
) -> str:
    """Publish a new key that signs after `published_for`; the others go when their last token has expired."""
    signs_from = now + published_for
    with database.transaction(engine) as connection:
        database.lock(connection, *LOCK)
        connection.execute(_FORGET, {"now": now})
        if not stored(connection, now):
            signs_from = now  # the first key of all has nobody to wait for
        kid = create(connection, sealer, now, signs_from=signs_from)
        slack = timedelta(seconds=2 * READ_AGAIN_SECONDS)  # until every process signs with the new one
        connection.execute(_RETIRE_OTHERS, {"kid": kid, "retired_at": signs_from + lifetime + slack})
    return kid


def reseal(engine: Engine, sealer: Sealer) -> int:
    """Seal every private key with the first sealing key; raises CannotUnseal."""
    resealed = 0
    with database.transaction(engine) as connection:
        for row in connection.execute(_SEALED).all():
            sealed = sealer.reseal(row.private_key, _context(row.kid))
            if sealed != row.private_key:
                connection.execute(_RESEAL, {"sealed": sealed, "kid": row.kid})
                resealed += 1
    return resealed


def _context(kid: str) -> str:
    return f"issuer_key:{kid}"
