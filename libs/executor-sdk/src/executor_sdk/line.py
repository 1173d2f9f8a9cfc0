"""Read turns from the line.

Redis keys: list `jobs:line:<pool>` (the dispatcher pushes, we pop), key `jobs:executor:<pool>:<name>` (we
live). A turn is a hint: one that is lost, doubled or stale costs nothing, because the claim decides.
"""

import json
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

POP_SECONDS = 1  # as long as a stop may have to wait
PRESENT_SECONDS = 30
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A run to claim, and the ticket that allows it."""

    run: str
    lease: int
    ticket: str
    traceparent: str | None


class BadTurn(Exception):
    """The message is no turn this version understands."""


def parse(message: bytes | str) -> Turn:
    """Read a turn, or raise BadTurn."""
    try:
        turn = json.loads(message)
        if turn["v"] != 1:
            raise BadTurn(f"version {turn['v']!r}")
        return Turn(
            run=_text(turn["run"]),
            lease=int(turn["lease"]),
            ticket=_text(turn["ticket"]),
            traceparent=turn.get("traceparent") or None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadTurn(type(error).__name__) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise ValueError("not a name")
    return value


def connect(url: str) -> "redis.Redis":
    """Make the connection of a line; a pop that waits its second is no timeout."""
    return redis.Redis.from_url(
        url, socket_timeout=POP_SECONDS + 5, socket_connect_timeout=5, health_check_interval=30
    )


class Line:
    """The line of one pool, and this executor's place in it."""

    def __init__(self, connection: "redis.Redis", *, pool: str, name: str) -> None:
        self._redis = connection
        self._line = f"jobs:line:{pool}"
        self._presence = f"jobs:executor:{pool}:{name}"

    def present(self) -> None:
        """Say that this executor lives; forgotten after 30 s."""
        self._redis.set(self._presence, "1", ex=PRESENT_SECONDS)

    def pop(self) -> bytes | str | None:
        """Wait up to a second for a turn."""
        found: Any = self._redis.blpop([self._line], timeout=POP_SECONDS)
        return found[1] if found else None

    def leave(self) -> None:
        """Say that this executor is gone: the presence ends now. Its Redis user may SET, not DEL."""
        self._redis.set(self._presence, "0", px=1)


def serve(line: Line, take: Callable[[Turn], object], stopping: threading.Event) -> None:
    """Take turns until told to stop. Redis away is waited out, with growing pauses."""
    pause = _SHORTEST_PAUSE
    present = threading.Thread(target=_stay_present, args=(line, stopping), name="presence", daemon=True)
    present.start()
    while not stopping.is_set():
        try:
            line.present()
            message = line.pop()
            pause = _SHORTEST_PAUSE
        except redis.RedisError as error:
            _log.warning("line_unreachable error=%s", type(error).__name__)
            stopping.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _LONGEST_PAUSE)
            continue
        if message is not None and not stopping.is_set():
            _take(message, take)
    _leave(line)


def _take(message: bytes | str, take: Callable[[Turn], object]) -> None:
    try:
        turn = parse(message)
    except BadTurn as error:
        _log.warning("turn_dropped reason=%s", error)
        return
    take(turn)


def _stay_present(line: Line, stopping: threading.Event) -> None:
    """Renew the presence while a run keeps the other thread busy."""
    while not stopping.wait(PRESENT_SECONDS / 3):
        try:
            line.present()
        except redis.RedisError:
            _log.debug("presence_not_renewed")


def _leave(line: Line) -> None:
    try:
        line.leave()
    except redis.RedisError:
        _log.debug("presence_not_removed")
