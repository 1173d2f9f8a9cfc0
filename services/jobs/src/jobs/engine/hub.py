"""The watched runs of a process: one reader for all of them, whoever and however many watch.

A watcher has no queue. It holds a position in its run's history and takes what follows from the run's tail,
which all its watchers share, or reads it from the database when it fell behind the tail. So a slow one costs
no memory, and a thousand watchers of one run cost one read.

The waiting is `threading.Event`, which under gevent is a greenlet's.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import Engine

from common.database import transaction
from jobs.engine import news
from jobs.engine.journal import OWN_TYPES
from jobs.engine.news import News, Standing
from jobs.engine.tables import Event

TAIL_LINES = 500
TAIL_BYTES = 256 * 1024
RUNS_AT_ONCE = 1000

READS = Counter(
    "taxiway_stream_reads", "Reads of histories, by who fell behind: the hub or a watcher", ("by",)
)
WAKEUPS = Counter("taxiway_stream_wakeups", "Runs whose watchers were woken")


@dataclass(frozen=True, slots=True)
class Line:
    """An event, ready to send."""

    seq: int
    is_log: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a run's history as it was read: every line after `start` up to where the run stands."""

    standing: Standing
    start: int
    lines: tuple[Line, ...] = ()

    def after(self, seq: int) -> Sequence[Line] | None:
        """Give the lines after `seq`, or none when the tail does not reach back so far."""
        if seq < self.start:
            return None
        return self.lines[bisect_right(self.lines, seq, key=lambda line: line.seq) :]

    def extended(self, standing: Standing, lines: Sequence[Line]) -> "Tail":
        """Append lines and let the oldest beyond the tail's bounds go."""
        kept, start = [*self.lines, *lines], self.start
        size_bytes = sum(len(line.text) for line in kept)
        while kept and (len(kept) > TAIL_LINES or size_bytes > TAIL_BYTES):
            start = kept[0].seq
            size_bytes -= len(kept.pop(0).text)
        return Tail(standing, start, tuple(kept))


class Watched:
    """A run that is watched. `news` is set, once, when there is more than its tail holds now."""

    __slots__ = ("news", "tail", "watchers")

    def __init__(self, standing: Standing) -> None:
        self.tail = Tail(standing, standing.seq)
        self.news = threading.Event()
        self.watchers = 0

    def wake(self) -> None:
        woken, self.news = self.news, threading.Event()
        woken.set()


class Hub:
    """Reads for all watchers of a process; `render` writes an event once for all of them."""

    def __init__(self, engine: Engine, render: Callable[[Event], bytes]) -> None:
        self._engine = engine
        self._render = render
        self._runs: dict[UUID, Watched] = {}
        self.is_closing = False

    def join(self, standing: Standing) -> Watched:
        """Watch a run from now on, until `leave()`."""
        watched = self._runs.setdefault(standing.run_id, Watched(standing))
        watched.watchers += 1
        return watched

    def leave(self, watched: Watched) -> None:
        watched.watchers -= 1
        if not watched.watchers:
            del self._runs[watched.tail.standing.run_id]

    def read(self, nudged: Iterable[UUID]) -> None:
        """Read what is new of these runs, as far as they are watched. Raises Unavailable."""
        self._read({run: self._runs[run] for run in nudged if run in self._runs})

    def tick(self) -> None:
        """Read what is new of every run, nudged or not, and let go of tails. Raises Unavailable."""
        for watched in self._runs.values():
            if watched.tail.lines:
                watched.tail = Tail(watched.tail.standing, watched.tail.standing.seq)
        self._read(self._runs)

    def close(self) -> None:
        """Have every watcher end; clients come back to another process."""
        self.is_closing = True
        for watched in list(self._runs.values()):
            watched.wake()

    def fetch(self, run_id: UUID, after: int) -> tuple[int, list[Line]]:
        """Read for a watcher that fell behind: how far it comes, and the lines. Raises Unavailable."""
        READS.labels("watcher").inc()
        with transaction(self._engine) as connection:
            [found] = news.since(connection, {run_id: after})
        return found.seq, self._lines(found.events)

    def _read(self, runs: Mapping[UUID, Watched]) -> None:
        behind = iter([watched for watched in runs.values() if not watched.tail.standing.is_final])
        while part := list(islice(behind, RUNS_AT_ONCE)):
            self._catch_up({watched.tail.standing.run_id: watched for watched in part})

    def _catch_up(self, runs: Mapping[UUID, Watched]) -> None:
        seen = {run: watched.tail.standing.seq for run, watched in runs.items()}
        while seen:
            READS.labels("hub").inc()
            with transaction(self._engine) as connection:
                found = news.since(connection, seen)
            for each in found:
                self._tell(runs[each.standing.run_id], each)
            seen = {each.standing.run_id: each.seq for each in found if each.is_part}

    def _tell(self, watched: Watched, found: News) -> None:
        standing = found.standing
        if found.is_part:  # the status came after events still to be read
            standing = replace(watched.tail.standing, seq=found.seq)
        watched.tail = watched.tail.extended(standing, self._lines(found.events))
        watched.wake()
        WAKEUPS.inc()

    def _lines(self, events: Sequence[Event]) -> list[Line]:
        return [Line(event.seq, event.type not in OWN_TYPES, self._render(event)) for event in events]
