"""An issuer of the bench's own: its key set as files, and as many different tokens as are asked for."""

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "runway-local"
SCOPES = "create:jobs read:jobs read:jobs:output-files partner:ea"
LIFETIME_SECONDS = 86_400


class Issuer:
    """Signs RS256 tokens that live for a day. `url` is where `publish` puts its documents."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = RSAKey.generate_key(2048, auto_kid=True)

    def publish(self, folder: Path) -> None:
        """Write discovery and key set for a server of plain files."""
        (folder / ".well-known").mkdir(parents=True, exist_ok=True)
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/certs"}
        (folder / ".well-known" / "openid-configuration").write_text(json.dumps(discovery), encoding="utf-8")
        (folder / "certs").write_text(json.dumps(self.key_set()), encoding="utf-8")

    def key_set(self) -> Mapping[str, object]:
        return {"keys": [{**self._key.as_dict(private=False), "alg": "RS256", "use": "sig"}]}

    def public_pem(self) -> str:
        return self._key.as_pem(private=False).decode()

    def tokens(self, count: int) -> list[str]:
        """Sign different tokens, each of a client of its own."""
        now = int(time.time())
        return list(map(partial(self._token, now), range(count)))

    def _token(self, now: int, number: int) -> str:
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"client-{number}",
            "client_id": f"client-{number}",
            "scope": SCOPES,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": str(number),
        }
        return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": self._key.kid}, claims, self._key)
