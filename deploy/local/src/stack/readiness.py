"""Start processes in the order of their needs and wait until each is ready."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from stack.errors import NotReady
from stack.layout import Layout
from stack.logs import tail
from stack.processes import Process
from stack.progress import Progress
from stack.supervise import Supervisor

READY_SECONDS = 60
POLL_SECONDS = 0.05
LIVES = 3


@dataclass(kw_only=True)
class Start:
    """One process on its way to ready, and the pids it has had: the supervisor restarts what ends."""

    process: Process
    begun: float = field(default_factory=time.monotonic)
    pids: set[int] = field(default_factory=set)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


def start_in_order(
    processes: Sequence[Process], supervisor: Supervisor, layout: Layout, progress: Progress
) -> None:
    """Start each process once those it needs (of the given ones) are ready; return when all are.

    Raises NotReady, with the end of its log, for one that ends again and again or takes too long.
    """
    waiting = {process.name: process for process in processes}
    under_way: dict[str, Start] = {}
    while waiting or under_way:
        unready = waiting.keys() | under_way.keys()
        for process in [each for each in waiting.values() if not unready.intersection(each.needs)]:
            supervisor.start(process.name)
            under_way[process.name] = Start(process=waiting.pop(process.name))
        progress.waiting(f"waiting for {', '.join(under_way)}")
        for name in [name for name, start in under_way.items() if _is_ready(start, supervisor, layout)]:
            progress.done(f"{name} is ready", under_way.pop(name).seconds)
        time.sleep(POLL_SECONDS)


def _is_ready(start: Start, supervisor: Supervisor, layout: Layout) -> bool:
    # The pid comes first: a stranger who answers on the port in our place must not count.
    pid = supervisor.process_pid(start.process.name)
    if pid and start.process.is_ready():
        return True
    start.pids |= {pid} - {0}
    log = tail(layout.log(start.process.name))
    if len(start.pids) >= LIVES:
        raise NotReady(start.process.name, "it ends again and again", log)
    if start.seconds > READY_SECONDS:
        raise NotReady(start.process.name, f"no answer in {READY_SECONDS} s", log)
    return False
