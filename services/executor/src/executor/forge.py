"""Start children through the smith, listen to them, and end them in time."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.logs import get_logger
from executor.failures import Ended, RunFailed
from executor.orders import Order

_START_SECONDS = 60.0
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_LONGEST_LINE = 64 * 1024
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # outputs are the same bytes each time (external-api.md §6)
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Forge:
    """The smith's process, started when first needed and again after it died."""

    def __init__(self) -> None:
        self._smith: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_ready = False

    @property
    def pid(self) -> int | None:
        """The smith's process id, while there is one."""
        return self._smith.pid if self._smith else None

    def warm(self) -> None:
        """Start the smith, unless it lives."""
        if self._smith is not None and self._smith.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        modules = os.pathsep.join(path for path in sys.path if path)
        environment = {**_ENVIRONMENT, "PATH": os.defpath, "PYTHONPATH": modules}
        with theirs:
            self._smith = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "executor.smith", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        self._socket = ours

    def close(self) -> None:
        """End the smith and whatever it runs; while it is still importing it runs nothing."""
        if self._socket is not None:
            self._socket.close()
        if self._smith is not None:
            with suppress(subprocess.TimeoutExpired):
                self._smith.wait(timeout=_END_SECONDS if self._is_ready else 0)
            self._smith.kill()
            self._smith.wait()
        self._smith = self._socket = None
        self._is_ready = False

    def run(self, order: Order, *, hear: Callable[[str], None], check: Callable[[], None]) -> Ended:
        """Run a child to its end; `hear` gets its lines, `check` is asked all the while and may raise.

        Whatever is raised, the child and its group are dead when this returns. Raises RunFailed (`crashed`)
        when the smith itself is gone.
        """
        try:
            return self._run(order, hear, check)
        except (OSError, EOFError) as error:
            self.close()
            sentence = "The program that makes the records could not be started. The run will be tried again."
            raise RunFailed("crashed", sentence, "unknown") from error

    def _run(self, order: Order, hear: Callable[[str], None], check: Callable[[], None]) -> Ended:
        self._wait_until_ready()
        killed_before = _kernel_kills()
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._channel, [order.encode()], [writing])
        finally:
            os.close(writing)
        try:
            self._receive(_END_SECONDS)
            listener = Listener(reading, hear)
            timed_out = self._attend(listener, order.limits.timeout_seconds, check)
            ended = self._receive(_END_SECONDS)
        finally:
            os.close(reading)
        killed = ended["signal"] == signal.SIGKILL and _kernel_kills() > killed_before and not timed_out
        timed_out = timed_out or ended["signal"] == signal.SIGXCPU
        return Ended(**ended, timed_out=timed_out, kernel_out_of_memory=killed)

    @property
    def _channel(self) -> socket.socket:
        if self._socket is None:
            raise EOFError("the smith is gone")
        return self._socket

    def _wait_until_ready(self) -> None:
        self.warm()
        if not self._is_ready:
            self._receive(_START_SECONDS)
            self._is_ready = True

    def _attend(self, listener: "Listener", seconds: float, check: Callable[[], None]) -> bool:
        """Listen until the child ends; True when it had to be stopped for its time."""
        try:
            until = time.monotonic() + seconds
            while not self._ends(listener, check):
                if time.monotonic() > until:
                    self._kill()
                    listener.drain()
                    return True
        except BaseException:
            self._kill()
            self._receive(_END_SECONDS)
            raise
        return False

    def _ends(self, listener: "Listener", check: Callable[[], None]) -> bool:
        heard: list[Any] = [listener] if listener.is_open else []
        ready, _, _ = select.select([self._channel, *heard], [], [], _LOOK_SECONDS)
        if listener in ready:
            listener.read()
        if self._channel in ready:
            listener.drain()
            return True
        check()
        return False

    def _kill(self) -> None:
        self._channel.send(b'{"kill":true}')

    def _receive(self, seconds: float) -> dict[str, Any]:
        """Wait for the smith's next message; how a child ended comes only once it is dead."""
        self._channel.settimeout(seconds)
        try:
            data = self._channel.recv(65536)
        finally:
            self._channel.settimeout(None)
        if not data:
            raise EOFError("the smith is gone")
        document: dict[str, Any] = json.loads(data)
        return document


class Listener:
    """Cuts what comes through a pipe into lines."""

    def __init__(self, descriptor: int, hear: Callable[[str], None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._hear = hear
        self._rest = b""
        self.is_open = True

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bool:
        """Take what is there; False when nothing is."""
        try:
            data = os.read(self._descriptor, _LONGEST_LINE)
        except BlockingIOError:
            return False
        self.is_open = bool(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._hear(line.decode("utf-8", "replace").rstrip())
        return bool(data)

    def drain(self) -> None:
        """Take what is left, the last line without its end too."""
        until = time.monotonic() + 1
        while time.monotonic() < until and self.read():
            pass
        if self._rest:
            self._hear(self._rest.decode("utf-8", "replace").rstrip())


def _kernel_kills() -> int:
    """Count the kernel's out-of-memory kills so far: of our cgroup, else of the machine."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with suppress(OSError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    get_logger().debug("kernel_kills_unknown")
    return 0
