"""The gateway's command line: `python -m gateway.cli seed FILE` declares client applications from YAML."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.exc import IntegrityError

from common import database
from common.settings import SettingsError, load
from gateway.config import SeedSettings
from gateway.declared import Application, declare


class SeedError(Exception):
    """The file of client applications is faulty."""


def read(path: Path) -> list[Application]:
    """Read `clients: [{client_id, name, secret, scopes, roles}]`. Raises SeedError."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [_application(entry) for entry in document["clients"]]
    except OSError as error:
        raise SeedError(f"{path.name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SeedError(f"{path.name} has no list `clients`") from error


def _application(entry: Any) -> Application:
    try:
        return Application(**entry)
    except (TypeError, ValueError) as error:
        name = entry.get("client_id") if isinstance(entry, dict) else entry
        raise SeedError(f"client {name!r}: {error}") from error


def seed(path: Path, database_url: str) -> list[str]:
    """Declare every application of the file in one transaction and return their ids."""
    applications = read(path)
    engine = database.connect(database_url, "gateway-cli", pool_size=1)
    try:
        with database.transaction(engine) as connection:
            for application in applications:
                declare(connection, application)
    except IntegrityError as error:
        raise SeedError("two applications have the same name") from error
    finally:
        engine.dispose()
    return [application.client_id for application in applications]


def main() -> None:
    parser = argparse.ArgumentParser(prog="gateway.cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("seed", help="declare the client applications of a YAML file")
    command.add_argument("file", type=Path)
    arguments = parser.parse_args()
    try:
        ids = seed(arguments.file, load(SeedSettings, os.environ).database_url)
    except (SeedError, SettingsError, database.Unavailable) as error:
        sys.exit(str(error))
    print(f"Client applications: {', '.join(ids)}")  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
