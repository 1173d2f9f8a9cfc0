"""What the connections of one worker share."""

import asyncio
import itertools
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from common import ids
from common.problems import Problem
from gateway.relay.accounts import Accounts
from gateway.relay.known import KnownHeads
from gateway.relay.local import LocalApp
from gateway.relay.notes import Notes
from gateway.relay.upstreams import upstreams
from gateway.relay.writing import Date
from gateway.services import Services

if TYPE_CHECKING:
    from gateway.relay.clients import ClientConnection
    from gateway.relay.exchange import Exchange

TICK_SECONDS = 0.25
THREADS = 8  # for what may block: tokens to check, steps in Redis


class ForwardLane:
    """Admission, upstreams, the app lane and the clock of a worker, and every client connection it has."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        services: Services,
        local: LocalApp,
    ) -> None:
        self._loop = loop
        self._local = local
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lane")
        self._lines: list[str] = []
        self._notes = Notes(self._lines.append, logs_requests=services.logs_requests)
        self.admission = services.admission
        self.upstreams = upstreams(services.urls, loop)
        self.silence_seconds = services.client_silence_seconds
        self.failures = services.limits.failures
        self.accounts = Accounts(services.limits.quotas, services.clock.timestamp, self.in_thread)
        self.address_of = lru_cache(maxsize=10_000)(services.limits.proxies.client_of)
        self.connections: set[ClientConnection] = set()
        self.known = KnownHeads()
        self.date = Date()
        self.now = loop.time
        self.soon = loop.call_soon
        self.is_stopping = False
        self._prefix = ids.request_id(None)[:16]
        self._numbers = itertools.count()

    def new_request_id(self) -> str:
        """Make an id for a request that brought none: random for this worker, then counted."""
        return f"{self._prefix}{next(self._numbers):016x}"

    def in_thread(
        self, work: Callable[[Any], Any], argument: Any, then: Callable[["Future[Any]"], None]
    ) -> None:
        """Do what may block in a thread, and go on in the loop."""
        asked = self._threads.submit(work, argument)
        asked.add_done_callback(lambda done: self._loop.call_soon_threadsafe(then, done))

    def serve_locally(self, exchange: "Exchange", body: bytes) -> None:
        """Hand a request to the app lane; the answer comes back by `answered_locally`."""
        serving = self._local.serve(exchange, body)
        serving.add_done_callback(lambda done: self._loop.call_soon_threadsafe(_answered, exchange, done))

    def note(self, exchange: "Exchange") -> None:
        """Note an answer."""
        request = exchange.request
        self._notes.take(
            exchange.request_id,
            request.method,
            request.target,
            exchange.route,
            exchange.status,
            self.now() - exchange.started,
            exchange.caller,
        )

    def note_fault(self, fault: Problem, request_id: str) -> None:
        """Note a request that could not be read."""
        self._notes.take(request_id, "", "", None, fault.status, 0, None)

    async def tick(self) -> None:
        """Look at every deadline, now and then."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """End what is overdue, close what is idle for long, and write the log."""
        now = self.now()
        for connection in list(self.connections):
            connection.overdue(now)
        for upstream in self.upstreams.values():
            upstream.sweep(now)
        self.flush()

    def flush(self) -> None:
        """Write the lines of the log, and the metrics."""
        self._notes.publish()
        if self._lines:
            text = "".join(self._lines)
            self._lines.clear()
            sys.stdout.write(text)
            sys.stdout.flush()

    def close(self) -> None:
        """Cut what is left."""
        for connection in list(self.connections):
            connection.abort()
        self.flush()
        self._threads.shutdown(wait=False)
        self._local.close()


def _answered(exchange: "Exchange", done: "Future[Any]") -> None:
    exchange.answered_locally(*done.result())
