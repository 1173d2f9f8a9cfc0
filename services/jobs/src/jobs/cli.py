"""Commands for operators: `python -m jobs.cli provision FILE`, `python -m jobs.cli import-bundles SOURCE`.

Exit codes: 0 done, 1 something is faulty (it was named), 2 the command line or the environment is.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import logs, settings
from common.database import Unavailable, connect, transaction
from common.objects import StorageUnavailable
from common.sealing import Sealer
from common.settings import SettingsError
from jobs.app import storage
from jobs.catalog import bundles, declarations, provisioning, sources
from jobs.catalog.bundles import Report
from jobs.catalog.declarations import DeclarationFaulty
from jobs.catalog.provisioning import TenantMissing
from jobs.catalog.sources import SourceUnusable
from jobs.config import ImportSettings, ProvisionSettings

DONE, FAULTY, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what is wrong is said on standard error, without a trace."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    try:
        return command(asked)
    except SettingsError as error:
        _say_wrong(str(error))
        return UNUSABLE
    except (DeclarationFaulty, TenantMissing, SourceUnusable, OSError) as error:
        _say_wrong(str(error))
    except Unavailable as error:
        _say_wrong(f"The database does not answer: {error}")
    except StorageUnavailable as error:
        _say_wrong(f"Object storage does not answer: {error}")
    return FAULTY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.cli", description="Taxiway's catalog.")
    commands = parser.add_subparsers(required=True)
    provision = commands.add_parser("provision", help="bring the catalog to what a file declares")
    provision.add_argument("file", type=Path)
    provision.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    provision.set_defaults(command=_provision)
    importing = commands.add_parser(
        "import-bundles", help="import every bundle of a folder or git repository"
    )
    importing.add_argument("source")
    importing.add_argument("--ref", default="", help="branch, tag or commit of a git repository")
    importing.set_defaults(command=_import_bundles)
    return parser


def _provision(asked: argparse.Namespace) -> int:
    loaded = settings.load(ProvisionSettings, os.environ)
    logs.configure("jobs-cli", loaded.log_level)
    declared = declarations.read(asked.file.read_text(encoding="utf-8"), os.environ)
    engine = connect(loaded.database_url, "jobs-cli", pool_size=1)
    with transaction(engine) as connection:
        sealer = Sealer(dict(loaded.sealing_keys))
        plan = provisioning.provision(connection, declared, sealer, dry_run=asked.dry_run)
    for change in plan:
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
    engine, reports = connect(loaded.database_url, "jobs-cli", pool_size=1), []
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
