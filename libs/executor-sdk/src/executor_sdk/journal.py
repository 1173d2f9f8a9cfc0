"""Tell the run's owner what goes on: log lines in batches, and progress.

Lines wait in a bounded queue, for a second at most or until a batch is full; when the work writes faster than
the API takes, the oldest go and one line says how many. Nothing here fails a run: a lost lease is noted on
the lease, everything else is dropped.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from executor_sdk.api import RunApi
from executor_sdk.errors import LeaseLost, Refused
from executor_sdk.lease import Lease
from executor_sdk.redaction import redact

BATCH = 500  # executor-api.md §2: entries a call
BATCH_BYTES = 512 * 1024  # half of what a body may have
WAITING = 5000
FLUSH_SECONDS = 1.0
_LONGEST_DATA = 64 * 1024
_PATIENCE_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Journal:
    """The log and the progress of one run, as a context that flushes at its end."""

    def __init__(self, api: RunApi, lease: Lease, *, secrets: Sequence[str] = ()) -> None:
        self._api = api
        self._lease = lease
        self._secrets = [secret for secret in secrets if secret]
        self._lines: deque[tuple[int, dict[str, Any]]] = deque()
        self._left_out = 0
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._is_due = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._flush_for_ever, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._ended = True
        self._is_due.set()
        self._thread.join(timeout=_PATIENCE_SECONDS)

    def say(self, message: str, level: str = "info", **data: Any) -> None:
        """Queue a line of the log."""
        entry: dict[str, Any] = {"message": redact(message, self._secrets), "level": level}
        if data:
            entry["data"] = _data(data)
        with self._lock:
            self._lines.append((len(json.dumps(entry)), entry))
            if len(self._lines) > WAITING:
                self._lines.popleft()
                self._left_out += 1
            if len(self._lines) >= BATCH - 1:
                self._is_due.set()

    def progress(self, percent: float, step: str, message: str = "") -> None:
        """Send how far the run is."""
        self._send("progress", {"percent": round(percent, 1), "step": step, "message": message})

    def flush(self) -> None:
        """Send what waits, for a few seconds at most."""
        until = time.monotonic() + _PATIENCE_SECONDS
        with self._sending:
            while time.monotonic() < until and (batch := self._taken()):
                if not self._send("log", {"entries": batch}):
                    return

    def _flush_for_ever(self) -> None:
        while not self._ended:
            self._is_due.wait(FLUSH_SECONDS)
            self._is_due.clear()
            self.flush()
        self.flush()

    def _taken(self) -> list[dict[str, Any]]:
        with self._lock:
            batch: list[dict[str, Any]] = []
            size = 0
            while self._lines and len(batch) < BATCH - 1 and size < BATCH_BYTES:
                size += self._lines[0][0]
                batch.append(self._lines.popleft()[1])
            if self._left_out:
                batch.append({"message": f"{self._left_out} lines were left out", "level": "warn"})
                self._left_out = 0
        return batch

    def _send(self, path: str, body: Mapping[str, Any]) -> bool:
        try:
            self._api.post(path, body)
        except LeaseLost:
            self._lease.lost()
            return False
        except Refused as error:
            _log.warning("journal_refused error=%s", error)
        return True


def _data(data: Mapping[str, Any]) -> Any:
    """Make JSON of whatever is given; what is too much for a line is left out."""
    text = json.dumps(data, default=str)
    return json.loads(text) if len(text) <= _LONGEST_DATA else {"left_out_bytes": len(text)}
