"""How a server is launched, and a handle on one that runs without a supervisor."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Self

from stack.errors import NotReady
from stack.logs import tail

POLL_SECONDS = 0.02
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Everything a supervisor or a test needs to run one server."""

    name: str
    command: tuple[str, ...]
    folder: Path
    stop_signal: Signals
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    leftovers: tuple[Path, ...] = ()
    """Files the server leaves outside its folder, removed after it has ended."""


class Server:
    """A server started by us, stopped by its pid, and startable again in its folder on its port."""

    def __init__(self, launch: Launch, log: Path, on_start: Callable[[int], object]) -> None:
        self.launch = launch
        self.log = log
        self._on_start = on_start
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the server itself, not of a wrapper: every launcher replaces itself by exec."""
        if self._process is None:
            raise NotReady(self.launch.name, "it was not started")
        return self._process.pid

    def start(self) -> Self:
        """Start the process; returns at once. See `wait_ready`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command lines)
                self.launch.command,
                cwd=self.launch.folder,
                env=inherited(os.environ) | dict(self.launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._on_start(self._process.pid)
        return self

    def wait_ready(self, timeout_seconds: float = 15) -> Self:
        """Wait until the server answers.

        Raises NotReady, with the end of its log, when it ended or did not answer in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.launch.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise NotReady(self.launch.name, "it ended", tail(self.log))
            if time.monotonic() > deadline:
                raise NotReady(self.launch.name, f"no answer in {timeout_seconds:g} s", tail(self.log))
            time.sleep(POLL_SECONDS)
        return self

    def restart(self, timeout_seconds: float = 15) -> Self:
        """Start again after a stop or a kill, in the same folder on the same port, and wait."""
        return self.start().wait_ready(timeout_seconds)

    def send_signal(self, number: Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, nothing flushed by the server itself."""
        self._end(SIGKILL)

    def stop(self, timeout_seconds: float = 15) -> None:
        """End it in order; SIGKILL when that takes too long. Harmless when it does not run."""
        self._end(self.launch.stop_signal, timeout_seconds)

    def _end(self, number: Signals, timeout_seconds: float = 15) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_seconds)
        self._process = None
        for path in self.launch.leftovers:
            path.unlink(missing_ok=True)


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick what a server may see of our environment: where programs are, not the user's secrets."""
    return {name: environment[name] for name in INHERITED if name in environment}


def this_python(module: str, *arguments: str) -> tuple[str, ...]:
    """Write the command line that runs a module in this Python environment."""
    return (sys.executable, "-m", module, *arguments)
