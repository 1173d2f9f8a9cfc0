"""The door of `python -m stack`: read the arguments, run a command, explain a failure."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from stack.checkout import repository_root
from stack.commands import COMMANDS, Call
from stack.errors import CommandFailed, NotReady, StackError
from stack.layout import layout_from
from stack.progress import Terminal

FLAGS = ("dry_run", "prune", "prune_partners")
PLACES = ("partner", "tenant", "year", "bundle", "name")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a problem of the user's is one sentence and status 1."""
    asked = _parser().parse_args(arguments)
    terminal = Terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        COMMANDS[asked.command](_call(asked, terminal))
    except StackError as error:
        _explain(terminal, error)
        return 1
    except BrokenPipeError:  # `… | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        terminal.say()
        return 130
    return 0


def _call(asked: argparse.Namespace, terminal: Terminal) -> Call:
    repository = repository_root()
    return Call(
        repository=repository,
        layout=layout_from(os.environ, repository),
        environment=dict(os.environ),
        terminal=terminal,
        servers_only=getattr(asked, "servers_only", False),
        name=getattr(asked, "name", None) or "",
        source=getattr(asked, "source", ""),
        ref=getattr(asked, "ref", None) or "",
        options=_options(asked),
    )


def _options(asked: argparse.Namespace) -> tuple[str, ...]:
    """Write the options that are handed on to a command of the jobs service."""
    given = {name.replace("_", "-"): getattr(asked, name, None) for name in (*FLAGS, *PLACES)}
    flags = [f"--{name}" for name, value in given.items() if value is True]
    return (*flags, *(f"--{name}={value}" for name, value in given.items() if value and value is not True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack", description="Run Taxiway on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    subs = {
        name: commands.add_parser(name, help=(command.__doc__ or "").partition("\n")[0])
        for name, command in COMMANDS.items()
    }
    subs["up"].add_argument(
        "--servers-only", action="store_true", help="PostgreSQL, Valkey and SeaweedFS only"
    )
    subs["logs"].add_argument("name", nargs="?", help="one process; all without it")
    subs["provision"].add_argument("source", metavar="FILE", help="see deploy/local/partners.yaml")
    for flag in FLAGS:
        subs["provision"].add_argument(f"--{flag.replace('_', '-')}", action="store_true")
    subs["roster"].add_argument("source", metavar="FILE", help="JSONL, one student a line")
    subs["mapping"].add_argument("source", metavar="FILE", help="CSV with a header")
    for name in ("partner", "tenant"):
        subs["roster"].add_argument(f"--{name}", required=True)
        subs["mapping"].add_argument(f"--{name}", required=True)
    subs["roster"].add_argument("--year", required=True, help="the year the school year ends in")
    subs["mapping"].add_argument("--bundle", required=True, help="for example assessments/PSAT_SAT")
    subs["mapping"].add_argument("--name", help="what the bundle calls it, if not as the file is called")
    subs["bundles"].add_argument("source", metavar="SOURCE", help="a folder or the URL of a git repository")
    subs["bundles"].add_argument("--ref", help="branch, tag or commit of the repository")
    return parser


def _explain(terminal: Terminal, error: StackError) -> None:
    terminal.end_line()
    terminal.say(str(error))
    if isinstance(error, NotReady | CommandFailed) and error.log_tail:
        terminal.say("The last it said:")
        terminal.say("\n".join(f"    {line}" for line in error.log_tail.splitlines()))
        terminal.say("What was started still runs, to be looked at: make status, make logs, make down.")
