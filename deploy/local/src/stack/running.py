"""Bring a planned stack up and down: what `python -m stack` and the tests' LocalStack share."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stack import bootstrap, postgres, seaweed, valkey
from stack.errors import CommandFailed
from stack.launch import inherited
from stack.layout import Layout, make_folders
from stack.logs import tail
from stack.plan import make_plan
from stack.ports import Ports, require_distinct, require_free
from stack.processes import Command, Options, Plan
from stack.progress import Progress, Silent, step
from stack.readiness import start_in_order
from stack.secrets import SERVICES, Secrets, load_or_generate, render_urls
from stack.services import SERVERS
from stack.supervise import Supervisor

COMMAND_SECONDS = 300
TIMED_OUT = 124  # as timeout(1) says it


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that can be brought up: its place, its ports, its plan and its supervisor."""

    repository: Path
    layout: Layout
    ports: Ports
    secrets: Secrets
    plan: Plan
    supervisor: Supervisor

    def bring_up(self, progress: Progress | None = None) -> None:
        """Start everything in order, wait until it is healthy, migrate and seed; harmless when it runs.

        Raises PortTaken before anything is started, NotReady or CommandFailed with the end of a log; what was
        started then stays, to be looked at.
        """
        progress = progress or Silent()
        with step(progress, "ports are free"):
            self.require_ports()
        with step(progress, "configuration is written"):
            self.prepare()
        self.start([name for name in SERVERS if name in self.names()], progress)
        with step(progress, "database, roles, buckets stand"):
            self._bootstrap()
        self.migrate(progress)
        self.start([name for name in self.names() if name not in SERVERS], progress)
        for command in self.plan.seeds:
            with step(progress, command.name):
                self.run(command)

    def names(self) -> list[str]:
        return [process.name for process in self.plan.processes]

    def leftovers(self) -> list[Path]:
        """List the files that servers leave outside the state folder."""
        return [path for process in self.plan.processes for path in process.leftovers]

    def require_ports(self) -> None:
        """Raise PortTaken when a port of a process that does not run is somebody else's, or meant for two."""
        require_distinct([pair for process in self.plan.processes for pair in process.ports.items()])
        states = self.supervisor.states()
        for process in self.plan.processes:
            if not states.get(process.name, {}).get("pid"):
                for variable, port in process.ports.items():
                    require_free(port, variable)

    def prepare(self) -> None:
        """Write every configuration, make the data folders, have supervisord run."""
        if not self.supervisor.is_running:  # killed processes leave their temporary files
            shutil.rmtree(self.layout.temporary, ignore_errors=True)
            make_folders(self.layout)
        postgres.prepare(self.layout.server("postgres"), self.secrets)
        valkey.prepare(self.layout.server("valkey"), self.ports.redis, self.secrets)
        seaweed.prepare(self.layout.server("seaweed"), self.secrets)
        for process in self.plan.processes:
            if folder := process.environment.get("WORK_FOLDER"):
                Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.supervisor.write(self.plan.processes)
        self.supervisor.ensure_running()

    def start(self, names: Iterable[str], progress: Progress | None = None) -> None:
        """Start processes and wait until they are ready. Raises NotReady."""
        wanted = [self.plan.named(name) for name in names]
        start_in_order(wanted, self.supervisor, self.layout, progress or Silent())

    def migrate(self, progress: Progress) -> None:
        """Migrate every schema, side by side: none reads another. Raises CommandFailed."""

        def run(command: Command) -> None:
            with step(progress, command.name):
                self.run(command)

        with ThreadPoolExecutor(max_workers=len(SERVICES)) as threads:
            list(threads.map(run, self.plan.migrations))

    def bring_down(self) -> None:
        """Stop everything, services before servers; harmless when nothing runs."""
        names = list(self.supervisor.states())
        services = [name for name in names if name not in SERVERS]
        executors = [name for name in services if name.startswith("executor")]
        self.supervisor.shutdown([executors, services, names])
        for path in self.leftovers():
            path.unlink(missing_ok=True)

    def run(self, command: Command) -> None:
        """Run a migration or a seeding to its end, its words into a log of its own.

        Raises CommandFailed, with what it said last, when it fails or does not end.
        """
        log = self.layout.log(command.name)
        with log.open("ab") as out:
            status = _status_of(command, inherited(os.environ) | dict(command.environment), out)
        if status:
            raise CommandFailed(command.name, status, tail(log))

    def run_aloud(self, command: Command) -> None:
        """Run a command that speaks to the user. Raises CommandFailed."""
        if status := _status_of(command, command.environment, None):
            raise CommandFailed(command.name, status, "")

    def _bootstrap(self) -> None:
        script = self.repository / "deploy" / "postgres" / "bootstrap.sql"
        bootstrap.bootstrap_database(script, self.ports.postgres, self.secrets)
        bootstrap.make_buckets(self.ports.s3, self.secrets)


def _status_of(command: Command, environment: Mapping[str, str], out: IO[bytes] | None) -> int:
    try:
        done = subprocess.run(  # noqa: S603
            command.command,
            cwd=command.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if out else None,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    return done.returncode


def make_stack(repository: Path, layout: Layout, ports: Ports, options: Options) -> Stack:
    """Make folders and secrets and lay out the plan; starts nothing."""
    make_folders(layout)
    secrets = load_or_generate(layout.secrets)
    render_urls(secrets, ports)
    return Stack(
        repository=repository,
        layout=layout,
        ports=ports,
        secrets=secrets,
        plan=make_plan(repository, layout, ports, secrets, options),
        supervisor=Supervisor(layout),
    )
