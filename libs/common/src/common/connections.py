"""A client's connection under greenlets: its requests one after the other, its deadlines, its end."""

import io
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, ClientDisconnected

from common import problems
from common.answers import Answer
from common.logs import get_logger
from common.problems import Problem
from common.reading import Request, RequestReader

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PATIENCE = "common.patience"  # the WSGI variable: call it to say how long a client may be silent or stuck
IDLE_SECONDS = 75.0
SILENCE_SECONDS = 15.0  # for the whole of a head; between pieces of a body
STUCK_SECONDS = 60.0  # for a client to read on
LINGER_SECONDS = 2.0
LAST_REQUEST_SECONDS = 1.0  # how long an idle client may still ask while we stop
FOREVER = float("inf")
_READ_BYTES = 65536
_REFUSALS = {
    400: "The request cannot be read",
    414: "The address is too long",
    431: "The head of the request is too large",
    500: problems.SENTENCES[500],
}


class Connection:
    """Serves one client. Whoever holds it calls `overdue()` now and then: no wait has a timer of its own."""

    __slots__ = (
        "_app",
        "_deadline",
        "_is_idle",
        "_is_writing",
        "_reader",
        "_silence_seconds",
        "_socket",
        "_stuck_seconds",
        "is_stopping",
    )

    def __init__(self, app: "WSGIApplication", socket: Any, base: Mapping[str, Any]) -> None:
        self._app = app
        self._socket = socket
        self._reader = RequestReader({**base, PATIENCE: self.be_patient})
        self._deadline = FOREVER
        self._silence_seconds, self._stuck_seconds = SILENCE_SECONDS, STUCK_SECONDS
        self._is_idle = self._is_writing = False
        self.is_stopping = False

    def serve(self) -> None:
        """Answer until either side wants no more."""
        with suppress(ClientDisconnected):
            while (request := self._next()) and self._answer(request):
                pass
        self._linger()

    # -- deadlines ---------------------------------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """Cut a client that has kept silent for too long; what is asked already can still be answered."""
        if self._deadline < now:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR if self._is_writing else SHUT_RD)

    def stop(self, now: float) -> None:
        """Keep the connection no longer than what is asked on it."""
        if self._is_idle and not self.is_stopping:
            self._deadline = now + LAST_REQUEST_SECONDS
        self.is_stopping = True

    def be_patient(self, seconds: float) -> None:
        """Bear a client that is silent or stuck for so long and no longer."""
        self._silence_seconds = self._stuck_seconds = seconds

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    # -- reading -----------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError:
            return False  # reset
        self._reader.feed(data)
        return bool(data)

    def _next(self) -> Request | None:
        """Wait for a request; none when no other comes."""
        reader = self._reader
        self._is_idle = not self.is_stopping
        self._expect(LAST_REQUEST_SECONDS if self.is_stopping else IDLE_SECONDS)
        while not reader.requests:
            if reader.fault:
                self._refuse(reader.fault)
                return None
            if reader.is_over or not self._receive():
                return None
            if self._is_idle:
                self._is_idle = False
                self._expect(self._silence_seconds)
        self._is_idle = False
        self._deadline = FOREVER
        return reader.requests.pop(0)

    def body_of(self, request: Request) -> bytes:
        """Wait for a piece of a body; nothing at its end. Raises an HTTPException if it breaks off."""
        while not request.pieces and not request.is_whole:
            if self._reader.fault:
                raise BadRequest("The body cannot be read")
            if request.awaits_continue:
                request.awaits_continue = False
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._expect(self._silence_seconds)
            if not self._receive():
                raise ClientDisconnected
            self._deadline = FOREVER
        return request.pieces.pop(0) if request.pieces else b""

    def _is_read(self, request: Request) -> bool:
        """Read what the application left of a body, to find the next request; not for long."""
        request.is_dropped = True
        self._expect(LINGER_SECONDS)
        while not request.is_whole:
            if self._reader.fault or not self._receive():
                return False
        return True

    # -- answering ---------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> bool:
        """Have the application answer; whether another request may follow."""
        answer, path = Answer(request, self.send, self._may_follow), request.environ["PATH_INFO"]
        try:
            self._call(request, answer)
        except ClientDisconnected:
            return False
        except Exception as error:  # the edge of the application
            get_logger().error("unexpected_error", exc_info=error, path=path)
            if not answer.has_begun:
                self._refuse(500)
            return False
        return answer.keeps_alive and (request.is_whole or self._is_read(request))

    def _call(self, request: Request, answer: Answer) -> None:
        whole = io.BytesIO(b"".join(request.pieces)) if request.is_whole else None
        request.environ["wsgi.input"] = whole or io.BufferedReader(_Body(self, request))
        pieces = self._app(request.environ, answer.start)
        request.environ = {}  # a stream may last for hours, and nobody asks for its headers again
        try:
            for piece in pieces:
                answer.write(piece)
            answer.end()
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _may_follow(self, request: Request) -> bool:
        """Tell whether another request may come after this one, as things are now."""
        can_end = request.is_whole or not (request.awaits_continue or self._reader.fault)
        return request.keeps_alive and can_end and not self.is_stopping

    def send(self, data: bytes) -> None:
        """Send, for as long as the client reads. Raises ClientDisconnected."""
        self._is_writing = True
        self._expect(self._stuck_seconds)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ClientDisconnected from error
        self._is_writing = False
        self._deadline = FOREVER

    def _refuse(self, status: int) -> None:
        """Answer what no application can."""
        document = problems.document(Problem(status=status, detail=_REFUSALS[status]), "")
        body = json.dumps(document).encode()
        self.send(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, problems.title(status).encode(), len(body), body)
        )

    def _linger(self) -> None:
        """Close after the client had time to read: what it still sends would reset the connection."""
        self._expect(LINGER_SECONDS)
        with suppress(OSError):
            self._socket.shutdown(SHUT_WR)
            while self._socket.recv(_READ_BYTES):  # RFC 9112 §9.6
                pass


class _Body(io.RawIOBase):
    """A body that has not come as a whole, as the application reads it."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._connection.body_of(self._request)
        if len(piece) > len(buffer):
            self._request.pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)
