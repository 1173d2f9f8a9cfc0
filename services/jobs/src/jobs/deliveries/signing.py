"""How a receiver knows that a message is ours: the signatures of Standard Webhooks.

A webhook has a secret of its own (`v1`, HMAC-SHA256). A URL that no secret was agreed with gets a signature
by our own keys (`v1a`, Ed25519), whose public halves anybody may read. (Standard Webhooks 1.0)
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SECRET = "whsec_"  # noqa: S105 (what a secret begins with)
_PUBLIC_KEY = "whpk_"
_SECRET_BYTES = 32
_PURPOSE = b"taxiway platform key of webhooks"


def new_secret() -> str:
    """Make the secret of a webhook."""
    return _SECRET + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """Sign with a webhook's secret."""
    key = base64.b64decode(secret.removeprefix(_SECRET))
    digest = hmac.new(key, _signed(message_id, timestamp, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class PlatformKeys:
    """Our own keys, one derived from each sealing key (HKDF, RFC 5869), so that they rotate together."""

    def __init__(self, sealing_keys: Mapping[str, bytes]) -> None:
        self._keys = [_derived(key) for key in sealing_keys.values()]

    def sign(self, message_id: str, timestamp: int, body: str) -> str:
        """Sign with every key: while keys are rotated, one signature fits whichever a receiver has."""
        signed = _signed(message_id, timestamp, body)
        return " ".join(f"v1a,{base64.b64encode(key.sign(signed)).decode()}" for key in self._keys)

    def public(self) -> list[str]:
        """Give the public halves."""
        return [
            _PUBLIC_KEY + base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in self._keys
        ]


def _derived(key: bytes) -> Ed25519PrivateKey:
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signed(message_id: str, timestamp: int, body: str) -> bytes:
    return f"{message_id}.{timestamp}.{body}".encode()
