"""Who is asking for a token: a client application by its id and secret, in the same time whoever asks."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from common.clock import Clock
from common.greenlets import apart

# What an unknown client's secret is checked against: the cost of a real one, and nothing matches it.
NOBODY = "scrypt$4096$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + base64.b64encode(bytes(32)).decode()
MAX_SCRYPT_BYTES = 64 * 1024 * 1024
MAX_SECRET_LENGTH = 512

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")
_CREDENTIALS = text("""
    SELECT secret_hash FROM gateway.client_application WHERE client_id = :client_id AND enabled
""")
_FIND = text("""
    SELECT id, client_id, name, secret_hash, scopes, enabled, tokens_from
    FROM gateway.client_application WHERE client_id = :client_id FOR SHARE
""")
_RULES = text("""
    SELECT role.name AS role, role.scopes, rule.partner
    FROM gateway.access_rule AS rule JOIN gateway.role ON role.id = rule.role_id
    WHERE rule.application_id = :id ORDER BY role.id, rule.partner
""")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An access rule: a role, what it allows, and for which partner; without one for everything."""

    role: str
    scopes: Sequence[str]
    partner: str | None


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client application, as it was found at `found_at`: no token for what it is now is older."""

    client_id: str
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    found_at: datetime
    tokens_from: datetime
    is_enabled: bool
    secret_hash: str = field(repr=False)

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it may use a grant: each may use the one there is (Authlib asks)."""
        return True

    def may_manage(self, owner: str) -> bool:
        """Whether it may look into and revoke tokens of the client `owner`."""
        return self.client_id == owner or "Administrator" in self.roles


def find(connection: Connection, client_id: str, clock: Clock) -> Client | None:
    """Look an application up; what cannot be an id is nobody's.

    It is locked meanwhile, and its rights are read and the time is taken under the lock: whoever disables it
    or takes a right away finds that every token with the old rights was issued before.
    """
    if not _CLIENT_ID.fullmatch(client_id):
        return None
    row = connection.execute(_FIND, {"client_id": client_id}).one_or_none()
    if row is None:
        return None
    rules = [Rule(**rule) for rule in connection.execute(_RULES, {"id": row.id}).mappings()]
    return Client(
        client_id=row.client_id,
        name=row.name,
        scopes=scopes(row.scopes, rules),
        roles=tuple(rule.role for rule in rules if rule.partner is None),
        found_at=max(clock.now(), row.tokens_from),
        tokens_from=row.tokens_from,
        is_enabled=row.enabled,
        secret_hash=row.secret_hash,
    )


def scopes(declared: Sequence[str], rules: Sequence[Rule]) -> tuple[str, ...]:
    """What an application may do: what was declared for it, then what follows from its access rules."""
    given = [scope for rule in rules for scope in rule.scopes]
    partners = [f"partner:{rule.partner}" for rule in rules if rule.partner is not None]
    return tuple(dict.fromkeys([*declared, *given, *partners]))


def kept_hash(connection: Connection, client_id: str) -> str:
    """Look up what the secret of an application is checked against; of one that may not log in, NOBODY."""
    if not _CLIENT_ID.fullmatch(client_id):
        return NOBODY
    row = connection.execute(_CREDENTIALS, {"client_id": client_id}).one_or_none()
    return str(row.secret_hash) if row is not None else NOBODY


def matches(secret: str, kept: str) -> bool:
    """Compare a secret with its hash, written as `scrypt$n$r$p$salt$hash`, in constant time."""
    try:
        _, n, r, p, salt, expected = kept.split("$")
        given, cost = secret[:MAX_SECRET_LENGTH].encode(), (int(n), int(r), int(p))
        digest = apart(_scrypt, given, base64.b64decode(salt), *cost)
        return hmac.compare_digest(digest, base64.b64decode(expected))
    except (ValueError, binascii.Error):
        return False


def _scrypt(secret: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, dklen=32, maxmem=MAX_SCRYPT_BYTES)
