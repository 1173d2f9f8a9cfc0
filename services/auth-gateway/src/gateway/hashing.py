"""Hash a secret for keeping (RFC 7914)."""

import base64
import hashlib
import os

# Modest on purpose: 4 MiB and about 10 ms a login.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 4096, 8, 1


def hash_secret(secret: str) -> str:
    """Hash a secret for keeping, as `scrypt$n$r$p$salt$hash`; the issuer checks by it."""
    salt = os.urandom(16)
    digest = hashlib.scrypt(secret.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, dklen=32)
    words = (str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), _base64(salt), _base64(digest))
    return "$".join(("scrypt", *words))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
