"""The secrets of a stack: made once, one 0600 file each, handed to processes as NAME_FILE.

Files written later than others (a new release needs a new secret) are made beside the old ones; nothing that
exists is ever replaced. URLs carry ports and are rendered anew at every start.
"""

import os
import secrets as randomness
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stack.ports import Ports

DATABASE = "taxiway"
SERVICES = ("gateway", "jobs", "outputs")
SUPERUSER = "postgres"
DATABASE_ROLES = tuple(role for service in SERVICES for role in (f"{service}_owner", service))
REDIS_USERS = ("admin", "gateway", "jobs", "executor")
S3_IDENTITIES = ("admin", "jobs", "outputs")
JWT_KEYS = ("jwt-volume-write", "jwt-volume-read", "jwt-filer-write", "jwt-filer-read")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The folder of secrets; every value is a file named for what it opens."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8").strip()

    def database_password(self, role: str) -> str:
        return self.read(f"database-password-{role}")

    def redis_password(self, user: str) -> str:
        return self.read(f"redis-password-{user}")

    def s3_keys(self, identity: str) -> tuple[str, str]:
        return self.read(f"s3-access-key-{identity}"), self.read(f"s3-secret-key-{identity}")

    def database_url(self, role: str, port: int, database: str = DATABASE) -> str:
        password = self.database_password(role)
        return f"postgresql+psycopg2://{role}:{password}@127.0.0.1:{port}/{database}"

    def redis_url(self, user: str, port: int) -> str:
        return f"redis://{user}:{self.redis_password(user)}@127.0.0.1:{port}/0"


def load_or_generate(folder: Path) -> Secrets:
    """Make every secret that is missing in the folder and leave the others as they are."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, make in _recipes().items():
        if not (folder / name).exists():
            write_private(folder / name, make())
    return Secrets(folder=folder)


def render_urls(secrets: Secrets, ports: Ports) -> None:
    """Write what follows from the secrets and the ports: connection URLs and the rings of receivers."""
    for role in (SUPERUSER, *DATABASE_ROLES):
        write_private(secrets.path(f"database-url-{role}"), secrets.database_url(role, ports.postgres))
    for user in REDIS_USERS:
        write_private(secrets.path(f"redis-url-{user}"), secrets.redis_url(user, ports.redis))
    outputs_senders = ("signing-key-outputs-from-gateway", "signing-key-outputs-from-courier")
    write_private(secrets.path("signature-keys-outputs"), " ".join(map(secrets.read, outputs_senders)))
    write_private(secrets.path("signature-keys-jobs"), secrets.read("signing-key-jobs-from-gateway"))


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read; never half-written, never readable for a moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _recipes() -> dict[str, Callable[[], str]]:
    recipes: dict[str, Callable[[], str]] = {"run-token-key": _ed25519_pem}
    for role in (SUPERUSER, *DATABASE_ROLES):
        recipes[f"database-password-{role}"] = _password
    for user in REDIS_USERS:
        recipes[f"redis-password-{user}"] = _password
    for identity in S3_IDENTITIES:
        recipes[f"s3-access-key-{identity}"] = _access_key
        recipes[f"s3-secret-key-{identity}"] = _password
    for key in JWT_KEYS:
        recipes[key] = _password
    for edge in ("jobs-from-gateway", "outputs-from-gateway", "outputs-from-courier"):
        recipes[f"signing-key-{edge}"] = _named_key
    for owner in ("issuer", "jobs"):
        recipes[f"sealing-keys-{owner}"] = _named_key
    recipes["example-ods-client-id"] = _access_key
    recipes["example-ods-client-secret"] = _password
    return recipes


def _password() -> str:
    return randomness.token_hex(24)  # hex: needs no quoting in URLs, configuration files and SQL


def _access_key() -> str:
    return randomness.token_hex(10).upper()


def _named_key() -> str:
    return f"{randomness.token_hex(4)}:{randomness.token_hex(32)}"


def _ed25519_pem() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
