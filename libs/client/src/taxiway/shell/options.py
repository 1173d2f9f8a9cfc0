"""What the command line accepts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from taxiway.shell import looking, working
from taxiway.shell.exits import LIST

_WAIT_SECONDS = 6 * 3600


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line; a faulty one ends the process with 2, as argparse does."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse does not take inputs on both sides of an option.
    if rest and (not hasattr(options, "inputs") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.inputs += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="taxiway",
        description="Create jobs at a Taxiway, follow them, and fetch what they made.",
        epilog=LIST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_looking(commands)
    _add_working(commands)
    return parser


def _add_looking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    login = _add(commands, "login", "get a token and remember where; the secret is not stored", looking.login)
    login.add_argument("--gateway", required=True, help="its address, such as https://taxiway.example")
    login.add_argument(
        "--issuer", required=True, help="who gives tokens, such as https://id.example/realms/x"
    )
    login.add_argument("--client-id", required=True)
    login.add_argument("--secret-file", type=Path, help="read the secret from here, now and later")
    login.add_argument("--audience", default="", help="what some issuers must be asked for")
    _add(commands, "verify", "show what the token opens, and until when", looking.verify)
    bundles = _add(commands, "bundles", "list the bundles of a partner, or show one", looking.bundles)
    bundles.add_argument("bundle", nargs="?", help="such as assessments/PSAT_SAT")
    _add_partner(bundles)
    jobs = _add(commands, "jobs", "list the newest jobs of a partner", looking.jobs)
    _add_partner(jobs)
    for name in ("tenant", "year", "bundle", "status"):
        jobs.add_argument(f"--{name}", default="", help=f"only those of this {name}")
    jobs.add_argument("--limit", type=_at_least_one, default=20, help="how many (20)")
    _add_job(_add(commands, "job", "show a job with its files and runs", looking.job))


def _add_working(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    submit = _add(commands, "submit", "create a job, upload its files, start it", working.submit)
    _add_partner(submit)
    submit.add_argument("--tenant", default="", help="may be left out when the partner has one")
    submit.add_argument("--bundle", required=True, help="such as assessments/PSAT_SAT")
    submit.add_argument("--year", required=True, help="school year by its end: 2026 is 2025-26")
    submit.add_argument("--wait", action="store_true", help="wait until the job has ended")
    _add_timeout(submit)
    submit.add_argument("inputs", nargs="*", metavar="KEY=VALUE", help="INPUT_FILE=path, TEST_TYPE=SAT, …")
    wait = _add(commands, "wait", "wait until a job has ended", working.wait)
    _add_job(wait)
    _add_timeout(wait)
    fetch = _add(commands, "fetch", "download every file of a job's output sets", working.fetch)
    _add_job(fetch)
    fetch.add_argument("folder", type=Path, metavar="DIR", help="of several sets, each gets a folder in it")
    _add_job(_add(commands, "cancel", "stop a job", working.cancel))


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, says: str, action: object
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=says, description=f"{says[0].upper()}{says[1:]}.", allow_abbrev=False
    )
    command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    command.set_defaults(action=action)
    return command


def _add_partner(command: argparse.ArgumentParser) -> None:
    command.add_argument("--partner", default="", help="may be left out when the token opens one")


def _add_job(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", metavar="JOB", help="uid of a job")


def _add_timeout(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--timeout", type=float, default=_WAIT_SECONDS, metavar="SECONDS", help="how long to wait (6 hours)"
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
