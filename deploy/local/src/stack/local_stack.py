"""A whole supervised stack of a test's own, in a temporary folder on free ports.

with LocalStack.boot(environment={"dispatcher": {"HEARTBEAT_TIMEOUT_SECONDS": "2"}}) as stack:
    stack.kill("executor-1")
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self

from stack.checkout import repository_root
from stack.errors import NotReady
from stack.guard import Guard
from stack.launch import this_python
from stack.layout import Layout
from stack.logs import tail
from stack.plan import LOCAL_BUNDLES, LOCAL_CLIENTS, LOCAL_PARTNERS, with_argument
from stack.ports import ports_for_tests
from stack.postgres import QUICK_BUT_NOT_CRASH_SAFE
from stack.processes import Options, Plan, Process
from stack.running import Stack, make_stack
from stack.services import SERVERS

NOTICED_SECONDS = 10


class LocalStack:
    """Tests kill, freeze, stop and start its processes by name."""

    stack: Stack
    _guard: Guard

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        process_environment: Mapping[str, Mapping[str, str]] | None = None,
        bundles: Sequence[Path] = (LOCAL_BUNDLES,),
        partners: Path = LOCAL_PARTNERS,
        clients: Path = LOCAL_CLIENTS,
        executor_module: str = "executor",
        without: Iterable[str] = (),
        executors: int = 1,
        servers_only: bool = False,
        durable: bool = False,
    ) -> None:
        """Say what differs from `make up`; nothing starts before `open` or `with`.

        `environment` goes to every service, `process_environment` maps a process ("jobs", "executor") to
        variables of its own, which win; `bundles` are folders to import, `partners` the file to provision and
        `clients` the one to seed, relative to the repository; `executor_module` is run as each executor;
        `without` names processes to leave out. A `durable` one flushes its database to disk, as `make up`
        does: for measuring.
        """
        self._executors = executors
        self._options = Options(
            executors=executors,
            without=frozenset(without),
            environment={**(process_environment or {}), "*": environment or {}},
            postgres_options=() if durable else QUICK_BUT_NOT_CRASH_SAFE,
        )
        self._bundles, self._partners, self._clients = bundles, partners, clients
        self._executor_module, self._servers_only = executor_module, servers_only

    def open(self) -> Self:
        """Bring the stack up and wait until it is healthy.

        Raises NotReady or CommandFailed with the end of a log; nothing is left running then.
        """
        layout = Layout(root=Path(tempfile.mkdtemp(prefix="taxiway-stack-")))
        stack = make_stack(repository_root(), layout, ports_for_tests(self._executors), self._options)
        self.stack = replace(stack, plan=self._fitted(stack.plan))
        self._guard = Guard(layout.root)
        try:
            self._bring_up()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Kill everything at once and remove the folder."""
        supervisor, states = self.stack.supervisor.pid, self.stack.supervisor.states()
        pids = [int(record["pid"]) for record in states.values() if record["pid"]]
        if supervisor:
            os.kill(supervisor, SIGKILL)  # first: it would restart the others
        for pid in pids:
            _kill_group(pid)
        self._guard.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def gateway_url(self) -> str:
        return f"http://localhost:{self.stack.ports.gateway}"

    @property
    def issuer_url(self) -> str:
        """The issuer's address; the realm's URL is this and `/realms/example`."""
        return f"http://localhost:{self.stack.ports.issuer}"

    @property
    def s3_url(self) -> str:
        return f"http://localhost:{self.stack.ports.s3}"

    def database_url(self, role: str) -> str:
        return self.stack.secrets.database_url(role, self.stack.ports.postgres)

    def redis_url(self, user: str) -> str:
        return self.stack.secrets.redis_url(user, self.stack.ports.redis)

    def port(self, name: str) -> int:
        """Return the port a process serves on."""
        return self.stack.plan.named(name).port

    def metrics_port(self, name: str) -> int:
        """Return the port of a process's /metrics."""
        return list(self.stack.plan.named(name).ports.values())[-1]

    def folder(self, name: str) -> Path:
        """Return a folder of the state: "logs", or a server's, e.g. "valkey"."""
        return self.stack.layout.root / name

    def log(self, name: str, lines: int = 50) -> str:
        """Return the end of a process's log."""
        return tail(self.stack.layout.log(name), lines)

    def pid(self, name: str) -> int:
        """Return the pid a process has now; 0 while it does not run."""
        return self.stack.supervisor.process_pid(name)

    def signal(self, name: str, number: Signals) -> None:
        """Send a signal to the process itself, not to its children. Raises NotReady when it does not run."""
        os.kill(self._running_pid(name), number)

    def signal_group(self, name: str, number: Signals) -> None:
        """Send a signal to the process and its children, e.g. to freeze a web process whole."""
        os.killpg(self._running_pid(name), number)

    def signal_child(self, name: str, number: Signals) -> None:
        """Send a signal to one child of a process, e.g. to kill one worker of a web process."""
        os.kill(_children(self._running_pid(name))[0], number)

    def kill(self, name: str) -> None:
        """Crash a process with its workers; the supervisor starts it again at once. See `wait_ready`."""
        pid = self._running_pid(name)
        _kill_group(pid)
        deadline = time.monotonic() + NOTICED_SECONDS
        while self.pid(name) == pid and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self, name: str) -> None:
        """Stop a process in order; it stays down until `start`."""
        self.stack.supervisor.stop([name])

    def start(self, name: str) -> None:
        """Start a stopped process and wait until it is ready. Raises NotReady."""
        self.stack.start([name])

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Keep a process down for a while."""
        self.stop(name)
        try:
            yield
        finally:
            self.start(name)

    def wait_ready(self, *names: str) -> None:
        """Wait until processes are ready (all without names), starting what is stopped. Raises NotReady."""
        self.stack.start(names or self.stack.names())

    def _fitted(self, plan: Plan) -> Plan:
        if self._servers_only:
            return plan.only(SERVERS)
        imports = (with_argument(plan.seed("import-bundles"), str(folder)) for folder in self._bundles)
        provisioning = with_argument(plan.seed("provision"), str(self._partners))
        clients = with_argument(plan.seed("seed-clients"), str(self._clients))
        return replace(
            plan,
            processes=tuple(map(self._with_our_executor, plan.processes)),
            seeds=(clients, provisioning, *imports),
        )

    def _with_our_executor(self, process: Process) -> Process:
        if not process.name.startswith("executor"):
            return process
        return replace(process, command=this_python(self._executor_module))

    def _running_pid(self, name: str) -> int:
        pid = self.pid(name)
        if not pid:
            raise NotReady(name, "it does not run")
        return pid

    def _bring_up(self) -> None:
        self.stack.prepare()
        self._guard.watch(self.stack.supervisor.pid, SIGTERM)
        self._guard.remove(self.stack.leftovers())
        self.stack.bring_up()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, SIGKILL)


def _children(pid: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    ]
