"""Kill and freeze processes at random, and leave everything running at the end."""

import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from stack.errors import StackError
from stack.testing import LocalStack

EXECUTORS = ("executor", "executor-2", "executor-3", "executor-4")
KILLED = (
    *EXECUTORS,
    *("dispatcher", "courier", "jobs", "jobs-watch", "outputs", "gateway", "postgres", "valkey"),
)
FROZEN = (*EXECUTORS, "dispatcher", "courier", "jobs", "outputs", "gateway", "valkey")
PAUSE_SECONDS = (0.3, 2.5)
FREEZE_SECONDS = (0.5, 5.0)


class Havoc:
    """One fault after another until told to stop."""

    def __init__(self, stack: LocalStack, told: Callable[[str], None]) -> None:
        self._stack = stack
        self._told = told
        self.done: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._wreak, name="havoc")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Do nothing more, and wait until everything is ready again."""
        self._stop.set()
        self._thread.join()
        self._stack.wait_ready()

    def _wreak(self) -> None:
        while not self._stop.wait(random.uniform(*PAUSE_SECONDS)):
            fault = random.choice((self._kill, self._kill, self._kill, self._freeze, self._lose_redis))
            with suppress(StackError, OSError):  # it is down from the fault before
                fault()

    def _kill(self) -> None:
        name = random.choice(KILLED)
        self._stack.kill(name)
        self._note(f"kill {name}")

    def _freeze(self) -> None:
        name, seconds = random.choice(FROZEN), random.uniform(*FREEZE_SECONDS)
        self._stack.signal_group(name, signal.SIGSTOP)
        self._note(f"freeze {name}")
        self._stop.wait(seconds)
        self._stack.signal_group(name, signal.SIGCONT)

    def _lose_redis(self) -> None:
        if random.random() < 0.5:
            return
        shutil.rmtree(self._stack.folder("valkey") / "appendonlydir", ignore_errors=True)
        self._stack.kill("valkey")
        self._note("lose redis with its data")

    def _note(self, fault: str) -> None:
        self.done[fault] += 1
        self._told(f"{time.strftime('%H:%M:%S')} {fault}")
