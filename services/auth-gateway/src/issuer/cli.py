"""The issuer's command line: `python -m issuer.cli rotate | reseal`.

`rotate` brings in a new signing key, `reseal` seals those there are with the first sealing key.
"""

import argparse
import os
import sys
from datetime import timedelta

from common import database
from common.clock import SystemClock
from common.sealing import CannotUnseal, Sealer
from common.settings import SettingsError, load, whole
from issuer.config import Settings
from issuer.keys import reseal, rotate

# Longer than anybody keeps a key set: the gateway asks again after 5 minutes.
PUBLISHED_FOR_SECONDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="issuer.cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rotate", help="publish a new key, and sign with it after a while")
    command.add_argument(
        "--after", type=whole(0, 86_400), default=PUBLISHED_FOR_SECONDS, metavar="SECONDS",
        help="how long it is published before it signs (default %(default)s)",
    )  # fmt: skip
    commands.add_parser("reseal", help="seal every key with the first of SEALING_KEYS")
    arguments = parser.parse_args()
    try:
        said = run(load(Settings, os.environ), arguments)
    except (SettingsError, database.Unavailable, CannotUnseal) as error:
        sys.exit(str(error))
    print(said)  # noqa: T201 (a command's answer)


def run(settings: Settings, arguments: argparse.Namespace) -> str:
    """Do what is asked with what this process's environment says."""
    engine = database.connect(settings.database_url, "issuer-cli", pool_size=2)
    sealer, now = Sealer({**settings.sealing_keys}), SystemClock().now()
    try:
        if arguments.command == "reseal":
            return f"{reseal(engine, sealer)} sealed anew. No key needs another sealing key than the first."
        published_for = timedelta(seconds=arguments.after)
        lifetime = timedelta(seconds=settings.lifetime_seconds)
        kid = rotate(engine, sealer, now, published_for=published_for, lifetime=lifetime)
        return f"Key {kid} is published and signs in {arguments.after} s."
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
