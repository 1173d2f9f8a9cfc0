"""The issuer's command line: `python -m issuer.cli rotate` brings in a new signing key."""

import argparse
import os
import sys
from datetime import timedelta

from common import database
from common.clock import SystemClock
from common.sealing import Sealer
from common.settings import SettingsError, load, whole
from issuer.config import Settings
from issuer.keys import rotate

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
    arguments = parser.parse_args()
    try:
        kid = run(load(Settings, os.environ), timedelta(seconds=arguments.after))
    except (SettingsError, database.Unavailable) as error:
        sys.exit(str(error))
    print(f"Key {kid} is published and signs in {arguments.after} s.")  # noqa: T201 (a command's answer)


def run(settings: Settings, published_for: timedelta) -> str:
    """Rotate with what this process's environment says."""
    engine = database.connect(settings.database_url, "issuer-cli", pool_size=1)
    lifetime = timedelta(seconds=settings.lifetime_seconds)
    try:
        sealer, now = Sealer({**settings.sealing_keys}), SystemClock().now()
        return rotate(engine, sealer, now, published_for=published_for, lifetime=lifetime)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
