"""Who calls the executor API: one lease of one run, and only about itself."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask import g, request
from sqlalchemy import Connection

from common import ids
from common.api import current_principal
from common.idempotency import once
from common.problems import forbidden
from jobs.engine import line
from jobs.engine.fence import RunNotFound
from jobs.engine.run_tokens import CLAIM, SEND, WORK
from jobs.engine.tables import Run

WORKS = {"kinds": ("run",), "scopes": (WORK,)}
CLAIMS = {"kinds": ("run",), "scopes": (CLAIM,)}
FENCE = (
    (401, "run token is stale", "unauthorized"),
    (403, "token does not match run ID", "token-does-not-match-run"),
    (404, "Run not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "run-not-found"),
    (409, "run is not executing", "run-not-executing"),
    (410, "run has reached a terminal state", "run-is-final"),
)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What the run token says, once it matched the path."""

    run: UUID
    lease: int
    can_send: bool
    token_expires_at: int


def caller_of(run_id: str) -> Caller:
    """Read the caller, once a request; 403 when the token is another run's."""
    if "caller" not in g:
        g.caller = _read_caller(run_id)
    caller: Caller = g.caller
    return caller


def _read_caller(run_id: str) -> Caller:
    principal = current_principal()
    run = ids.parse_uuid(run_id)
    if run is None or principal.run != str(run):
        raise forbidden("token does not match run ID", "token-does-not-match-run")
    return Caller(
        run=run,
        lease=principal.lease,
        can_send=SEND in principal.scopes,
        token_expires_at=principal.expires_at,
    )


def own_run_only() -> None:
    """Refuse a token of another run before the body is looked at."""
    caller_of((request.view_args or {}).get("run_id", ""))


def run_once(connection: Connection, make: Callable[[], Run]) -> Run:
    """Do what ends in a run, once an Idempotency-Key; a repeat finds the run as it is by then."""
    done: list[Run] = []

    def effect() -> str:
        done.append(make())
        return str(done[0].id)

    made = once(connection, effect)
    return done[0] if done else _stored(connection, UUID(made.reference))


def _stored(connection: Connection, run_id: UUID) -> Run:
    run = line.find(connection, run_id)
    if run is None:
        raise RunNotFound(run_id)
    return run
