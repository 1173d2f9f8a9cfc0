"""Remember where to log in, and keep the token: two files that only their owner may read.

The secret itself is never written: it comes from the environment, from a file, or from whoever is asked.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taxiway.shell.exits import Misused
from taxiway.tokens import Token

PREFIX = "TAXIWAY_"


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who logs in, and where. `secret_file` is a path, empty when the secret comes another way."""

    gateway: str
    issuer: str
    client_id: str
    audience: str = ""
    secret_file: str = ""


def load_login(environment: Mapping[str, str]) -> Login:
    """Read the remembered login; variables such as TAXIWAY_GATEWAY win. Raises Misused without one."""
    stored = _read(_login_path(environment))
    names = Login.__dataclass_fields__
    values = {name: environment.get(PREFIX + name.upper()) or str(stored.get(name, "")) for name in names}
    values["secret_file"] = environment.get(f"{PREFIX}CLIENT_SECRET_FILE") or str(
        stored.get("secret_file", "")
    )
    if not (values["gateway"] and values["issuer"] and values["client_id"]):
        raise Misused("You are not logged in: taxiway login --gateway URL --issuer URL --client-id ID")
    return Login(**values)


def save_login(environment: Mapping[str, str], login: Login) -> Path:
    """Remember a login for later commands."""
    path = _login_path(environment)
    _write(path, asdict(login))
    return path


def known_secret(environment: Mapping[str, str], login: Login) -> str:
    """Find the secret where it need not be asked for; empty when it is nowhere."""
    given = environment.get(f"{PREFIX}CLIENT_SECRET", "")
    if given or not login.secret_file:
        return given
    try:
        return Path(login.secret_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"The file of the secret cannot be read: {error}") from None


class TokenFile:
    """Keeps the token of one client application between commands."""

    def __init__(self, environment: Mapping[str, str], login: Login) -> None:
        who = json.dumps([login.issuer, login.client_id, login.audience])
        name = f"token-{hashlib.sha256(who.encode()).hexdigest()[:16]}.json"
        self._path = _folder(environment, "XDG_CACHE_HOME", ".cache") / name

    def load(self) -> Token | None:
        """Read the token, unless others might have read or written it."""
        stored = _read(self._path)
        try:
            if self._path.stat().st_mode & 0o077:
                return None
            return Token(access_token=str(stored["access_token"]), good_until=float(stored["good_until"]))
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def save(self, token: Token) -> None:
        """Write the token with mode 0600."""
        _write(self._path, asdict(token))

    def forget(self) -> None:
        """Drop the token, so that the next one proves the credentials."""
        self._path.unlink(missing_ok=True)


def _login_path(environment: Mapping[str, str]) -> Path:
    return _folder(environment, "XDG_CONFIG_HOME", ".config") / "login.json"


def _folder(environment: Mapping[str, str], variable: str, default: str) -> Path:
    # XDG Base Directory Specification: relative paths are invalid and passed over.
    base = Path(environment.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / default) / "taxiway"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Misused(f"{path} cannot be read: {error}") from None
    return document if isinstance(document, dict) else {}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # made with mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
    os.replace(name, path)
