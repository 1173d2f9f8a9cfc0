"""The secrets of the runs this process hears of, so that no log line of theirs keeps one.

They are in the work order and stored nowhere. A claim remembers them here; a process that did not see the
claim makes the work order once more.
"""

import threading
from collections import OrderedDict
from uuid import UUID

from flask import current_app
from sqlalchemy import Connection

from jobs.engine import leases
from jobs.engine.redaction import secrets_in
from jobs.services import services

REMEMBERED = 2048


class RunSecrets:
    """Remembers the secrets of the latest leases, in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[UUID, int], frozenset[str]] = OrderedDict()

    def remember(self, run_id: UUID, lease: int, secrets: frozenset[str]) -> frozenset[str]:
        with self._lock:
            self._known[run_id, lease] = secrets
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return secrets

    def recall(self, run_id: UUID, lease: int) -> frozenset[str] | None:
        with self._lock:
            return self._known.get((run_id, lease))


def run_secrets() -> RunSecrets:
    """The memory of the application at hand."""
    found: RunSecrets = current_app.extensions.setdefault("run_secrets", RunSecrets())
    return found


def secrets_of(connection: Connection, run_id: UUID, lease: int) -> frozenset[str]:
    """Know the secrets of a lease; raises RunRefused when it may not write."""
    known = run_secrets().recall(run_id, lease)
    if known is not None:
        return known
    run = leases.held(connection, run_id, lease)
    order = services().work_order(connection, run)
    return run_secrets().remember(run_id, lease, secrets_in(order.payload))
