"""Run tokens: what opens the executor API for one lease of one run (JWT, Ed25519; RFC 9068, RFC 8037).

A ticket travels with the turn and opens only the claim; the token made at the claim opens the rest. To the
gateway we are one more issuer, whose keys it fetches from `/internal/run-keys`.
"""

from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from common.clock import Clock
from jobs.engine.tables import Run

ISSUER = "taxiway-runs"
AUDIENCE = "executor-api"
CLAIM = "run:claim"
WORK = "run:work"
SEND = "run:send"
ALGORITHM = "EdDSA"
TICKET_SECONDS = 3600
GRACE_SECONDS = 300  # a token outlives the run's time, so that an end can still be reported


class _Registry(JWSRegistry):
    """Signs with EdDSA without a warning: RFC 9864 prefers the name Ed25519, which few verifiers know yet."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[ALGORITHM]


class Signer:
    """Signs run tokens with one private key. Raises ValueError when `pem` is not an Ed25519 private key."""

    def __init__(self, pem: str, clock: Clock) -> None:
        self._key = OKPKey.import_key(pem)
        if not self._key.is_private or self._key.as_dict(private=False).get("crv") != "Ed25519":
            raise ValueError("an Ed25519 private key in PEM is expected")
        self._kid = self._key.thumbprint()  # RFC 7638
        self._registry = _Registry(algorithms=[ALGORITHM])
        self._clock = clock

    def ticket(self, run: Run) -> str:
        """Sign the ticket of a turn."""
        return self._sign(run, CLAIM, TICKET_SECONDS)[0]

    def work(self, run: Run, *, can_send: bool) -> tuple[str, datetime]:
        """Sign the token for the work itself, and say until when it is valid."""
        scope = f"{WORK} {SEND}" if can_send else WORK
        return self._sign(run, scope, life_seconds(run))

    def jwks(self) -> dict[str, Any]:
        """The public keys, as a JWK Set (RFC 7517 §5)."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "kid": self._kid, "use": "sig", "alg": ALGORITHM}]}

    def _sign(self, run: Run, scope: str, seconds: int) -> tuple[str, datetime]:
        now = int(self._clock.now().timestamp())
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._kid}
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(run.id),
            "lease": run.lease,
            "attempt": run.attempt,
            "partner": run.partner,
            "job": str(run.job_id),
            "scope": scope,
            "iat": now,
            "exp": now + seconds,
        }
        token = jwt.encode(header, claims, self._key, registry=self._registry)
        return token, datetime.fromtimestamp(now + seconds, UTC)


def life_seconds(run: Run) -> int:
    """How long a token for the work of `run` is valid."""
    return run.timeout_seconds + GRACE_SECONDS
