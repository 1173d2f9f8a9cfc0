"""What the commands of `python -m stack` do."""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.layout import Layout, make_folders
from stack.logs import follow, tail
from stack.plan import with_argument, with_verb
from stack.ports import ports_from
from stack.processes import Command, Options, Process
from stack.progress import Terminal
from stack.running import Stack, make_stack
from stack.services import SERVERS
from stack.settled import Settled, recall, remember
from stack.supervise import Supervisor
from stack.welcome import welcome

HANDED_ON = (
    "LOG_LEVEL", "WEB_WORKERS", "WEB_THREADS",
    "HEARTBEAT_TIMEOUT_SECONDS", "COMPARE_INTERVAL_SECONDS", "TICK_SECONDS",
)  # fmt: skip
"""Settings of the services that `up` hands on when they are set around it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a command: where it is made and what was asked."""

    repository: Path
    layout: Layout
    environment: Mapping[str, str]
    terminal: Terminal
    servers_only: bool = False
    name: str = ""
    source: str = ""
    ref: str = ""
    options: tuple[str, ...] = ()


def up(call: Call) -> None:
    """Start everything, or what is missing, and say where it is."""
    with _alone(call.layout):
        settled = Settled(ports=ports_from(call.environment), executors=_executors(call.environment))
        is_running = Supervisor(call.layout).is_running
        call.terminal.say(
            "Taxiway runs already: checking and seeding again." if is_running else "Starting Taxiway."
        )
        stack = _stack(call, settled)
        stack.require_ports()
        remember(call.layout, settled)
        stack.bring_up(call.terminal)
    call.terminal.say(welcome(stack, with_services=not call.servers_only))


def down(call: Call) -> None:
    """Stop everything; the state stays."""
    if not Supervisor(call.layout).is_running:
        call.terminal.say("Taxiway does not run.")
        return
    with _alone(call.layout):
        begun = time.monotonic()
        _stack(call, recall(call.layout)).bring_down()
        call.terminal.done("everything is stopped", time.monotonic() - begun)


def reset(call: Call) -> None:
    """Stop everything and delete the state: data, secrets, logs."""
    # A mistyped TAXIWAY_STATE must not cost anyone a home folder.
    if call.layout.root.exists() and not call.layout.supervisor.is_dir():
        raise StackError(f"{call.layout.root} does not look like a state folder: not deleted.")
    down(call)
    shutil.rmtree(call.layout.root, ignore_errors=True)
    call.terminal.say(f"{call.layout.root} is deleted.")


def status(call: Call) -> None:
    """Show every process, its state, pid and port."""
    states = Supervisor(call.layout).states()
    if not states:
        call.terminal.say("Taxiway does not run.")
        return
    plan = _stack(call, recall(call.layout)).plan
    rows = [_row(process, states[process.name]) for process in plan.processes if process.name in states]
    call.terminal.table([("NAME", "STATE", "PID", "PORT"), *rows])


def logs(call: Call) -> None:
    """Show the end of the logs and follow them, until interrupted."""
    paths = {path.stem: path for path in sorted(call.layout.logs.glob("*.log"))}
    if call.name and call.name not in paths:
        raise StackError(f"There is no log of {call.name}; there are: {', '.join(paths) or 'none'}.")
    chosen = {call.name: paths[call.name]} if call.name else paths
    width = max(map(len, chosen), default=0)
    for name, path in chosen.items():
        for line in tail(path, 10).splitlines():
            call.terminal.say(f"{name.ljust(width)} | {line}")
    for name, line in follow(chosen):
        call.terminal.say(f"{name.ljust(width)} | {line}")


def migrate(call: Call) -> None:
    """Bring every service's schema to this release."""
    _running(call).migrate(call.terminal)


def provision(call: Call) -> None:
    """Declare the partners, tenants, school years and ODS connections of a file."""
    stack = _running(call)
    file = str(Path(call.source).absolute())
    stack.run_aloud(_told_all(call, with_argument(stack.plan.seed("provision"), file, *call.options)))


def bundles(call: Call) -> None:
    """Import bundles from a folder or a git repository."""
    stack = _running(call)
    source = str(Path(call.source).absolute()) if Path(call.source).exists() else call.source
    reference = ("--ref", call.ref) if call.ref else ()
    stack.run_aloud(_told_all(call, with_argument(stack.plan.seed("import-bundles"), source, *reference)))


def roster(call: Call) -> None:
    """Put the roster of a partner's tenant in a school year."""
    _jobs_command(call, "roster")


def mapping(call: Call) -> None:
    """Put a tenant's descriptor mapping for a bundle."""
    _jobs_command(call, "mapping")


def _jobs_command(call: Call, name: str) -> None:
    stack = _running(call)
    command = with_verb(stack.plan.seed("import-bundles"), name)
    file = str(Path(call.source).absolute())
    stack.run_aloud(_told_all(call, with_argument(command, file, *call.options)))


COMMANDS: Mapping[str, Callable[[Call], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "logs": logs,
    "reset": reset,
    "migrate": migrate,
    "provision": provision,
    "bundles": bundles,
    "roster": roster,
    "mapping": mapping,
}


def _row(process: Process, record: Mapping[str, Any]) -> tuple[str, ...]:
    return process.name, str(record["statename"]).lower(), str(record["pid"] or "-"), str(process.port)


def _stack(call: Call, settled: Settled) -> Stack:
    told = {name: call.environment[name] for name in HANDED_ON if call.environment.get(name)}
    ods = {name: value for name, value in call.environment.items() if name.startswith("EXAMPLE_ODS_")}
    options = Options(executors=settled.executors, environment={"*": told}, seed_environment=ods)
    stack = make_stack(call.repository, call.layout, settled.ports, options)
    return replace(stack, plan=stack.plan.only(SERVERS)) if call.servers_only else stack


def _running(call: Call) -> Stack:
    if not Supervisor(call.layout).is_running:
        raise StackError("Taxiway does not run: start it with make up.")
    return _stack(call, recall(call.layout))


def _told_all(call: Call, command: Command) -> Command:
    # The user's file may name any variable as the place of a secret.
    return replace(command, environment={**call.environment, **command.environment})


def _executors(environment: Mapping[str, str]) -> int:
    text = environment.get("EXECUTORS") or "1"
    if not text.isdecimal() or int(text) > 32:
        raise StackError("EXECUTORS is a whole number from 0 to 32.")
    return int(text)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    make_folders(layout)
    with layout.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("Another start or stop is under way: wait for it to end.") from None
        yield
