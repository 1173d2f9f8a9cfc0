"""What we found out about tokens lately, by their SHA-256: bounded, short, and never the token itself."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.problems import Problem
from gateway.tokens import Accepted

GOOD_SECONDS = 60
BAD_SECONDS = 2
GOOD_ENTRIES = 20_000
BAD_ENTRIES = 4_000


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A token that is not good; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Nobody can say right now; `problem` is what the caller gets to hear."""

    problem: Problem


Verdict = Accepted | Rejected | Unavailable
Value = TypeVar("Value")


class _Shelf(Generic[Value]):
    """A bounded map of entries that end at an instant: the longest unused goes first, and what ended."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, tuple[Value, float]] = OrderedDict()

    def get(self, name: bytes, now: float) -> Value | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry[1] <= now:
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return entry[0]

    def put(self, name: bytes, value: Value, until: float, now: float) -> None:
        self._entries[name] = value, until
        self._entries.move_to_end(name)
        while len(self._entries) > self._size or self._has_ended(now):
            self._entries.popitem(last=False)

    def _has_ended(self, now: float) -> bool:
        return bool(self._entries) and next(iter(self._entries.values()))[1] <= now

    def drop(self, name: bytes) -> None:
        self._entries.pop(name, None)


class Verdicts:
    """The cache. Good and bad tokens lie apart, so that a flood of garbage pushes no good one out."""

    def __init__(self, *, good_entries: int = GOOD_ENTRIES, bad_entries: int = BAD_ENTRIES) -> None:
        self._lock = threading.Lock()
        self._good: _Shelf[Accepted] = _Shelf(good_entries)
        self._bad: _Shelf[Rejected] = _Shelf(bad_entries)

    def get(self, name: bytes, now: float) -> Accepted | Rejected | None:
        with self._lock:
            return self._good.get(name, now) or self._bad.get(name, now)

    def put(self, name: bytes, verdict: Verdict, now: float) -> None:
        """Keep a verdict: a good one never longer than its token lives, and not knowing not at all."""
        with self._lock:
            match verdict:
                case Accepted():
                    self._good.put(name, verdict, min(verdict.expires_at, now + GOOD_SECONDS), now)
                case Rejected():
                    self._bad.put(name, verdict, now + BAD_SECONDS, now)

    def drop(self, name: bytes) -> None:
        with self._lock:
            self._good.drop(name)
