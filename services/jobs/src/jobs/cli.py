"""Commands for operators: `python -m jobs.cli provision | import-bundles | roster | mapping | reseal`.

Exit codes: 0 done, 1 something is faulty (it was named), 2 the command line or the environment is.
"""

import argparse
import getpass
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import logs, settings
from common.database import Unavailable, connect, transaction
from common.objects import StorageUnavailable
from common.sealing import CannotUnseal, Sealer
from common.settings import SettingsError
from jobs.app import storage
from jobs.catalog import bundles, declarations, mappings, ods, provisioning, rosters, sources
from jobs.catalog.audit import Actor
from jobs.catalog.bundles import Report
from jobs.catalog.declared import DeclarationFaulty
from jobs.catalog.mappings import MappingFaulty, MappingNotListed
from jobs.catalog.provisioning import TenantMissing
from jobs.catalog.pruning import Prune
from jobs.catalog.rosters import PlaceUnknown, RosterFaulty
from jobs.catalog.sources import SourceUnusable
from jobs.config import ImportSettings, ProvisionSettings
from jobs.deliveries import webhooks

DONE, FAULTY, UNUSABLE = 0, 1, 2
_NAMED = (
    DeclarationFaulty, TenantMissing, SourceUnusable, RosterFaulty, PlaceUnknown, MappingFaulty,
    MappingNotListed, UnicodeDecodeError, OSError,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what is wrong is said on standard error, without a trace."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    try:
        return command(asked)
    except SettingsError as error:
        _say_wrong(str(error))
        return UNUSABLE
    except _NAMED as error:
        _say_wrong(str(error))
    except Unavailable as error:
        _say_wrong(f"The database does not answer: {error}")
    except CannotUnseal as error:
        _say_wrong(f"Nothing was changed: a secret was {error}, which is not in SEALING_KEYS, or was altered")
    except StorageUnavailable as error:
        _say_wrong(f"Object storage does not answer: {error}")
    return FAULTY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.cli", description="Taxiway's catalog.")
    commands = parser.add_subparsers(required=True)
    provision = commands.add_parser("provision", help="bring the catalog to what a file declares")
    provision.add_argument("file", type=Path)
    provision.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    provision.add_argument(
        "--prune", action="store_true", help="end what the file does not name, of the partners it names"
    )
    provision.add_argument(
        "--prune-partners", action="store_true", help="retire the partners the file does not name"
    )
    provision.set_defaults(command=_provision)
    importing = commands.add_parser(
        "import-bundles", help="import every bundle of a folder or git repository"
    )
    importing.add_argument("source")
    importing.add_argument("--ref", default="", help="branch, tag or commit of a git repository")
    importing.set_defaults(command=_import_bundles)
    _add_place(
        commands.add_parser("roster", help="put the roster of a tenant and school year"), _roster, "year"
    )
    mapping = commands.add_parser("mapping", help="put a tenant's descriptor mapping for a bundle")
    _add_place(mapping, _mapping, "bundle")
    mapping.add_argument(
        "--name", default="", help="what the bundle calls it; the file's own name if not given"
    )
    resealing = commands.add_parser("reseal", help="seal every secret with the first of SEALING_KEYS")
    resealing.set_defaults(command=_reseal)
    return parser


def _add_place(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int], last: str
) -> None:
    parser.add_argument("file", type=Path)
    for name in ("partner", "tenant", last):
        parser.add_argument(f"--{name}", required=True)
    parser.set_defaults(command=command)


def _actor() -> Actor:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        name = str(os.getuid())
    return Actor(name=f"operator:{name}", place=socket.gethostname())


def _provision(asked: argparse.Namespace) -> int:
    loaded = settings.load(ProvisionSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    declared = declarations.read(asked.file.read_text(encoding="utf-8"), os.environ)
    engine = connect(loaded.database_url, "jobs-cli", pool_size=2)
    with transaction(engine) as connection:
        sealer = Sealer(dict(loaded.sealing_keys))
        prune = Prune(parts=asked.prune or asked.prune_partners, partners=asked.prune_partners)
        plan = provisioning.provision(
            connection, declared, sealer, actor=_actor(), dry_run=asked.dry_run, prune=prune
        )
        for change in plan:  # before the commit: what is not seen is not done
            _say(change.sentence)
    _say(_summary(len(plan), asked.dry_run))
    return DONE


def _summary(changes: int, dry_run: bool) -> str:
    if not changes:
        return "Nothing to change."
    counted = "1 change" if changes == 1 else f"{changes} changes"
    return f"{counted} planned, none made." if dry_run else f"{counted} made."


def _import_bundles(asked: argparse.Namespace) -> int:
    loaded = settings.load(ImportSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    engine, reports = connect(loaded.database_url, "jobs-cli", pool_size=2), []
    with sources.opened(asked.source, asked.ref) as folder:
        for report in bundles.import_all(engine, storage(loaded), folder):
            _show(report)
            reports.append(report)
    faulty = sum(bool(report.fault) for report in reports)
    new = sum(report.is_new for report in reports)
    _say(f"{len(reports) - faulty} imported ({new} new), {faulty} faulty.")
    if not reports:
        _say_wrong(f"{asked.source} holds no folder with _metadata.yaml")
    return FAULTY if faulty or not reports else DONE


def _roster(asked: argparse.Namespace) -> int:
    loaded = settings.load(ImportSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    place = {"partner": asked.partner, "tenant": asked.tenant, "year": asked.year}
    engine = connect(loaded.database_url, "jobs-cli", pool_size=2)
    made, students = rosters.keep(engine, storage(loaded), asked.file.read_bytes(), **place, actor=_actor())
    _say(f"+ roster {asked.partner}/{asked.tenant} {asked.year}  {students} students, sha256 {made.sha256}")
    return DONE


def _mapping(asked: argparse.Namespace) -> int:
    loaded = settings.load(ImportSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    made = mappings.keep(
        connect(loaded.database_url, "jobs-cli", pool_size=2),
        storage(loaded),
        asked.file.read_bytes(),
        partner=asked.partner,
        tenant=asked.tenant,
        bundle=asked.bundle,
        name=asked.name or asked.file.name,
        actor=_actor(),
    )
    _say(f"+ mapping {asked.partner}/{asked.tenant} {asked.bundle} {made.name}  sha256 {made.sha256}")
    return DONE


def _reseal(asked: argparse.Namespace) -> int:
    loaded = settings.load(ProvisionSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    sealer = Sealer(dict(loaded.sealing_keys))
    with transaction(connect(loaded.database_url, "jobs-cli", pool_size=2)) as connection:
        resealed = ods.reseal(connection, sealer) + webhooks.reseal(connection, sealer)
    _say(f"{resealed} sealed anew. No secret needs another key than the first.")
    return DONE


def _show(report: Report) -> None:
    if report.fault:
        _say_wrong(f"x {report.name}  {report.fault}")
        return
    sign = "+" if report.is_new else "="
    _say(f"{sign} {report.name}  version {report.number}, {report.mode}")
    for warning in report.warnings:
        _say(f"    warning: {warning}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say_wrong(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
