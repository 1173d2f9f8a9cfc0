"""Supervisord keeps the processes running; we write its configuration and talk to it over a socket."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from stack.errors import NotReady, StackError
from stack.guard import started_at
from stack.launch import inherited, this_python
from stack.layout import Layout
from stack.logs import tail
from stack.processes import Process
from stack.secrets import write_private

SOCKET_BYTES = 90  # Linux allows 107, and supervisord first binds a longer name
START_SECONDS = 15
STOP_SECONDS = 30
POLL_SECONDS = 0.05
HEAD = """\
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={folder}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={folder}/supervisord.pid
childlogdir={folder}
directory={folder}
identifier=taxiway
minfds=64
minprocs=16
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command={command}
directory={folder}
environment={environment}
priority={rank}
autostart=false
autorestart=true
startsecs=1
startretries=1000
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
stopasgroup={as_group}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


class Supervisor:
    """The supervisord of one state folder, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.supervisor
        self._configuration = self._folder / "supervisord.conf"

    @property
    def pid(self) -> int:
        """The pid of supervisord; 0 when it does not run."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / "supervisord.pid").read_text(encoding="utf-8"))
            if str(self._configuration).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        return 0

    @property
    def is_running(self) -> bool:
        return self.pid != 0

    def write(self, processes: Iterable[Process]) -> None:
        """Write the configuration anew, and have a running supervisord take over what changed."""
        head = HEAD.format(
            socket=_literal(str(self._socket())),
            folder=_literal(str(self._folder)),
            user="user=root\n" if os.geteuid() == 0 else "",
        )
        programs = [self._program(process) for process in processes]
        write_private(self._configuration, "".join([head, *programs]))
        if self.is_running:
            self._reload()

    def ensure_running(self) -> None:
        """Start supervisord as a daemon, from this Python environment.

        Raises StackError when it does not answer in time.
        """
        if self.is_running:
            return
        started = subprocess.run(  # noqa: S603
            this_python("supervisor.supervisord", "-c", str(self._configuration)),
            env=inherited(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if started.returncode != 0 or time.monotonic() > deadline:
                said = started.stderr.decode(errors="replace") or tail(self._folder / "supervisord.log")
                raise NotReady("supervisord", "it did not start", said)
            time.sleep(POLL_SECONDS)

    def states(self) -> dict[str, dict[str, Any]]:
        """Tell every process's record (statename, pid, …) by name; nothing when supervisord does not run."""
        if not self.is_running:
            return {}
        return {record["name"]: record for record in self._call("getAllProcessInfo")}

    def process_pid(self, name: str) -> int:
        """Return the pid of a process; 0 when it does not run now.

        Raises StackError when there is no process of that name.
        """
        record = self.states().get(name)
        if record is None:
            raise StackError(f"No process is called {name}.")
        return int(record["pid"])

    def start(self, name: str) -> None:
        """Start a process unless it runs; returns at once."""
        if self.states()[name]["statename"] in ("STOPPED", "EXITED", "FATAL"):
            with suppress(xmlrpc.client.Fault):  # it was restarted meanwhile
                self._call("startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Stop processes side by side and wait until all have ended."""
        remaining = {
            name for name in names if self.states().get(name, {}).get("statename") not in (None, "STOPPED")
        }
        for name in remaining:
            with suppress(xmlrpc.client.Fault):  # it ended by itself meanwhile
                self._call("stopProcess", name, False)
        deadline = time.monotonic() + STOP_SECONDS + 5
        while time.monotonic() < deadline and any(_is_alive(self.states()[name]) for name in remaining):
            time.sleep(POLL_SECONDS)

    def shutdown(self, order: Iterable[Iterable[str]] = ()) -> None:
        """Stop the processes, group after group, then supervisord; harmless when it does not run."""
        pid = self.pid
        if pid:
            start = started_at(pid)
            for names in order:
                self.stop(names)
            self._call("shutdown")
            deadline = time.monotonic() + STOP_SECONDS * 2
            while started_at(pid) == start and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        self._forget_socket()

    def _program(self, process: Process) -> str:
        return PROGRAM.format(
            name=process.name,
            command=_literal(shlex.join(process.command)),
            folder=_literal(str(process.folder)),
            environment=_environment(process.environment),
            rank=process.rank,
            stop_signal=process.stop_signal.name.removeprefix("SIG"),
            stop_seconds=STOP_SECONDS,
            as_group=str(process.stops_as_group).lower(),
            log=_literal(str(self._layout.log(process.name))),
        )

    def _reload(self) -> None:
        added, changed, removed = self._call("reloadConfig")[0]
        self.stop([*changed, *removed])
        for name in [*changed, *removed]:
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def _answers(self) -> bool:
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket()}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def _socket(self) -> Path:
        # A long path fails: the socket of a deep state folder gets a folder in a temporary place.
        inside = self._folder / "socket"
        if len(os.fsencode(inside)) <= SOCKET_BYTES:
            return inside
        note = self._folder / "socket-folder"
        if not note.exists() or not Path(note.read_text(encoding="utf-8")).is_dir():
            write_private(note, tempfile.mkdtemp(prefix="taxiway-"))
        return Path(note.read_text(encoding="utf-8")) / "socket"

    def _forget_socket(self) -> None:
        note = self._folder / "socket-folder"
        if note.exists():
            shutil.rmtree(note.read_text(encoding="utf-8"), ignore_errors=True)
            note.unlink()


def _is_alive(record: Mapping[str, Any]) -> bool:
    return bool(record["pid"]) or record["statename"] in ("STARTING", "STOPPING", "BACKOFF")


def _literal(text: str) -> str:
    return text.replace("%", "%%")  # supervisord expands %(…)s everywhere


def _environment(variables: Mapping[str, str]) -> str:
    faulty = [name for name, value in variables.items() if set(value) & set('"\n')]
    if faulty:
        raise StackError(f"A quote or line break cannot be handed to a process: {', '.join(faulty)}.")
    return ",".join(f'{name}="{_literal(value)}"' for name, value in variables.items())
