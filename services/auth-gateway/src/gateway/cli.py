"""The gateway's command line: declares client applications, makes the first administrator, denies clients."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from common import database
from common.settings import SettingsError, load
from gateway import administrators, denials
from gateway.applications import NameTaken
from gateway.config import SeedSettings
from gateway.declared import Application, declare

Result = TypeVar("Result")


class SeedError(Exception):
    """The file of client applications is faulty."""


REFUSALS = (
    SeedError,
    SettingsError,
    administrators.AdministratorExists,
    NameTaken,
    database.Unavailable,
)


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

    def declare_all(connection: Connection) -> None:
        for application in applications:
            declare(connection, application)

    try:
        _in_transaction(database_url, declare_all)
    except IntegrityError as error:
        raise SeedError("two applications have the same name") from error
    return [application.client_id for application in applications]


def _seed(arguments: argparse.Namespace, database_url: str) -> str:
    return f"Client applications: {', '.join(seed(arguments.file, database_url))}"


def _first_administrator(arguments: argparse.Namespace, database_url: str) -> str:
    made, secret = _in_transaction(database_url, lambda it: administrators.make_first(it, arguments.name))
    return f"clientId: {made.client_id}\nsecret: {secret}\nThe secret is shown this once."


def _deny(arguments: argparse.Namespace, database_url: str) -> str:
    _in_transaction(database_url, lambda it: denials.deny(it, arguments.issuer, arguments.client_id))
    return f"Tokens of {arguments.client_id} from {arguments.issuer} are refused from now on."


def _allow(arguments: argparse.Namespace, database_url: str) -> str:
    _in_transaction(database_url, lambda it: denials.allow(it, arguments.issuer, arguments.client_id))
    return f"Tokens of {arguments.client_id} from {arguments.issuer} are taken again."


def _in_transaction(database_url: str, act: Callable[[Connection], Result]) -> Result:
    engine = database.connect(database_url, "gateway-cli", pool_size=2)
    try:
        with database.transaction(engine) as connection:
            return act(connection)
    finally:
        engine.dispose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway.cli", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("seed", help="declare the client applications of a YAML file")
    command.add_argument("file", type=Path)
    command.set_defaults(run=_seed)
    command = commands.add_parser("first-administrator", help="make an administrator where there is none")
    command.add_argument("--name", default="first-administrator", help="default %(default)s")
    command.set_defaults(run=_first_administrator)
    for name, run, told in (
        ("deny", _deny, "refuse every token of a client of an identity provider"),
        ("allow", _allow, "take its tokens again"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("issuer")
        command.add_argument("client_id")
        command.set_defaults(run=run)
    return parser


def main() -> None:
    arguments = _parser().parse_args()
    try:
        answer = arguments.run(arguments, load(SeedSettings, os.environ).database_url)
    except REFUSALS as error:
        sys.exit(str(error))
    print(answer)  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
