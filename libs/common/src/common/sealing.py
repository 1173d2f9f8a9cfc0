"""Secrets at rest: AES-256-GCM under a named key, so that keys can be rotated (NIST SP 800-38D).

A sealed value is `kid.nonce.ciphertext`, base64url. The first key seals, every key opens. `context` binds a
value to its row: a sealed secret moved to another row does not open.
"""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class CannotUnseal(Exception):
    """The value was sealed with a key we no longer have, for another place, or was altered."""


class Sealer:
    """Seals and unseals with a ring of 32-byte keys by name."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = keys
        self._kid = next(iter(keys))

    def seal(self, secret: str, context: str) -> str:
        nonce = os.urandom(12)
        sealed = AESGCM(self._keys[self._kid][:32]).encrypt(nonce, secret.encode(), context.encode())
        return f"{self._kid}.{_text(nonce)}.{_text(sealed)}"

    def unseal(self, value: str, context: str) -> str:
        """Open a sealed value, or raise CannotUnseal."""
        kid, nonce, sealed = [*value.split("."), "", ""][:3]
        try:
            opened = AESGCM(self._keys[kid][:32]).decrypt(_bytes(nonce), _bytes(sealed), context.encode())
        except (KeyError, ValueError, InvalidTag):
            raise CannotUnseal(f"sealed with key {kid!r}") from None
        return opened.decode()

    def reseal(self, value: str, context: str) -> str:
        """Seal a value with the first key, unless it is; raises CannotUnseal."""
        return value if value.startswith(f"{self._kid}.") else self.seal(self.unseal(value, context), context)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
