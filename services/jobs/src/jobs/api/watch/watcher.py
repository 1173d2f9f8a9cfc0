"""One client's stream: a position in a run's history, and what to send next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

from prometheus_client import Counter, Gauge

from common.clock import Clock
from common.database import Unavailable
from jobs.api.watch import frames
from jobs.engine.hub import Hub, Tail
from jobs.engine.news import Standing

AGAIN_SECONDS = 1.0  # after a read that failed
NEVER = 2**62

STREAMS = Gauge("taxiway_streams", "Streams open now", multiprocess_mode="livesum")
SENT = Counter("taxiway_stream_events", "Events sent to watchers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a stream is to hold: events after a number, perhaps those of the log only, until a POSIX time.

    `forget` is called once the stream has begun: what brought the wish is needed no longer.
    """

    after: int = 0
    only_logs: bool = False
    expires_at: int = NEVER
    comment_seconds: float
    forget: Callable[[], None]


class Watcher:
    """Sends a run's history from a position on; to be iterated once and closed.

    It ends with the run, with the caller's token, or with this process. While the database is away it stays
    and sends its comments.
    """

    __slots__ = ("_clock", "_hub", "_on_close", "_position", "_spoke_at", "_watched", "_wish")

    def __init__(
        self, hub: Hub, standing: Standing, wish: Wish, clock: Clock, on_close: Callable[[], None]
    ) -> None:
        self._hub = hub
        self._watched = hub.join(standing)
        self._wish = wish
        self._clock = clock
        self._on_close = on_close
        self._position = wish.after
        self._spoke_at = clock.monotonic()
        STREAMS.inc()

    def __iter__(self) -> Iterator[bytes]:
        yield frames.OPENING
        self._wish.forget()
        while not self._is_over():
            news, tail = self._watched.news, self._watched.tail  # in this order, to miss nothing in between
            if self._position < tail.standing.seq:
                text = self._advance(tail, news)
            elif tail.standing.is_final:
                yield frames.of_end(tail.standing)
                return
            else:
                text = self._wait(news)
            if text:
                yield text
                self._spoke_at = self._clock.monotonic()

    def close(self) -> None:
        STREAMS.dec()
        self._hub.leave(self._watched)
        self._on_close()

    def _is_over(self) -> bool:
        return self._hub.is_closing or self._seconds_left() <= 0

    def _seconds_left(self) -> float:
        return self._wish.expires_at - self._clock.now().timestamp()

    def _advance(self, tail: Tail, news: Event) -> bytes:
        """Take what follows: from the tail, else from the database."""
        reached, lines = tail.standing.seq, tail.after(self._position)
        if lines is None:
            try:
                reached, lines = self._hub.fetch(tail.standing.run_id, self._position)
            except Unavailable:
                return self._wait(news, AGAIN_SECONDS)
        self._position = reached
        chosen = [line.text for line in lines if line.is_log or not self._wish.only_logs]
        SENT.inc(len(chosen))
        return b"".join(chosen)

    def _wait(self, news: Event, most_seconds: float = NEVER) -> bytes:
        """Wait for news; give a comment when nothing was said for long."""
        silent_until = self._spoke_at + self._wish.comment_seconds
        patience = silent_until - self._clock.monotonic()
        news.wait(max(0.0, min(patience, most_seconds, self._seconds_left())))
        return frames.COMMENT if self._clock.monotonic() >= silent_until else b""
