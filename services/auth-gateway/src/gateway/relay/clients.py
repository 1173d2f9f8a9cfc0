"""A client's connection: its requests one after the other, its deadlines, its end."""

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.relay import writing
from gateway.relay.exchange import Exchange
from gateway.relay.reading import Request, RequestReader

if TYPE_CHECKING:
    from gateway.relay.lane import ForwardLane

IDLE_SECONDS = 75.0
LINGER_SECONDS = 2.0
PIPELINED = 8  # requests that may wait behind the one at hand before we stop reading
FOREVER = float("inf")


class ClientConnection(asyncio.Protocol):
    """Reads requests, serves them in order, and closes when either side wants it to."""

    __slots__ = (
        "_exchanges",
        "_has_ended",
        "_is_lingering",
        "_is_paused",
        "_latest",
        "_reader",
        "_transport",
        "deadline",
        "lane",
        "peer",
    )

    def __init__(self, lane: "ForwardLane") -> None:
        self.lane = lane
        self.deadline = lane.now() + lane.silence_seconds
        self._transport: Any = None
        self._latest: Request | None = None
        self._reader = RequestReader(self)
        self._exchanges: list[Exchange] = []
        self._has_ended = self._is_lingering = self._is_paused = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked and nothing is half read."""
        return not self._exchanges and not self._reader.is_in_head

    # -- what the transport calls ------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.lane.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lane.connections.discard(self)
        exchanges = list(self._exchanges)
        self._exchanges.clear()
        for exchange in exchanges[:1]:
            exchange.client_left()

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        if self._is_between:
            known = self.lane.known.recognize(data)
            if known:
                self._begin(Exchange(self, *known))
                return
        self._read(data)

    def _read(self, data: bytes) -> None:
        was_between = self._is_between
        self._reader.feed(data)
        if self._reader.is_in_head and was_between:
            self.deadline = self.lane.now() + self.lane.silence_seconds
        if len(self._exchanges) > PIPELINED:
            self.pause(True)
        if self._reader.fault:
            self._fault()
        elif was_between and self._latest:
            self.lane.known.remember(data, self._latest)
            self._latest = None

    @property
    def _is_between(self) -> bool:
        """Whether what comes next begins a request and nothing stands before it."""
        return not self._exchanges and not self._reader.is_busy

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for before is still answered."""
        self._has_ended = True
        self._break_off()
        return bool(self._exchanges)

    def pause_writing(self) -> None:
        if self._exchanges:
            self._exchanges[0].client_paused(True)

    def resume_writing(self) -> None:
        if self._exchanges:
            self._exchanges[0].client_paused(False)

    # -- what the reader finds ---------------------------------------------------------------------------

    def request_began(self, request: Request) -> None:
        self._latest = request
        self._begin(Exchange(self, request))

    def _begin(self, exchange: Exchange) -> None:
        self.deadline = FOREVER
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin()

    def body_came(self, piece: bytes) -> None:
        if self._exchanges:
            self._exchanges[-1].body_came(piece)

    def request_ended(self) -> None:
        if self._exchanges:
            self._exchanges[-1].body_ended()

    def _fault(self) -> None:
        """Answer what cannot be read, after whatever was asked before it."""
        fault = self._reader.fault
        if fault is None or self._break_off() or self._exchanges:
            return  # `finished` comes back to it
        request_id = self.lane.new_request_id()
        own = b"X-Request-Id: %b\r\n%b" % (request_id.encode(), self.lane.date.line())
        self.write(writing.problem(fault, request_id, own, closes=True, is_head=False))
        self.lane.note_fault(fault, request_id)
        self._linger()

    def _break_off(self) -> bool:
        """Refuse the request at hand if the rest of its body will never come; those behind it wait."""
        first = self._exchanges[0] if self._exchanges else None
        if first is None or first.is_complete:
            return False
        first.body_broke()
        return True

    # -- what an exchange asks for -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause(self, paused: bool) -> None:
        """Stop or go on reading."""
        if paused != self._is_paused and not self._transport.is_closing():
            self._is_paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def abort(self) -> None:
        """Cut the connection: the client must not take what it has for the whole."""
        self._transport.abort()

    def must_close(self, exchange: Exchange) -> bool:
        """Whether the connection must end with this exchange, as things are now."""
        is_last = self._reader.is_over and len(self._exchanges) == 1
        keeps_alive = exchange.request.keeps_alive and exchange.is_complete
        return is_last or not keeps_alive or self.lane.is_stopping

    def finished(self, exchange: Exchange) -> None:
        """Go on with the next request, or close."""
        if not self._exchanges:
            return  # the connection is lost
        self._exchanges.pop(0)
        if not exchange.is_complete:
            self._linger()
        elif exchange.closes or (self._has_ended and not self._exchanges):
            self._transport.close()
        elif self._exchanges:
            self.lane.soon(self._next)
        else:
            self._rest()

    def _next(self) -> None:
        if not self._exchanges or self._transport.is_closing():
            return
        if not (self._reader.fault or self._has_ended) or not self._break_off():
            self._exchanges[0].begin()

    def _rest(self) -> None:
        patience = self.lane.silence_seconds if self._reader.is_in_head else IDLE_SECONDS
        self.deadline = self.lane.now() + patience
        if self._reader.fault:
            self._fault()
        else:
            self.pause(False)

    def _linger(self) -> None:
        """Close after the client had time to read: what it still sends would reset the connection."""
        self._is_lingering = True
        self.deadline = self.lane.now() + LINGER_SECONDS
        if not self._transport.is_closing():
            self._transport.write_eof()
            self.pause(False)

    def close_if_idle(self) -> None:
        if self.is_idle:
            self._transport.close()

    def overdue(self, now: float) -> None:
        """Called now and then: act if a deadline has passed."""
        if self.deadline < now:
            self._transport.abort()
        elif self._exchanges and self._exchanges[0].deadline < now:
            self._exchanges[0].overdue()
