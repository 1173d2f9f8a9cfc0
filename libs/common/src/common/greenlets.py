"""Gunicorn's worker of greenlets for every web service: one greenlet a connection, thousands a process.

A greenlet that computes holds up all others. What may compute for long goes through `apart()`.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gevent
import psycopg2
from gevent import monkey
from gevent.core import READ, WRITE
from gunicorn.workers.ggevent import GeventWorker
from psycopg2 import extensions

from common.connections import Connection
from common.database import STATEMENT_TIMEOUT_MS

T = TypeVar("T")
DATABASE_TIMEOUT_SECONDS = STATEMENT_TIMEOUT_MS / 1000 + 5
_EVENTS = {extensions.POLL_READ: READ, extensions.POLL_WRITE: WRITE}


class Worker(GeventWorker):
    """gunicorn's worker of greenlets, its connections served by our own."""

    def patch(self) -> None:
        """Have everything wait as greenlets do, and hold as many files as the system allows."""
        super().patch()
        extensions.set_wait_callback(wait_as_a_greenlet)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._connections: set[Connection] = set()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection; gunicorn calls it in a greenlet of its own."""
        with client:
            connection = Connection(self.wsgi, client, self._variables(listener, addr))
            self._connections.add(connection)
            try:
                connection.serve()
            finally:
                self._connections.discard(connection)

    def _variables(self, listener: Any, addr: Any) -> Mapping[str, Any]:
        host, port = listener.getsockname()[:2]
        return {
            "SCRIPT_NAME": "",
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": addr[0],
            "REMOTE_PORT": str(addr[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.run_once": False,
        }

    def notify(self) -> None:
        """Look after the connections; gunicorn calls it once a second, to the end."""
        super().notify()
        now = time.monotonic()
        for connection in list(self._connections):
            if not self.alive:
                connection.stop(now)
            connection.overdue(now)


def wait_as_a_greenlet(connection: extensions.connection) -> None:
    """Wait for PostgreSQL while other greenlets go on; psycopg2 calls it wherever libpq would block."""
    hub = gevent.get_hub()
    while (state := connection.poll()) != extensions.POLL_OK:
        # gevent.socket.wait() does the same, and costs a third more of what a statement does.
        watcher = hub.loop.io(connection.fileno(), _EVENTS[state])
        fault = psycopg2.OperationalError("the database does not answer")
        patience = gevent.Timeout.start_new(DATABASE_TIMEOUT_SECONDS, fault)
        try:
            hub.wait(watcher)
        finally:
            patience.close()
            watcher.close()


def are_at_work() -> bool:
    """Tell whether this process serves with greenlets."""
    return bool(monkey.is_module_patched("socket"))


def apart(compute: Callable[..., T], *arguments: Any) -> T:
    """Compute in a thread of its own, so that greenlets go on meanwhile; without greenlets just call.

    It must not wait for anything: no database, no network.
    """
    if not are_at_work():
        return compute(*arguments)

    def attempt() -> tuple[T | None, Exception | None]:
        try:  # gevent prints what a thread raises
            return compute(*arguments), None
        except Exception as error:
            return None, error

    result, error = gevent.get_hub().threadpool.apply(attempt)
    if error:
        raise error
    return result  # type: ignore[no-any-return]
