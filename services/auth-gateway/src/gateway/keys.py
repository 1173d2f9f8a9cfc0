"""The public keys of an issuer: fetched on first use, cached, and kept while the issuer is away."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

from common.clock import Clock
from common.logs import get_logger

MAX_AGE_SECONDS = 300  # how late a withdrawn key is noticed
UNKNOWN_KID_PAUSE_SECONDS = 5  # between two fetches that only an unknown kid asked for
FAILURE_PAUSE_SECONDS = 2  # after a failed fetch: a dead issuer must not hold every thread
LOCK_TIMEOUT_SECONDS = 10
MIN_RSA_LETTERS = 342  # 2048 bits in base64url
MAX_KEYS = 100

_CURVES = {"ES256": ("P-256",), "ES384": ("P-384",), "ES512": ("P-521",), "EdDSA": ("Ed25519", "Ed448")}


class KeysUnavailable(Exception):
    """The issuer's keys were never seen, and it does not answer."""


class FetchFailed(Exception):
    """The issuer did not answer, or not with keys."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A verification key and what it may be used for."""

    kid: str
    alg: str
    thumbprint: str
    key: Any

    def fits(self, alg: str) -> bool:
        """Whether this type of key, on this curve, is what the algorithm takes (RFC 7518 §3.1, RFC 8037)."""
        if self.alg and self.alg != alg:
            return False
        if alg in _CURVES:
            return getattr(self.key, "curve_name", None) in _CURVES[alg]
        return str(self.key.key_type) == "RSA"


class KeySet:
    """One issuer's keys. `fetch` asks for them and raises FetchFailed; it runs in one thread at a time."""

    def __init__(self, issuer: str, fetch: Callable[[], Sequence[Any]], clock: Clock) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[PublicKey, ...] | None = None
        self._thumbprints: frozenset[str] = frozenset()
        self._fetched_at = 0.0
        self._not_before = float("-inf")

    def holds(self, thumbprint: str) -> bool:
        """Whether the key is still published; no I/O."""
        return thumbprint in self._thumbprints

    def held(self, kid: str, alg: str) -> list[PublicKey]:
        """Find such keys without I/O: none where the issuer should be asked first."""
        is_fresh = self._clock.monotonic() - self._fetched_at <= MAX_AGE_SECONDS
        return self._select(kid, alg) if is_fresh and self._keys is not None else []

    def find(self, kid: str, alg: str) -> list[PublicKey]:
        """Find the keys a token of this header may be signed with, asking the issuer where needed.

        A token without `kid` fits every key of its algorithm. Raises KeysUnavailable.
        """
        if self._keys is None:
            self._refresh(wait=True)
        elif self._clock.monotonic() - self._fetched_at > MAX_AGE_SECONDS:
            self._refresh(wait=False)
        found = self._select(kid, alg)
        if not found and self._clock.monotonic() - self._fetched_at >= UNKNOWN_KID_PAUSE_SECONDS:
            self._refresh(wait=True)
            found = self._select(kid, alg)
        return found

    def _select(self, kid: str, alg: str) -> list[PublicKey]:
        if self._keys is None:
            raise KeysUnavailable(self._issuer)
        return [key for key in self._keys if kid in ("", key.kid) and key.fits(alg)]

    def _refresh(self, *, wait: bool) -> None:
        """Fetch once for all who wait; whoever has old keys to go on with does not wait."""
        before = self._fetched_at, self._keys
        if not self._lock.acquire(blocking=wait, timeout=LOCK_TIMEOUT_SECONDS if wait else -1):
            return
        try:
            if before == (self._fetched_at, self._keys) and self._clock.monotonic() >= self._not_before:
                self._replace(parse(self._fetch()))
        except FetchFailed as error:
            self._not_before = self._clock.monotonic() + FAILURE_PAUSE_SECONDS
            get_logger().warning("issuer_keys_unavailable", issuer=self._issuer, reason=str(error))
        finally:
            self._lock.release()

    def _replace(self, keys: tuple[PublicKey, ...]) -> None:
        self._fetched_at = self._clock.monotonic()
        self._thumbprints = frozenset(key.thumbprint for key in keys)
        self._keys = keys
        get_logger().info("issuer_keys_fetched", issuer=self._issuer, kids=[key.kid for key in keys])


def parse(documents: Sequence[Any]) -> tuple[PublicKey, ...]:
    """Read the usable keys of a JWK set; others are passed over (RFC 7517 §5)."""
    keys = (_public_key(document) for document in documents[:MAX_KEYS])
    return tuple(key for key in keys if key is not None)


def _public_key(document: Any) -> PublicKey | None:
    if not isinstance(document, Mapping) or document.get("use", "sig") != "sig":
        return None
    kty = document.get("kty")
    if kty not in ("RSA", "EC", "OKP") or "d" in document:
        return None  # never a shared secret, and no private key is meant for us
    if kty == "RSA" and len(str(document.get("n", ""))) < MIN_RSA_LETTERS:
        return None
    try:
        key: Any = jwk.import_key({**document}, kty)
        thumbprint = key.thumbprint()
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    kid, alg = document.get("kid", ""), document.get("alg", "")
    if not isinstance(kid, str) or not isinstance(alg, str):
        return None
    return PublicKey(kid=kid, alg=alg, thumbprint=thumbprint, key=key)
