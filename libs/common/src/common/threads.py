"""Gunicorn's worker of threads, held up by no client that keeps silent.

gunicorn gives a new connection a thread before it says anything, and closes connections in the one thread
that accepts others, where it waits up to two seconds for the client to close too: a few dozen clients that do
nothing would keep everybody else out. Here both wait in selectors.
"""

import selectors
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

LINGER_SECONDS = 2.0
MOST_LINGERING = 1000
POLL_SECONDS = 0.1
_READ_BYTES = 65536


class Lingering:
    """Closes connections once their clients have, or after a while.

    Closed at once, they would be reset by what is unread, and the answer lost (RFC 9112 §9.6).
    """

    def __init__(self) -> None:
        self._taken: SimpleQueue[socket.socket] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._until: dict[socket.socket, float] = {}
        threading.Thread(target=self._work, name="lingering", daemon=True).start()

    def take(self, connection: socket.socket) -> None:
        """Say that we send no more, and close it in time."""
        with suppress(OSError):
            connection.setblocking(False)
            connection.shutdown(socket.SHUT_WR)
        if len(self._until) < MOST_LINGERING:
            self._taken.put(connection)
        else:
            connection.close()

    def _work(self) -> None:
        while True:
            while not self._until or not self._taken.empty():
                self._keep(self._taken.get())
            for key, _ in self._selector.select(POLL_SECONDS):
                self._read(key.fileobj)
            now = time.monotonic()
            for connection in [each for each, until in self._until.items() if until < now]:
                self._close(connection)

    def _keep(self, connection: socket.socket) -> None:
        try:
            self._selector.register(connection, selectors.EVENT_READ)
        except (OSError, ValueError):  # it is closed already
            connection.close()
        else:
            self._until[connection] = time.monotonic() + LINGER_SECONDS

    def _read(self, connection: Any) -> None:
        try:
            has_ended = not connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            has_ended = True
        if has_ended:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._until[connection]
        connection.close()


class Worker(ThreadWorker):
    """A worker whose threads serve requests, and whose main thread only hands them out."""

    def init_process(self) -> None:
        self._lingering = Lingering()
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection a thread when it has something to say."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: Any, fs: "Future[Any]") -> None:
        """Have a connection that ends closed elsewhere."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        self.nr_conns -= 1
        self._lingering.take(conn.sock)
