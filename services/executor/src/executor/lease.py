"""Keep a lease alive, and notice when the work must stop.

A thread sends heartbeats. The work asks `check()` between its pieces; it raises Interrupted once the run was
cancelled, the lease was lost (said by the server, or by silence as long as the heartbeat timeout), or this
process is shutting down.
"""

import threading
from types import TracebackType
from typing import Self

from executor.api import LeaseLost, Refused, RunApi

CANCELED, LOST, STOPPING = "canceled", "lease_lost", "stopping"


class Interrupted(Exception):
    """Stop working; `reason` is CANCELED, LOST or STOPPING."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Lease:
    """The heartbeats of one run, as a context."""

    def __init__(self, api: RunApi, *, interval_seconds: float, stopping: threading.Event) -> None:
        self._api = api
        self._interval_seconds = interval_seconds
        self._stopping = stopping
        self._ended = threading.Event()
        self._reason: str | None = None
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
        """Raise Interrupted when the work must stop."""
        reason = self._reason or (STOPPING if self._stopping.is_set() else None)
        if reason:
            raise Interrupted(reason)

    def refresh(self) -> None:
        """Get a heartbeat answer now, before something that another executor must not be doing too."""
        self.check()
        self._send()
        self.check()

    def lost(self) -> None:
        """Note that the server gave the run to another."""
        self._reason = LOST
        self._api.close()

    def _beat(self) -> None:
        while self._reason is None and not self._ended.wait(self._interval_seconds):
            self._send()

    def _send(self) -> None:
        try:
            if self._api.heartbeat():
                self._reason = CANCELED
        except LeaseLost:
            if not self._ended.is_set():
                self.lost()
        except Refused:
            self.lost()
