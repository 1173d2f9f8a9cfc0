"""The services behind the gateway, and the connections to them: pooled, one answer at a time on each."""

import asyncio
import enum
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httptools

from gateway.relay.answers import DROPPED, Head, Heads

CONNECT_SECONDS = 2.0
KEPT_IDLE = 64
IDLE_SECONDS = 30.0  # less than a service keeps a silent connection open
_USUAL = (b"close", b"keep-alive")


class Failure(enum.Enum):
    """How a service failed to answer."""

    UNREACHED = "no connection could be opened"
    CONNECT_LATE = "no connection was opened in time"
    DROPPED = "a used connection was closed before anything came"
    BROKEN = "the answer is cut short, or nonsense"


class Asker(Protocol):
    """Who waits for an answer."""

    def connected(self, connection: "UpstreamConnection") -> None: ...

    def answered(self, status: int, lines: bytes, body: bytes) -> None: ...

    def answer_began(self, status: int, lines: bytes, *, has_length: bool) -> None: ...

    def answer_came(self, piece: bytes) -> None: ...

    def answer_flushed(self) -> None: ...

    def answer_ended(self) -> None: ...

    def upstream_failed(self, failure: Failure) -> None: ...

    def upstream_paused(self, paused: bool) -> None: ...


class Upstream:
    """One service and its idle connections, the latest used first."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self.host_line = f"host: {parts.netloc}\r\n".encode()
        self.heads = Heads()
        self.idle: list[UpstreamConnection] = []

    def take(self, asker: Asker, *, fresh: bool = False) -> None:
        """Give the asker a connection, now or when one is open; `fresh` takes no used one."""
        if self.idle and not fresh:
            asker.connected(self.idle.pop())
        else:
            task = self._loop.create_task(self._connect(asker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, asker: Asker) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self), *self._address
                )
        except (OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            asker.upstream_failed(Failure.CONNECT_LATE if late else Failure.UNREACHED)
        else:
            asker.connected(connection)

    def give_back(self, connection: "UpstreamConnection") -> None:
        """Keep a connection whose answer is complete."""
        if len(self.idle) < KEPT_IDLE:
            connection.idle_until = self._loop.time() + IDLE_SECONDS
            self.idle.append(connection)
        else:
            connection.close()

    def sweep(self, now: float) -> None:
        """Close what was not used for long; the longest unused stand first."""
        self.heads.forget()
        while self.idle and self.idle[0].idle_until < now:
            self.idle.pop(0).close()


class UpstreamConnection(asyncio.Protocol):
    """A connection to a service: a request is written, its answer read strictly and told piece by piece."""

    __slots__ = (
        "_asker",
        "_began",
        "_has_length",
        "_heard",
        "_is_bodyless",
        "_is_chunked",
        "_is_complete",
        "_is_paused",
        "_keeps_alive",
        "_left_bytes",
        "_lines",
        "_nominated",
        "_parser",
        "_transport",
        "_upstream",
        "idle_until",
        "is_used",
    )

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._transport: Any = None
        self._asker: Asker | None = None
        self.idle_until = 0.0
        self.is_used = False  # an answer came over it before
        self._is_paused = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, asker: Asker, head: bytes, *, is_head: bool) -> None:
        """Send a request's head; its body follows by `send`."""
        self._asker = asker
        self._is_bodyless = is_head
        self._began = self._is_complete = self._heard = False
        self._left_bytes = -1  # of a body of announced length; unknown when negative
        self._transport.write(head)

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def put_back(self) -> None:
        """Nothing was asked after all."""
        self._upstream.give_back(self)

    def release(self) -> None:
        """The asker is done with it and everything was sent: it may serve another."""
        self._asker = None
        if self._transport.is_closing():
            return
        self.pause(False)  # whoever read slowly is gone
        if self._is_complete and self._keeps_alive:
            self.is_used = True
            self._upstream.give_back(self)
        else:
            self.close()

    def close(self) -> None:
        """Let it go, whatever may still come."""
        self._asker = None
        self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Stop reading while the client does not."""
        if paused != self._is_paused and not self._transport.is_closing():
            self._is_paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    # -- what the transport calls ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        asker = self._asker
        if asker is None or self._is_complete:
            self._forget()  # nothing was asked
            return
        if self._left_bytes >= 0:
            self._body_came(asker, data)
        elif not self._heard and not self._is_bodyless and (head := self._upstream.heads.read(data)):
            self._head_came(asker, head, data[head.ends_at :])
        else:
            self._parse(data)
        if self._asker is asker:
            asker.answer_flushed()

    def _head_came(self, asker: Asker, head: Head, rest: bytes) -> None:
        self._heard = self._began = True
        self._keeps_alive = head.keeps_alive
        if len(rest) == head.length_bytes:
            self._is_complete = True
            asker.answered(head.status, head.lines, rest)
        else:
            self._left_bytes = head.length_bytes
            asker.answer_began(head.status, head.lines, has_length=True)
            self._body_came(asker, rest)

    def _body_came(self, asker: Asker, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:  # more than was announced: not what follows, for nothing was asked
            self._fail(Failure.BROKEN)
        elif data:
            asker.answer_came(data)
        if self._left_bytes == 0:
            self._complete()

    def _parse(self, data: bytes) -> None:
        if not self._heard:
            self._heard = True
            self._parser = httptools.HttpResponseParser(self)
            self._lines: list[bytes] = []
            self._nominated: frozenset[bytes] = frozenset()
            self._has_length = self._is_chunked = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._is_complete:
                self._fail(Failure.BROKEN)

    def connection_lost(self, error: Exception | None) -> None:
        asker = self._asker
        if asker is None:
            self._forget()
        elif self._began and error is None and self._ends_by_closing():
            self._is_complete = True
            asker.answer_ended()
        elif not self._is_complete:
            self._fail(Failure.DROPPED if self.is_used and not self._heard else Failure.BROKEN)

    def pause_writing(self) -> None:
        if self._asker:
            self._asker.upstream_paused(True)

    def resume_writing(self) -> None:
        if self._asker:
            self._asker.upstream_paused(False)

    def _forget(self) -> None:
        if self in self._upstream.idle:
            self._upstream.idle.remove(self)
        self.close()

    def _fail(self, failure: Failure) -> None:
        asker = self._asker
        self.close()
        if asker:
            asker.upstream_failed(failure)

    def _ends_by_closing(self) -> bool:
        return self._left_bytes < 0 and not (self._has_length or self._is_chunked)

    # -- what llhttp calls -------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._began:
            return  # a trailer
        lower = name.lower()
        if lower == b"content-length":
            self._has_length = True
        elif lower == b"transfer-encoding":
            self._is_chunked = True
        elif lower == b"connection":
            self._nominated |= nominated(value)
        if lower not in DROPPED:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._began = True
        self._keeps_alive = self._parser.should_keep_alive()
        lines = self._lines
        if self._nominated:
            lines = [line for line in lines if line.partition(b":")[0].lower() not in self._nominated]
        if self._asker:
            self._asker.answer_began(status, b"".join(lines), has_length=self._has_length)
        if self._is_bodyless:
            self._complete()

    def on_body(self, piece: bytes) -> None:
        if self._asker and not self._is_complete:
            self._asker.answer_came(piece)

    def on_message_complete(self) -> None:
        if not self._began:  # 100, 103: an answer before the answer
            self._lines = []
        elif not self._is_complete:
            self._complete()

    def _complete(self) -> None:
        self._is_complete = True
        if self._asker:
            self._asker.answer_ended()


def upstreams(urls: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> dict[str, Upstream]:
    """Make one for each service."""
    return {name: Upstream(url, loop) for name, url in urls.items()}


def nominated(connection: bytes) -> frozenset[bytes]:
    """Name the headers that `Connection` calls hop-by-hop (RFC 9110 §7.6.1)."""
    if connection.lower() in _USUAL:
        return frozenset()
    return frozenset(name.strip().lower() for name in connection.split(b","))
