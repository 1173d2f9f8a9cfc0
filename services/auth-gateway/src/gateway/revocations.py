"""What is not good any more although it has not expired, and the view of it that every worker keeps.

A row says: what was issued to `subject` before `before_at` is revoked. The view is read twice a second in a
thread of its own, so that a revocation bites in every worker within a second of its commit. A view that grew
old is not believed: then our own tokens and API keys are asked about afresh.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from common import database
from common.clock import Clock
from common.logs import get_logger
from gateway.tokens import Accepted

CLIENT, TOKEN, API_KEY = "client", "token", "api-key"
READ_EVERY_SECONDS = 0.5
MAX_AGE_SECONDS = 5

Name = tuple[str, str]  # kind and subject

_INSERT = text("""
    INSERT INTO gateway.revocation (kind, subject, before_at) VALUES (:kind, :subject, :before_at)
""")
_FORGET = text("""
    DELETE FROM gateway.revocation
    WHERE greatest(before_at, created_at) < now() - interval '2 days'  -- no token of ours lives as long
""")
_MARK = text("SELECT count(*), coalesce(max(id), 0) FROM gateway.revocation")
_ROWS = """
    SELECT kind, subject, CAST(extract(epoch FROM max(before_at)) AS float) AS before_at
    FROM gateway.revocation {which} GROUP BY kind, subject
"""
_ALL = text(_ROWS.format(which=""))
_OF = text(_ROWS.format(which="WHERE (kind, subject) IN (SELECT * FROM unnest(:kinds, :subjects))"))


def revoke(connection: Connection, kind: str, subject: str, before_at: datetime) -> None:
    """Revoke what was issued to a subject before an instant; forget what has long expired.

    Kind `client`: a client id of ours, or `foreign()`; `token`: a token's `jti`; `api-key`: a key's id.
    """
    connection.execute(_FORGET)
    connection.execute(_INSERT, {"kind": kind, "subject": subject, "before_at": before_at})


def foreign(issuer: str, client_id: str) -> str:
    """The subject under which a client of another issuer is revoked."""
    return f"{issuer} {client_id}"


@dataclass(frozen=True, kw_only=True)
class _View:
    mark: tuple[int, int]
    before: Mapping[Name, float]
    read_at: float


class Revocations:
    """The view. The reading thread starts with the first question, so after the fork."""

    def __init__(self, engine: Engine, own_issuer: str, clock: Clock) -> None:
        self._engine = engine
        self._own_issuer = own_issuer
        self._clock = clock
        self._view = _View(mark=(-1, -1), before={}, read_at=float("-inf"))
        self._starting = threading.Lock()
        self._is_started = False

    def trusts(self, verdict: Accepted) -> bool:
        """Whether a cached verdict still counts; if not, it must be asked about afresh. No I/O."""
        self._start()
        names = self._names(verdict)
        if _covered(verdict, names, self._view.before):
            return False
        return self._is_fresh() or not self._is_ours(verdict)

    def revokes(self, verdict: Accepted) -> bool:
        """Whether a token that was just verified is revoked; asks the database when the view is old.

        Raises Unavailable. A foreign token is judged by what was read last.
        """
        self._start()
        names = self._names(verdict)
        if not names or self._is_fresh() or not self._is_ours(verdict):
            return _covered(verdict, names, self._view.before)
        with database.transaction(self._engine) as connection:
            return _covered(verdict, names, _read(connection, names))

    def refresh(self) -> None:
        """Read the view anew; all of it only where something changed. Raises Unavailable."""
        read_at = self._clock.monotonic()
        with database.transaction(self._engine) as connection:
            count, newest = connection.execute(_MARK).one()
            before = self._view.before if self._view.mark == (count, newest) else _read(connection, None)
        self._view = _View(mark=(count, newest), before=before, read_at=read_at)

    def _names(self, verdict: Accepted) -> list[Name]:
        caller = verdict.principal
        if caller.kind == "api-key":
            return [(API_KEY, caller.subject), (CLIENT, verdict.owner)]
        if caller.kind != "client":
            return []
        if caller.issuer != self._own_issuer:
            return [(CLIENT, foreign(caller.issuer, caller.client_id))]
        return [(CLIENT, caller.client_id), (TOKEN, verdict.token_id)]

    def _is_ours(self, verdict: Accepted) -> bool:
        caller = verdict.principal
        return caller.kind == "api-key" or (caller.kind == "client" and caller.issuer == self._own_issuer)

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._view.read_at <= MAX_AGE_SECONDS

    def _start(self) -> None:
        if self._is_started:
            return
        with self._starting:
            if not self._is_started:
                threading.Thread(target=self._keep_reading, name="revocations", daemon=True).start()
                self._is_started = True

    def _keep_reading(self) -> None:
        pause = threading.Event()
        while not pause.wait(READ_EVERY_SECONDS):
            try:
                self.refresh()
            except (database.Unavailable, SQLAlchemyError) as error:
                get_logger().warning("revocations_unread", error=str(error)[:300])


def _read(connection: Connection, names: list[Name] | None) -> dict[Name, float]:
    if names is None:
        rows = connection.execute(_ALL)
    else:
        kinds, subjects = zip(*names, strict=True)
        rows = connection.execute(_OF, {"kinds": list(kinds), "subjects": list(subjects)})
    return {(row.kind, row.subject): row.before_at for row in rows}


def _covered(verdict: Accepted, names: list[Name], before: Mapping[Name, float]) -> bool:
    return any(verdict.issued_at < before.get(name, float("-inf")) for name in names)
