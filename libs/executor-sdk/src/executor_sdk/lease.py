"""Keep a lease alive, and notice when the work must stop.

A thread sends heartbeats. The work asks `check()` between its pieces; it raises an Interrupted once the run
was cancelled, the lease was lost (said by the server, or by silence as long as the heartbeat timeout), or
this process is shutting down. Work that does not ask is abandoned with its process: another executor may be
doing the same by then.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from executor_sdk.api import RunApi
from executor_sdk.errors import Cancelled, LeaseLost, Refused, ShuttingDown

LEAVE_SECONDS = 10.0  # how long work may take to notice that its lease is lost


class Lease:
    """The heartbeats of one run, as a context."""

    def __init__(
        self,
        api: RunApi,
        *,
        interval_seconds: float,
        stopping: threading.Event,
        abandon: Callable[[], None] = lambda: None,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        self._api = api
        self._interval_seconds = interval_seconds
        self._stopping = stopping
        self._abandon = abandon
        self._leave_seconds = leave_seconds
        self._ended = threading.Event()
        self._is_lost = self._is_cancelled = False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=1)

    def check(self) -> None:
        """Raise LeaseLost, Cancelled or ShuttingDown when the work must stop."""
        if self._is_lost:
            raise LeaseLost("the run is not ours any more")
        if self._is_cancelled:
            raise Cancelled("canceled by request")
        if self._stopping.is_set():
            raise ShuttingDown("this process ends")

    def refresh(self) -> None:
        """Get a heartbeat answer now, before something that another executor must not be doing too."""
        self.check()
        self._send()
        self.check()

    def lost(self) -> None:
        """Note that the server gave the run to another."""
        self._is_lost = True
        self._api.close()

    def _beat(self) -> None:
        while not self._is_lost and not self._ended.wait(self._interval_seconds):
            self._send()
        if self._is_lost and not self._ended.wait(self._leave_seconds):
            self._abandon()

    def _send(self) -> None:
        try:
            if self._api.heartbeat():
                self._is_cancelled = True
        except (LeaseLost, Refused):
            if not self._ended.is_set():
                self.lost()
