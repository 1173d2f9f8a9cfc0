"""Tell the run's owner what goes on: log lines in batches, once a second, and progress.

Lines wait in a bounded queue; when the child writes faster than the API takes, the oldest go and one line
says how many. Nothing here fails a run: a lost lease is noted on the lease, everything else is dropped.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from common.logs import get_logger
from executor.api import LeaseLost, Refused, RunApi
from executor.lease import Lease
from executor.redaction import redact

BATCH = 500
WAITING = 5000
FLUSH_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


class Journal:
    """The log and the progress of one run, as a context that flushes at its end."""

    def __init__(self, api: RunApi, lease: Lease, *, secrets: Sequence[str] = ()) -> None:
        self._api = api
        self._lease = lease
        self._secrets = [secret for secret in secrets if secret]
        self._lines: deque[dict[str, Any]] = deque()
        self._left_out = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._flush_for_ever, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=_PATIENCE_SECONDS)

    def say(self, message: str, level: str = "info", **data: Any) -> None:
        """Queue a line of the log."""
        entry: dict[str, Any] = {"message": redact(message, self._secrets), "level": level}
        if data:
            entry["data"] = data
        with self._lock:
            self._lines.append(entry)
            if len(self._lines) > WAITING:
                self._lines.popleft()
                self._left_out += 1

    def progress(self, percent: float, step: str, message: str = "") -> None:
        """Send how far the run is."""
        self._send(lambda: self._api.progress(percent, step, message))

    def _flush_for_ever(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            self._flush(time.monotonic() + _PATIENCE_SECONDS)
        self._flush(time.monotonic() + _PATIENCE_SECONDS)

    def _flush(self, until: float) -> None:
        while (batch := self._taken()) and time.monotonic() < until:
            if not self._send(lambda: self._api.log(batch)):
                return

    def _taken(self) -> list[dict[str, Any]]:
        with self._lock:
            batch = [self._lines.popleft() for _ in range(min(BATCH - 1, len(self._lines)))]
            if self._left_out:
                batch.append({"message": f"{self._left_out} lines were left out", "level": "warn"})
                self._left_out = 0
        return batch

    def _send(self, call: Any) -> bool:
        try:
            call()
        except LeaseLost:
            self._lease.lost()
            return False
        except Refused as error:
            get_logger().warning("journal_refused", error=str(error))
        return True
