"""`Idempotency-Key`: a POST that creates something, repeated, finds what the first one made.

`once()` runs inside the transaction of the effect, so key and effect are kept or lost together. What is
stored is a reference to the made thing; the view renders it anew, with fresh URLs and tokens. Kept 24 h.
(draft-ietf-httpapi-idempotency-key-header)
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from flask import request
from sqlalchemy import Connection, Engine, text

from common.api import current_principal
from common.database import fetch, lock_number, statement, transaction
from common.problems import Problem, bad_request, conflict

TABLE = """
CREATE TABLE idempotency_key (
    namespace   bytea PRIMARY KEY,
    body_sha256 bytea NOT NULL,
    made        jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_key_created_at ON idempotency_key (created_at);
"""

_LOCK_AND_FIND = text("""
    SELECT pg_try_advisory_xact_lock(:number) AS is_locked, body_sha256, made
    FROM (VALUES (1)) AS one LEFT JOIN idempotency_key
    ON namespace = :namespace AND created_at > now() - interval '24 hours'
""")
# A key kept between the look and the lock is not overwritten: that request was first.
_KEEP = text("""
    INSERT INTO idempotency_key (namespace, body_sha256, made)
    VALUES (:namespace, :body, CAST(:made AS jsonb))
    ON CONFLICT (namespace) DO UPDATE
    SET body_sha256 = excluded.body_sha256, made = excluded.made, created_at = now()
    WHERE idempotency_key.created_at <= now() - interval '24 hours'
    RETURNING namespace
""")
_FORGET = text("""
    DELETE FROM idempotency_key WHERE namespace IN (
        SELECT namespace FROM idempotency_key WHERE created_at < now() - interval '24 hours'
        ORDER BY created_at LIMIT :most
    )
""")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A reference to what was made, and whether an earlier request made it."""

    reference: Any
    repeated: bool


def statement_once(engine: Engine) -> AbstractContextManager[Connection]:
    """Open what `once()` with a single statement needs: a transaction only where a key is kept with it."""
    return transaction(engine) if has_key() else statement(engine)


def once(connection: Connection, make: Callable[[], Any]) -> Made:
    """Make the thing, or find what the same request made before. Call it in the effect's transaction.

    Raises 409 while the first request is still at work, 422 when the key was used with another body.
    """
    namespace = _namespace()
    if namespace is None:
        return Made(reference=make(), repeated=False)
    number = lock_number("idempotency", namespace.hex())
    [found] = fetch(connection, _LOCK_AND_FIND, {"number": number, "namespace": namespace})
    if not found["is_locked"]:
        raise _in_progress()
    body = hashlib.sha256(request.get_data(cache=True)).digest()
    if found["body_sha256"] is None:
        made = make()
        values = {"namespace": namespace, "body": body, "made": json.dumps(made)}
        if not fetch(connection, _KEEP, values):
            raise _in_progress()
        return Made(reference=made, repeated=False)
    if bytes(found["body_sha256"]) != body:
        detail = "This Idempotency-Key was used with another body"
        raise Problem(status=422, detail=detail, type="idempotency-key-reused")
    return Made(reference=found["made"], repeated=True)


def _in_progress() -> Problem:
    return conflict("A request with this Idempotency-Key is in progress", "idempotency-key-in-progress")


def has_key() -> bool:
    """Tell whether the request at hand can be told from its repeats."""
    return bool(_key())


def forget_old(connection: Connection, *, most: int = 10_000) -> None:
    """Drop keys older than 24 hours, the oldest first and not more than `most` at a time."""
    connection.execute(_FORGET, {"most": most})


def _namespace() -> bytes | None:
    key = _key()
    if not key:
        return None
    if len(key) > 255:
        raise bad_request("Idempotency-Key must be at most 255 characters")
    principal = current_principal()
    # A lease is a caller of its own: what an earlier one did is not what this one asks for.
    who = [principal.kind, principal.issuer, principal.subject, str(principal.lease)]
    parts = [*who, request.method, request.path, key]
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def _key() -> str:
    return request.headers.get("Idempotency-Key", "").strip().strip('"')
