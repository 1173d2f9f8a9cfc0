"""A foreign token issuer, small and of the tests' own: discovery, a key set, and tokens of any make.

It signs with `cryptography` itself, so that the gateway's JOSE library is not checked against itself.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from stack.ports import free_port

AUDIENCE = "runway-local"
SCOPES = "create:jobs read:jobs read:jobs:output-files partner:ea"
HANGING_SECONDS = 20
CURVES: Mapping[str, tuple[ec.EllipticCurve, str]] = {
    "ES256": (ec.SECP256R1(), "P-256"),
    "ES384": (ec.SECP384R1(), "P-384"),
    "ES512": (ec.SECP521R1(), "P-521"),
}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value: int, size: int = 0) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8))


class Key:
    """A signing key for one algorithm (RFC 7518 §3.1, RFC 8037 §3.1)."""

    def __init__(self, alg: str, kid: str = "") -> None:
        self.alg, self.kid = alg, kid or f"key-{alg}"
        self.private: PrivateKey
        if alg in CURVES:
            self.private = ec.generate_private_key(CURVES[alg][0])
        elif alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(65537, 2048)

    def sign(self, content: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(content)
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[self.alg[2:]]
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = utils.decode_dss_signature(self.private.sign(content, ec.ECDSA(digest)))
            size = (self.private.key_size + 7) // 8
            return r.to_bytes(size) + s.to_bytes(size)
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return self.private.sign(content, pss if self.alg.startswith("PS") else padding.PKCS1v15(), digest)

    def jwk(self) -> dict[str, str]:
        """The public half (RFC 7517)."""
        head = {"kid": self.kid, "use": "sig"}
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return {
                **head,
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url(self.private.public_key().public_bytes_raw()),
            }
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            size = (self.private.key_size + 7) // 8
            at = {"x": number(point.x, size), "y": number(point.y, size)}
            return {**head, "kty": "EC", "crv": CURVES[self.alg][1], **at}
        public = self.private.public_key().public_numbers()
        return {**head, "kty": "RSA", "n": number(public.n), "e": number(public.e)}

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class ForeignIssuer:
    """An issuer on a port of its own. It may be down, hang, and publish other keys at any time."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/tenants/foreign"
        self._released = threading.Event()
        self._released.set()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> "ForeignIssuer":
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Go down: nobody listens any more. Harmless when it does not run."""
        self._released.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def hang(self) -> "ForeignIssuer":
        """Accept requests and answer none until it is stopped."""
        self._released.clear()
        return self

    def token(self, key: Key | None = None, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Sign a token; claims that are None are left out."""
        key = key or self.keys[0]
        head = {"typ": "at+jwt", "alg": key.alg, "kid": key.kid, **(header or {})}
        return assembled(head, self.claims(**claims), key.sign)

    def claims(self, **differing: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {
            "iss": self.url,
            "sub": "foreign-subject",
            "aud": AUDIENCE,
            "client_id": "foreign-client",
            "client_name": "Foreign client",
            "scope": SCOPES,
            "iat": now,
            "exp": now + 300,
        }
        return {name: value for name, value in {**usual, **differing}.items() if value is not None}

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self._released.wait(HANGING_SECONDS)
        documents: dict[str, Any] = {
            "/tenants/foreign/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/tenants/foreign/keys": {"keys": [key.jwk() for key in self.keys]},
        }
        self.fetches += handler.path.endswith("/keys")
        content = json.dumps(documents.get(handler.path, {})).encode()
        handler.send_response(200 if handler.path in documents else 404)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def assembled(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Any) -> str:
    """Put a compact JWS together (RFC 7515 §7.1)."""
    content = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{content}.{base64url(sign(content.encode()))}"


def signed_with_the_public_key(key: Key, claims: Mapping[str, Any]) -> str:
    """Forge an HS256 token whose secret is the published key: the classic confusion of algorithms."""
    header = {"typ": "at+jwt", "alg": "HS256", "kid": key.kid}
    return assembled(header, claims, lambda text: hmac.digest(key.public_pem(), text, hashlib.sha256))
