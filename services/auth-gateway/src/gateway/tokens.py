"""What makes a token good: signature, then claims, then the principal it speaks for (external-api.md §1).

The issuer a token claims only chooses among the issuers we were configured with; nothing else in a token is
believed before its signature. `jwk`, `jku`, `x5u` and `x5c` headers are never looked at.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from common.principal import Identity, Principal
from gateway.keys import KeySet, PublicKey

MAX_TOKEN_BYTES = 8 * 1024
ASYMMETRIC = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
RUN_ISSUER = "taxiway-runs"
RUN_AUDIENCE = "executor-api"
_TYPES = ("at+jwt", "application/at+jwt", "jwt")  # RFC 9068 §4, RFC 7519 §5.1
_LATEST = 2**53

Claims = Mapping[str, Any]
FindKeys = Callable[[KeySet, str, str], list[PublicKey]]


class InvalidToken(Exception):
    """The token is not good; the message says why, for the log only."""


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """An issuer we believe: who it is, for whom its tokens must be meant, and what they make of a caller."""

    name: str
    audience: str
    algorithms: tuple[str, ...]
    keys: KeySet
    principal: Callable[[Claims], Principal]


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A good token: its principal, since and until when, and the key it hangs on.

    `issued_at` is 0 where a token does not say. Of an API key, `requests_per_hour` is its own quota if it has
    one, and `owner` the subject under which its application is revoked. `identities` keeps what each receiver
    is told of the principal.
    """

    principal: Principal
    has_scope: bool
    issuer: str
    key_thumbprint: str
    expires_at: float
    issued_at: float
    token_id: str
    requests_per_hour: int | None = None
    owner: str = ""
    identities: dict[str, Identity] = field(default_factory=dict, compare=False, repr=False)


def verify(
    token: str, issuers: Mapping[str, Issuer], now: float, *, find: FindKeys = KeySet.find
) -> Accepted:
    """Check a token against the issuers we believe.

    Fetches keys where they are missing, unless `find` is `KeySet.held`. Raises InvalidToken, or
    KeysUnavailable when nobody can say.
    """
    header, claims, signed, signature = _read(token)
    issuer = issuers.get(claims["iss"]) if isinstance(claims.get("iss"), str) else None
    if issuer is None:
        raise InvalidToken("unknown issuer")
    alg, kid = _header(header, issuer)
    key = _signer(find(issuer.keys, kid, alg), alg, signed, signature)
    expires_at = _check_claims(claims, issuer, now)
    return Accepted(
        principal=issuer.principal(claims),
        has_scope=isinstance(claims.get("scope"), str),
        issuer=issuer.name,
        key_thumbprint=key.thumbprint,
        expires_at=expires_at,
        issued_at=_instant(claims, "iat") or 0.0,
        token_id=_text(claims, "jti"),
    )


def peek(token: str) -> Claims:
    """Read the claims of a token nobody has verified."""
    return _read(token)[1]


def _read(token: str) -> tuple[Claims, Claims, bytes, bytes]:
    """Take a token apart: header, claims, what is signed, the signature (RFC 7515 §7.1)."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_BYTES or len(parts) != 3:
        raise InvalidToken("not a compact JWS of at most 8 KiB")
    header, claims, signature = map(_decoded, parts)
    return _object(header), _object(claims), token.rpartition(".")[0].encode(), signature


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("not base64url") from None


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise InvalidToken("not JSON") from None
    if not isinstance(value, dict):
        raise InvalidToken("not a JSON object")
    return value


def _header(header: Claims, issuer: Issuer) -> tuple[str, str]:
    alg, kid, typ = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if alg not in issuer.algorithms or not isinstance(alg, str):
        raise InvalidToken("algorithm not allowed")
    if "crit" in header:  # RFC 7515 §4.1.11: we understand no extension
        raise InvalidToken("critical header")
    if not isinstance(kid, str) or not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise InvalidToken("kid or typ not acceptable")
    return alg, kid


def _signer(keys: list[PublicKey], alg: str, signed: bytes, signature: bytes) -> PublicKey:
    algorithm = JWSRegistry.algorithms[alg]
    for key in keys:
        try:
            if algorithm.verify(signed, signature, key.key):
                return key
        except (JoseError, ValueError):
            continue
    raise InvalidToken("no key of the issuer fits the signature")


def _check_claims(claims: Claims, issuer: Issuer, now: float) -> float:
    """Check issuer, audience and times, leeway 0; return when the token ends."""
    audience = claims.get("aud")
    if claims.get("iss") != issuer.name:
        raise InvalidToken("wrong issuer")
    if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidToken("wrong audience")
    expires_at = _instant(claims, "exp")
    if expires_at is None or expires_at <= now:
        raise InvalidToken("no exp, or expired")
    if "nbf" in claims and (_instant(claims, "nbf") or math.inf) > now:
        raise InvalidToken("not yet valid")
    return expires_at


def _instant(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _LATEST:
        return None
    return float(value)


def client_principal(*, honours_roles: bool) -> Callable[[Claims], Principal]:
    """Make principals of client applications. Roles count only in the tokens of our own issuer."""

    def make(claims: Claims) -> Principal:
        scopes = frozenset(_text(claims, "scope").split(" ")) - {""}
        client_id = _text(claims, "client_id") or _text(claims, "azp")
        return Principal(
            kind="client",
            subject=_text(claims, "sub") or client_id,
            client_id=client_id,
            client_name=_text(claims, "client_name"),
            issuer=_text(claims, "iss"),
            scopes=scopes,
            partners=_partners(scopes),
            roles=_roles(claims) if honours_roles else frozenset(),
            expires_at=int(claims["exp"]),
        )

    return make


def run_principal(claims: Claims) -> Principal:
    """Make the principal of a run; every claim is ours, so a missing one makes the token invalid."""
    run, partner, job, scope = (_text(claims, name) for name in ("sub", "partner", "job", "scope"))
    lease, attempt = claims.get("lease"), claims.get("attempt")
    if not (run and partner and job and scope) or type(lease) is not int or type(attempt) is not int:
        raise InvalidToken("incomplete run token")
    return Principal(
        kind="run",
        subject=run,
        issuer=RUN_ISSUER,
        scopes=frozenset(scope.split(" ")) - {""},
        partners=frozenset({partner}),
        run=run,
        lease=lease,
        attempt=attempt,
        job=job,
        expires_at=int(claims["exp"]),
    )


def _partners(scopes: frozenset[str]) -> frozenset[str]:
    """Everything after the first colon of `partner:<code>`: exact and case-sensitive."""
    codes = (scope.removeprefix("partner:") for scope in scopes if scope.startswith("partner:"))
    return frozenset(code for code in codes if code)


def _roles(claims: Claims) -> frozenset[str]:
    roles = claims.get("roles")
    return (
        frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
    )


def _text(claims: Claims, name: str) -> str:
    """Read a claim as text; what is no text counts as absent. JSON can write text that is not Unicode."""
    value = claims.get(name)
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidToken(f"{name} is not Unicode") from None
    return value
